"""The OpenAPI document is complete and true, and so is what stands in docs/api.md."""

import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from tests.api_helpers import ALIAS, CANONICAL, Http, Server

from federation_core.api import OPERATIONS
from federation_core.api.bodies import convert
from federation_core.api.description.document import document
from federation_core.api.description.examples import ANSWERS

DOCUMENT = document(OPERATIONS)
CALLS = [
    (path, method, told)
    for path, methods in DOCUMENT["paths"].items()
    for method, told in methods.items()
]


def schema(value: dict[str, Any]) -> jsonschema_rs.Validator:
    """A schema of the document, with the components that it refers to."""
    whole = {**value, "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def test_it_is_served_as_it_is(dev: Server) -> None:
    answer = httpx.get(f"{dev.url}/schema/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == DOCUMENT
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_path_of_the_contract_is_in_it() -> None:
    described = {(method.upper(), path) for path, method, _ in CALLS}
    for family in (CANONICAL, ALIAS):
        assert set(family.all()) <= described
    assert described >= {
        ("GET", "/workflows/runs/{run_id}/events"),
        ("GET", "/health"),
        ("GET", "/health/ready"),
        ("GET", "/api/v1/health"),
        ("GET", "/metrics"),
        ("GET", "/schema/openapi.json"),
    }


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [told["operationId"] for _, _, told in CALLS]
    assert len(set(names)) == len(names)
    assert all(told["summary"] for _, _, told in CALLS)


@pytest.mark.parametrize(("path", "method", "told"), CALLS)
def test_examples_are_valid(path: str, method: str, told: dict[str, Any]) -> None:
    contents = [told["requestBody"]["content"]] if "requestBody" in told else []
    contents += [resolved(answer)["content"] for answer in told["responses"].values()]
    for content in contents:
        for media, value in content.items():
            if "json" in media and "example" in value:
                errors = list(schema(value["schema"]).iter_errors(value["example"]))
                assert errors == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
def test_examples_are_what_the_code_takes_and_gives(operation: Any) -> None:
    if operation.body is not None:
        assert operation.example is not None
        assert convert(dict(operation.example), operation.body)
    if operation.media_type == "application/json" and operation.name in ANSWERS:
        answer = ANSWERS[operation.name]
        given = msgspec.json.encode(msgspec.convert(answer, operation.answer))
        assert msgspec.json.decode(given) == answer


def test_examples_of_requests_are_accepted(http: Http) -> None:
    """As a newcomer would try them."""
    by_name = {o.name: o for o in OPERATIONS}
    run = http.post("/workflows/runs", json=by_name["create_run"].example).json()["run"]
    where = f"/workflows/runs/{run['run_id']}"
    for name, method, path in (
        ("change_status", "PATCH", f"{where}/status"),
        ("record_step", "POST", f"{where}/steps"),
        ("request_gate", "POST", f"{where}/gates"),
        ("register_workflow", "POST", "/workflows/register"),
        ("activate_policy", "POST", "/policies"),
    ):
        answer = http.request(method, path, json=by_name[name].example)
        assert answer.is_success, answer.text


@pytest.mark.parametrize(("path", "method", "told"), CALLS)
def test_what_needs_a_token_says_so(path: str, method: str, told: dict[str, Any]) -> None:
    public = path.startswith(("/health", "/metrics", "/schema", "/api/v1/health"))
    assert ("security" in told) is not public
    assert ("401" in told["responses"]) is not public


def test_constraints_are_those_that_are_enforced() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["CreateRunRequest"]["additionalProperties"] is False
    wanted = schemas["CreateRunRequest"]["properties"]["workflow_id"]
    assert re.search(wanted["pattern"], "refund-2")
    assert r"\Z" not in str(DOCUMENT)
    assert schemas["Run"]["properties"]["status"]["enum"][0] == "pending"
    assert schemas["Problem"]["properties"]["title"] == {"type": "string"}


def test_the_page_loads_nothing(dev: Server) -> None:
    answer = httpx.get(f"{dev.url}/schema")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for sign in ("<script", "<link", "<img", "<iframe", "@import", "url(", "//"):
        assert sign not in answer.text
    for path in DOCUMENT["paths"]:
        assert path in answer.text


def test_the_guide_names_every_path() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    told = set(re.findall(r"`(GET|POST|PATCH|DELETE) (/[^`?\s]*)", text))
    assert told == {(o.method, o.path) for o in OPERATIONS}
