"""Production: scopes are enforced, and nobody is believed to be somebody else."""

import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api_helpers import SECRET, Family, Http, Server, bearer, serving

RUN = "/workflows/runs"


def ask(server: Server, method: str, path: str, body: Any = None, **claims: Any) -> httpx.Response:
    """One request with a token of these claims; `headers` go with it."""
    headers = claims.pop("headers", {})
    with server.client(token=bearer(**claims), actor=None) as http:
        return http.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(
    ("what", "scope", "body"),
    [
        ("create", "workflow:write", {"workflow_id": "x"}),
        ("runs", "workflow:read", None),
        ("run", "workflow:read", None),
        ("logs", "workflow:read", None),
        ("status", "workflow:write", {"status": "running"}),
        ("step", "workflow:write", {"step_id": "a", "status": "running"}),
        ("request", "workflow:write", {"step_id": "a", "gate_name": "b"}),
        ("resolve", "gate:write", {"status": "approved"}),
        ("resume", "gate:write", {"gate_id": "g", "decision": "approve"}),
        ("gates", "gate:read", None),
        ("register", "workflow:write", {"workflow_yaml": "x"}),
    ],
)
def test_each_operation_needs_its_scope(
    paths: Family, prod: Server, what: str, scope: str, body: Any
) -> None:
    others = [s for s in SCOPES if s != scope]
    for scopes in ([], others, ["nonsense"]):
        with prod.client(token=bearer(scopes=scopes), actor=None) as http:
            answer = paths(http, what, body, run_id="r", gate_id="g")
        assert answer.status_code == 403, answer.text
        assert scope in answer.json()["detail"]
    for scopes in ([scope], ["admin"]):
        with prod.client(token=bearer(scopes=scopes), actor=None) as http:
            assert paths(http, what, body, run_id="r", gate_id="g").status_code != 403


SCOPES = (
    "workflow:read",
    "workflow:write",
    "gate:read",
    "gate:write",
    "gate:bypass",
    "agent:write",
    "policy:write",
    "mcp:invoke",
    "actor:delegate",
)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/workflows", "workflow:read"),
        ("GET", "/policies", "workflow:read"),
        ("GET", f"{RUN}/r/events", "workflow:read"),
        ("POST", "/policies", "policy:write"),
        ("POST", f"{RUN}/r/gates/g:bypass", "gate:bypass"),
    ],
)
def test_other_paths_need_theirs(prod: Server, method: str, path: str, scope: str) -> None:
    assert ask(prod, method, path, {}, scopes=[s for s in SCOPES if s != scope]).status_code == 403
    assert ask(prod, method, path, {}, scopes=[scope]).status_code != 403


