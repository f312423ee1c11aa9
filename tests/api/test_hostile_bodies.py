"""Bodies that nobody sends by mistake: a clear refusal each, and a ledger that stays whole."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api_helpers import Http, Server, serving

from federation_core.evidence.audit import audit

JSON = {"Content-Type": "application/json"}
START = b'{"workflow_id": "x", "input_payload": '

HOSTILE: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 422),
    "blank": (b" \n", 422),
    "not JSON": (b"workflow_id=x", 422),
    "half of it": (b'{"workflow_id": "x"', 422),
    "a list": (b"[]", 422),
    "a string": (b'"x"', 422),
    "null": (b"null", 422),
    "two values": (b'{"workflow_id": "x"} {}', 422),
    "duplicate keys": (b'{"workflow_id": "x", "workflow_id": "y"}', 422),
    "duplicate keys inside": (START + b'{"a": 1, "a": 2}}', 422),
    "duplicate keys by escape": (START + b'{"a": 1, "\\u0061": 2}}', 422),
    "NaN": (START + b'{"a": NaN}}', 422),
    "Infinity": (START + b'{"a": -Infinity}}', 422),
    "infinite by exponent": (START + b'{"a": 1e999}}', 422),
    "integer over 2^53": (START + b'{"a": 9007199254740993}}', 422),
    "endless integer": (START + b'{"a": ' + b"9" * 100_000 + b"}}", 422),
    "lone surrogate": (START + b'{"a": "\\ud800"}}', 422),
    "lone surrogate as a key": (START + b'{"\\udfff": 1}}', 422),
    "not UTF-8": (START + b'{"a": "\xff"}}', 422),
    "encoded surrogate": (START + b'{"a": "\xed\xa0\x80"}}', 422),
    "UTF-16": ('{"workflow_id": "x"}'.encode("utf-16"), 422),
    "byte order mark": (b"\xef\xbb\xbf" + b'{"workflow_id": "x"}', 422),
    "33 levels": (START + b'{"a": ' * 32 + b"1" + b"}" * 32 + b"}", 422),
    "abysmal": (START + b"[" * 200_000, 422),
    "too large": (START + b'"' + b"a" * 1_048_576 + b'"}', 413),
    "wrong types": (b'{"workflow_id": 7, "tags": "a", "metadata": []}', 422),
    "newline in an id": (b'{"workflow_id": "x\\n"}', 422),
    "a tag of nothing": (b'{"workflow_id": "x", "tags": [""]}', 422),
    "a hundred tags": (json.dumps({"workflow_id": "x", "tags": ["a"] * 100}).encode(), 422),
}


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose ledger is verified when the siege is over."""
    folder: Path = tmp_path_factory.mktemp("besieged")
    with serving(folder) as server:
        yield server
        assert server.stop() == 0
    report = audit(folder / "fedcore.db")
    assert report.error is None, report


@pytest.fixture
def siege(besieged: Server, tenant: str) -> Iterator[Http]:
    with besieged.client(tenant=tenant) as client:
        yield client


