"""A tenant sees itself alone, over HTTP too."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api_helpers import Family, Http, Server


@pytest.fixture
def other(dev: Server, tenant: str) -> Iterator[Http]:
    """Mallory, in another tenant."""
    with dev.client(tenant=f"{tenant}-other", actor="mallory") as client:
        yield client


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("run", None),
        ("logs", None),
        ("status", {"status": "cancelled"}),
        ("step", {"step_id": "a", "status": "running"}),
        ("request", {"step_id": "a", "gate_name": "b"}),
        ("resolve", {"status": "approved"}),
        ("resume", {"gate_id": "{gate_id}", "decision": "approve"}),
    ],
)
def test_another_tenants_things_are_not_there(
    paths: Family, http: Http, other: Http, what: str, body: dict[str, Any] | None
) -> None:
    run_id = http.running()
    ids = {"run_id": run_id, "gate_id": http.gate(run_id)["gate_id"]}
    if body is not None:
        body = {k: v.format(**ids) for k, v in body.items()}
    before = http.whole(run_id)
    answer = paths(other, what, body, **ids)
    assert answer.status_code == 404, answer.text
    missing = str(ids["run_id"])
    unknown = paths(other, what, body, run_id=missing[:-4] + "0000", gate_id=ids["gate_id"])
    assert (unknown.status_code, unknown.json()["title"]) == (404, answer.json()["title"])
    after = http.whole(run_id)
    assert (after["run"]["status"], after["gates"]) == ("paused", before["gates"])


def test_a_reach_for_another_tenants_gate_is_in_its_log(
    paths: Family, http: Http, other: Http
) -> None:
    run_id = http.running()
    gate_id = http.gate(run_id)["gate_id"]
    ids = {"run_id": run_id, "gate_id": gate_id}
    assert paths(other, "resolve", {"status": "approved"}, **ids).status_code == 404
    entry = http.whole(run_id)["logs"][-1]
    assert (entry["event_type"], entry["actor_id"]) == ("FC-AUTH-001", "mallory")
    assert entry["details"]["gate_id"] == gate_id


def test_lists_hold_ones_own_alone(paths: Family, http: Http, other: Http) -> None:
    run_id = http.running()
    gate = http.gate(run_id)
    assert paths(other, "runs").json()["items"] == []
    assert paths(other, "gates").json() == []
    assert other.get("/workflows").json() == []
    assert [r["run_id"] for r in paths(http, "runs").json()["items"]] == [run_id]
    assert paths(http, "gates").json() == [gate]


def test_another_tenants_run_is_nobodys_parent(paths: Family, http: Http, other: Http) -> None:
    run_id = http.run()["run_id"]
    body = {"workflow_id": "x", "parent_run_id": run_id}
    assert paths(http, "create", body).status_code == 201
    answer = paths(other, "create", body)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "/parent_run_id", "message": "no such run"}]


def test_another_tenants_idempotency_key_is_free(paths: Family, http: Http, other: Http) -> None:
    headers = {"X-Idempotency-Key": "the-same"}
    one = paths(http, "create", {"workflow_id": "x"}, headers=headers).json()
    two = paths(other, "create", {"workflow_id": "x"}, headers=headers).json()
    assert one["run"]["run_id"] != two["run"]["run_id"]


def test_a_cursor_of_another_tenant_opens_nothing(http: Http, other: Http) -> None:
    runs = [http.run()["run_id"] for _ in range(2)]
    assert other.get("/workflows/runs", params={"cursor": runs[1]}).json()["items"] == []