def test_administering_does_not_override_people(prod: Server) -> None:
    path = f"{RUN}/r/gates/g:bypass"
    answer = ask(prod, "POST", path, {"reason": "an emergency"}, scopes=["admin"])
    assert (answer.status_code, "gate:bypass" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("header", ["X-Actor-Id", "X-Tenant-Id"])
def test_anothers_name_needs_the_right_to_it(prod: Server, tenant: str, header: str) -> None:
    claims: dict[str, Any] = {
        "actor_id": "alice",
        "tenant_id": tenant,
        "headers": {header: "somebody-else"},
    }
    body = {"workflow_id": "x"}
    refused = ask(prod, "POST", RUN, body, scopes=["admin"], **claims | {})
    assert refused.status_code == 403
    assert "actor:delegate" in refused.json()["detail"]


def test_ones_own_name_needs_no_right(prod: Server, tenant: str) -> None:
    answer = ask(
        prod,
        "POST",
        RUN,
        {"workflow_id": "x"},
        scopes=["workflow:write"],
        server_id="svc",
        tenant_id=tenant,
        headers={"X-Actor-Id": "svc", "X-Tenant-Id": tenant},
    )
    assert answer.status_code == 201
    assert answer.json()["run"]["actor_id"] == "svc"
    assert answer.json()["run"]["tenant_id"] == tenant


def test_a_delegate_is_on_record(prod: Server, tenant: str) -> None:
    answer = ask(
        prod,
        "POST",
        RUN,
        {"workflow_id": "x"},
        scopes=["workflow:write", "actor:delegate"],
        server_id="console",
        headers={"X-Actor-Id": "alice", "X-Tenant-Id": tenant},
    )
    [entry] = answer.json()["logs"]
    assert (entry["actor_id"], entry["via"]) == ("alice", "console")
    assert answer.json()["run"]["tenant_id"] == tenant


def test_nobody_approves_a_run_that_they_started(paths: Family, prod: Server, tenant: str) -> None:
    scopes = ["workflow:write", "workflow:read", "gate:write", "gate:read"]

    def of(actor: str, *roles: str) -> Http:
        token = bearer(actor_id=actor, tenant_id=tenant, scopes=scopes, roles=list(roles))
        return prod.client(token=token, actor=None)

    with of("alice", "finance") as alice, of("bob", "finance") as bob, of("carol") as carol:
        run_id = alice.running()
        gate = alice.gate(run_id, required_approvers=["role:finance"])
        ids = {"run_id": run_id, "gate_id": gate["gate_id"]}
        mine = paths(alice, "resolve", {"status": "approved"}, **ids)
        assert (mine.status_code, mine.json()["code"]) == (403, "separation_of_duties")
        wrong = paths(carol, "resolve", {"status": "approved"}, **ids)
        assert (wrong.status_code, wrong.json()["code"]) == (403, "not_an_approver")
        assert paths(bob, "gates", params={"approver_id": "bob"}).json() == [gate]
        assert paths(bob, "resolve", {"status": "approved"}, **ids).json()["approved_by"] == "bob"
        assert alice.whole(run_id)["run"]["status"] == "running"


def test_policy_and_workflows_are_administered_by_role(prod: Server, tenant: str) -> None:
    text = (
        "workflow: w\nversion: 1.0.0\nsteps: [{id: a, type: TRANSFORM, run: expression, value: 1}]"
    )
    body = {"workflow_yaml": text}
    claims: dict[str, Any] = {"tenant_id": tenant, "scopes": ["workflow:write"]}
    refused = ask(prod, "POST", "/workflows/register", body, **claims)
    assert (refused.status_code, refused.json()["code"]) == (403, "policy_denied")
    answer = ask(prod, "POST", "/workflows/register", body, roles=["operator"], **claims)
    assert answer.status_code == 200


def test_a_bypass_is_loud(prod: Server, tenant: str) -> None:
    def of(*scopes: str, **claims: Any) -> Http:
        token = bearer(tenant_id=tenant, scopes=list(scopes), **claims)
        return prod.client(token=token, actor=None)

    with (
        of("admin", actor_id="alice") as alice,
        of("gate:bypass", actor_id="dana", roles=["emergency"]) as dana,
        of("gate:bypass", actor_id="mallory") as mallory,
    ):
        run_id = alice.running()
        gate_id = alice.gate(run_id, required_approvers=["bob"])["gate_id"]
        path = f"{RUN}/{run_id}/gates/{gate_id}:bypass"
        assert dana.post(path, json={"reason": "short"}).status_code == 422
        refused = mallory.post(path, json={"reason": "I would like to"})
        assert (refused.status_code, refused.json()["code"]) == (403, "policy_denied")
        gate = dana.post(path, json={"reason": "the shop stands still"}).json()
        assert (gate["status"], gate["approved_by"]) == ("bypassed", "dana")
        assert alice.codes(run_id).count("FC-GATE-005") == 1


def test_the_first_start_makes_a_secret_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, dev=False, secret_key=None) as server:
        path = tmp_path / "secret.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.getuid()
        for secret, status in ((path.read_text(), 200), (SECRET, 401), ("", 401)):
            token = bearer(secret, scopes=["workflow:read"])
            with server.client(token=token, actor=None) as http:
                assert http.get(RUN).status_code == status