@pytest.mark.parametrize("path", ["/workflows/runs", "/api/fc/runs"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused(siege: Http, path: str, name: str) -> None:
    body, status = HOSTILE[name]
    answer = siege.post(path, content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert siege.get("/workflows/runs").json()["items"] == []


def test_every_wrong_field_is_named(siege: Http) -> None:
    answer = siege.post("/workflows/runs", content=HOSTILE["wrong types"][0], headers=JSON)
    assert answer.json()["errors"] == [
        {"path": "/workflow_id", "message": "expected str, got int"},
        {"path": "/metadata", "message": "expected object, got array"},
        {"path": "/tags", "message": "expected array, got str"},
    ]
    answer = siege.post("/workflows/runs", json={"tags": ["fine", 5], "a/b~c": 1})
    assert answer.json()["errors"] == [
        {"path": "/a~1b~0c", "message": "unknown"},
        {"path": "/workflow_id", "message": "required"},
        {"path": "/tags/1", "message": "expected str, got int"},
    ]


def test_a_body_without_a_length_is_cut_off(siege: Http) -> None:
    """What is over the limit is thrown away for a while, so that the answer is heard."""

    def pieces(count: int) -> Iterator[bytes]:
        yield START + b'"'
        for _ in range(count):
            yield b"a" * 65_536

    answer = siege.post("/workflows/runs", content=pieces(100), headers=JSON)
    assert answer.status_code == 413
    with suppress(httpx.TransportError):  # but not for ever
        answer = siege.post("/workflows/runs", content=pieces(2_000), headers=JSON)
        assert answer.status_code == 413
    assert siege.get("/workflows/runs").status_code == 200


def test_a_large_body_without_a_token_hears_why(besieged: Server) -> None:
    with httpx.Client(base_url=besieged.url) as anyone:
        for _ in range(5):
            assert anyone.post("/workflows/runs", content=b"a" * 5_000_000).status_code == 401


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
def test_what_is_not_said_to_be_json(siege: Http, kind: str) -> None:
    answer = siege.post(
        "/workflows/runs", content=b'{"workflow_id": "x"}', headers={"Content-Type": kind}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json", None]
)
def test_what_may_be_json(siege: Http, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = siege.post("/workflows/runs", content=b'{"workflow_id": "x"}', headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "value",
    [
        "\x00\x1f\x7f",
        "\u2028\u202e\ufeff",
        "😀" * 1_000,
        {"__proto__": {"a": 1}, "": "", "$ref": "#"},
        {"a": [1.5, -0.0, 1e-300, None, True]},
        [[[[[[]]]]]],
    ],
)
def test_what_is_strange_and_allowed_comes_back_as_it_was(siege: Http, value: Any) -> None:
    run = siege.run(input_payload={"value": value}, metadata={"value": value})
    read = siege.whole(run["run_id"])["run"]
    assert read["input_payload"]["value"] == read["metadata"]["value"] == value


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("gates", {"step_id": "a", "gate_name": "b", "input_schema": {"type": "nothing"}}),
        ("gates", {"step_id": "a", "gate_name": "b", "input_schema": {"pattern": "(a+)+$("}}),
        ("gates", {"step_id": "a", "gate_name": "b", "input_schema": {"$ref": "http://x/y"}}),
        ("gates", {"step_id": "a", "gate_name": "b", "required_approvers": ["a b"]}),
        ("gates", {"step_id": "a", "gate_name": "b", "required_approvers": ["x"], "quorum": 2}),
        ("gates", {"step_id": "a", "gate_name": "b", "timeout_seconds": 0}),
        ("steps", {"step_id": "", "status": "running"}),
        ("steps", {"step_id": "a", "status": "running", "step_type": "EXPLODE"}),
    ],
)
def test_a_request_about_a_run_that_does_not_validate(siege: Http, path: str, body: Any) -> None:
    run_id = siege.running()
    before = siege.whole(run_id)
    answer = siege.post(f"/workflows/runs/{run_id}/{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]
    assert siege.whole(run_id) == before


@pytest.mark.parametrize(
    "text", ["", "a: [", "workflow: x", "&a [*a, *a]", "!!python/object:os.system {}", "\x00"]
)
def test_a_workflow_that_is_none(siege: Http, text: str) -> None:
    answer = siege.post("/workflows/register", json={"workflow_yaml": text})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a": "b"},
        {"bundle.yaml": "id: x\nversion: 1.0.0\n"},
        {"bundle.yaml": "id: x\nversion: 1.0.0\n", "a.cedar": "permit (principal"},
        {
            "bundle.yaml": "id: x\nversion: 1.0.0\n",
            "../a.cedar": "permit (principal,action,resource);",
        },
    ],
)
def test_a_policy_that_is_none(siege: Http, files: dict[str, str]) -> None:
    answer = siege.post("/policies", json={"files": files})
    assert answer.status_code == 422, answer.text
