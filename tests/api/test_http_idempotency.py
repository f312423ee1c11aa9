"""The same request again gets the first answer again: word for word, whoever was faster."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api_helpers import ALIAS, CANONICAL, Family, Http, Server, bearer, serving


def keyed(key: str) -> dict[str, str]:
    return {"X-Idempotency-Key": key}


GATE = {"step_id": "act", "gate_name": "Approval"}
YAML = "workflow: w\nversion: 1.0.0\nsteps: [{id: a, type: TRANSFORM, run: expression, value: 1}]"


@pytest.mark.parametrize("second", [CANONICAL, ALIAS], ids=str)
def test_both_families_share_keys(http: Http, paths: Family, second: Family) -> None:
    body = {"workflow_id": "x", "input_payload": {"a": 1}}
    first = paths(http, "create", body, headers=keyed("k"))
    again = second(http, "create", body, headers=keyed("k"))
    assert again.status_code == 201
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(http.get("/workflows/runs").json()["items"]) == 1


def test_the_order_of_keys_is_nothing(http: Http) -> None:
    bodies = (
        b'{"workflow_id": "x", "input_payload": {"a": 1, "b": 2}}',
        b'{ "input_payload": {"b": 2.0, "a": 1}, "workflow_id":"x" }',
    )
    answers = {http.post("/workflows/runs", content=b, headers=keyed("k")).content for b in bodies}
    assert len(answers) == 1


@pytest.mark.parametrize(
    "other",
    [
        ("POST", "/workflows/runs", {"workflow_id": "y"}),
        ("POST", "/workflows/register", {"workflow_yaml": YAML}),
        ("POST", "/workflows/runs/{run_id}/gates", GATE),
    ],
)
def test_a_key_is_for_one_request(http: Http, other: tuple[str, str, Any]) -> None:
    first = http.post("/workflows/runs", json={"workflow_id": "x"}, headers=keyed("k"))
    method, path, body = other
    run_id = first.json()["run"]["run_id"]
    answer = http.request(method, path.format(run_id=run_id), json=body, headers=keyed("k"))
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert http.get("/workflows").json() == []


def test_a_step_is_decided_once(http: Http, paths: Family) -> None:
    run_id = http.running()
    body = {"step_id": "act", "status": "running", "input": {"a": 1}}
    first = paths(http, "step", body, headers=keyed("k"), run_id=run_id)
    before = http.whole(run_id)
    assert paths(http, "step", body, headers=keyed("k"), run_id=run_id).content == first.content
    assert http.whole(run_id) == before


def test_a_gate_is_resolved_once(http: Http, paths: Family) -> None:
    run_id = http.running()
    gate = paths(http, "request", GATE, headers=keyed("ask"), run_id=run_id)
    again = paths(http, "request", GATE, headers=keyed("ask"), run_id=run_id)
    assert again.content == gate.content
    ids = {"run_id": run_id, "gate_id": gate.json()["gate_id"]}
    body = {"status": "approved"}
    for family in (paths, CANONICAL, ALIAS):
        answer = family(http, "resolve", body, headers=keyed("answer"), **ids)
        assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert http.codes(run_id).count("FC-GATE-002") == 1


def test_a_resume_is_heard_once(http: Http, paths: Family) -> None:
    run_id = http.running()
    gate_id = http.gate(run_id)["gate_id"]
    body = {"gate_id": gate_id, "decision": "approve", "input": {"amount": 3}}
    answers = [paths(http, "resume", body, headers=keyed("k"), run_id=run_id) for _ in range(2)]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content


def test_a_registration_that_changes_nothing_keeps_its_key(http: Http, paths: Family) -> None:
    paths(http, "register", {"workflow_yaml": YAML})
    body = {"workflow_yaml": YAML}
    first = paths(http, "register", body, headers=keyed("k"))
    assert first.json()["idempotent"] is True
    assert paths(http, "register", body, headers=keyed("k")).content == first.content
    other = paths(http, "create", {"workflow_id": "x"}, headers=keyed("k"))
    assert other.status_code == 409


def test_a_policy_is_activated_once(http: Http) -> None:
    files = {
        "bundle.yaml": "id: house\nversion: 1.0.0\n",
        "a.cedar": '@id("a") permit (principal, action, resource);',
    }
    answers = [http.post("/policies", json={"files": files}, headers=keyed("k")) for _ in range(2)]
    assert answers[0].status_code == 201
    assert answers[0].content == answers[1].content
    assert [a["bundle_id"] for a in http.get("/policies").json()] == ["house"]


def test_a_refusal_is_not_remembered(http: Http) -> None:
    body = {"workflow_id": "x", "execution": "managed"}
    first = http.post("/workflows/runs", json=body, headers=keyed("k"))
    assert first.status_code == 422
    http.post("/workflows/register", json={"workflow_yaml": YAML.replace("w\n", "x\n", 1)})
    assert http.post("/workflows/runs", json=body, headers=keyed("k")).status_code == 201


@pytest.mark.parametrize("wait", [None, "wait=5"])
async def test_twenty_at_once_are_one(dev: Server, tenant: str, wait: str | None) -> None:
    with dev.client(tenant=tenant) as http:
        http.post("/workflows/register", json={"workflow_yaml": YAML})
        headers = {**http.headers, **keyed("k"), **({"Prefer": wait} if wait else {})}
    async with httpx.AsyncClient(base_url=dev.url, headers=headers) as client:
        calls = (client.post("/workflows/runs", json={"workflow_id": "w"}) for _ in range(20))
        answers = await asyncio.gather(*calls)
        assert {a.status_code for a in answers} == {201}
        assert len({a.json()["run"]["run_id"] for a in answers}) == 1
        assert len((await client.get("/workflows/runs")).json()["items"]) == 1


async def test_twenty_changes_at_once_are_one(dev: Server, tenant: str) -> None:
    with dev.client(tenant=tenant) as http:
        run_id = http.run()["run_id"]
        headers = {**http.headers, **keyed("k")}
    async with httpx.AsyncClient(base_url=dev.url, headers=headers) as client:
        path = f"/workflows/runs/{run_id}/status"
        calls = (client.patch(path, json={"status": "running"}) for _ in range(20))
        answers = await asyncio.gather(*calls)
        assert {a.status_code for a in answers} == {200}
        assert len({a.content for a in answers}) == 1


async def test_twenty_activations_at_once_are_one(dev: Server, tenant: str) -> None:
    files = {
        "bundle.yaml": "id: house\nversion: 1.0.0\n",
        "a.cedar": '@id("a") permit (principal, action, resource);',
    }
    with dev.client(tenant=tenant) as http:
        headers = {**http.headers, **keyed("k")}
    async with httpx.AsyncClient(base_url=dev.url, headers=headers) as client:
        calls = (client.post("/policies", json={"files": files}) for _ in range(20))
        answers = await asyncio.gather(*calls)
        assert {a.status_code for a in answers} == {201}
        assert len({a.content for a in answers}) == 1
        assert len((await client.get("/policies")).json()) == 1


async def test_of_twenty_contents_of_one_version_one_is_registered(
    dev: Server, tenant: str
) -> None:
    with dev.client(tenant=tenant) as http:
        headers = dict(http.headers)
    async with httpx.AsyncClient(base_url=dev.url, headers=headers) as client:
        texts = [YAML.replace("value: 1", f"value: {n}") for n in range(20)]
        calls = (client.post("/workflows/register", json={"workflow_yaml": t}) for t in texts)
        answers = await asyncio.gather(*calls)
        assert sorted(a.status_code for a in answers) == [200] + [409] * 19
        [winner] = [a.json() for a in answers if a.status_code == 200]
        [listed] = (await client.get("/workflows")).json()
        assert listed["artifact_hashes"] == winner["artifact_hashes"]


def test_a_key_without_the_scope_opens_nothing(prod: Server, tenant: str) -> None:
    body = {"workflow_id": "x"}
    for scopes, status in ((["workflow:write"], 201), (["workflow:read"], 403)):
        token = bearer(tenant_id=tenant, scopes=scopes)
        with prod.client(token=token, actor=None) as http:
            answer = http.post("/workflows/runs", json=body, headers=keyed("k"))
            assert answer.status_code == status


def test_a_key_outlives_the_server(tmp_path: Path) -> None:
    body = {"workflow_id": "x"}
    with serving(tmp_path) as server, server.client() as http:
        first = http.post("/workflows/runs", json=body, headers=keyed("k"))
    with serving(tmp_path) as server, server.client() as http:
        again = http.post("/workflows/runs", json=body, headers=keyed("k"))
        assert again.content == first.content
        assert len(http.get("/workflows/runs").json()["items"]) == 1
