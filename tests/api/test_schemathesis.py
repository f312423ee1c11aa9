"""Requests that nobody thought of, made from the published OpenAPI document.

There must be no 5xx, no answer whose status, media type or shape the document does not describe,
and a ledger that verifies afterwards. (That this document is the served one, `test_description`
says.)
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.api_helpers import Http, Server, bearer, serving

from federation_core.api import OPERATIONS
from federation_core.api.description.document import document
from federation_core.evidence.audit import audit

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

ALIASES = "OMEGA aliases"
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def schema(*modes: GenerationMode) -> OpenApiSchema:
    """The document, and how requests are made of it: as it says, or against it."""
    config = schemathesis.Config()
    config.projects.default.generation.update(
        modes=list(modes), with_security_parameters=False, deterministic=True
    )
    own = deepcopy(document(OPERATIONS))  # it is written into
    return schemathesis.openapi.from_dict(own, config=config)


CANONICAL = schema(GenerationMode.POSITIVE, GenerationMode.NEGATIVE).exclude(tag=ALIASES)
ALIAS = schema(GenerationMode.POSITIVE).include(tag=ALIASES)


class Target:
    """A server, and things on it that requests can be about."""

    def __init__(self, server: Server, http: Http) -> None:
        self.url = server.url
        self.session = requests.Session()
        self.tenant = http.headers["X-Tenant-Id"]
        self.calls = 0
        self._http = http
        self.ended = http.running()
        http.become(self.ended, "completed")
        self.renew()

    def renew(self) -> None:
        """A run that waits at a gate."""
        self.waiting = self._http.running()
        self.gate = self._http.gate(self.waiting)["gate_id"]

    def ask(self, case: Case[Any]) -> None:
        """Send it and check the answer. Every second request is about something that is there."""
        self.calls += 1
        headers = {"Authorization": f"Bearer {bearer()}"}
        if "Prefer" in case.headers:
            headers["Prefer"] = "wait=0"  # what is generated would wait for a minute
        if self.calls % 2:
            headers |= self._aim(case)
        answer = case.call_and_validate(
            base_url=self.url, session=self.session, headers=headers, checks=CHECKS, timeout=20
        )
        if self.waiting in (answer.request.url or "") and answer.status_code == 200:
            self.renew()

    def _aim(self, case: Case[Any]) -> dict[str, str]:
        live = case.operation.path.endswith("/events")  # would not end before the run does
        known = {"run_id": self.ended if live else self.waiting, "gate_id": self.gate}
        for name in set(known) & set(case.path_parameters):
            case.path_parameters[name] = known[name]
        if isinstance(case.body, dict) and "gate_id" in case.body:
            case.body["gate_id"] = self.gate
        headers = {"X-Tenant-Id": self.tenant, "X-Actor-Id": "alice"}
        if "X-Idempotency-Key" in case.headers:
            headers["X-Idempotency-Key"] = f"key-{self.calls}"
        return headers


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("target")
    with serving(folder) as server:
        with server.client(tenant="schemathesis") as http:
            target = Target(server, http)
            with target.session:
                yield target
        assert server.stop() == 0
    assert audit(folder / "fedcore.db").error is None


@CANONICAL.parametrize()
@SETTINGS
def test_every_answer_is_described(case: Case[Any], target: Target) -> None:
    target.ask(case)


@ALIAS.parametrize()
@SETTINGS
def test_every_answer_of_an_alias_is_described(case: Case[Any], target: Target) -> None:
    target.ask(case)
