"""`federation_core.client` against a server: every method finds its path and its shape."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api_helpers import Server, bearer

from federation_core.client import ApiError, Client

YAML = """\
workflow: pay
version: 1.0.0
steps:
  - {id: ask, type: GATE, gate: {name: Go on}}
  - {id: act, type: ACT, run: expression, value: done}
output: "${steps.act.output}"
"""


@pytest.fixture
def client(dev: Server, tenant: str) -> Iterator[Client]:
    with Client(dev.url, bearer(), actor="alice", tenant=tenant) as found:
        yield found


def test_a_managed_run_from_end_to_end(client: Client) -> None:
    assert client.health()["status"] == "healthy"
    assert client.register_workflow(YAML)["idempotent"] is False
    assert [w["workflow_id"] for w in client.workflows()] == ["pay"]
    run = client.create_run("pay", {"a": 1}, wait=10, key="k")["run"]
    assert run["status"] == "paused"
    [gate] = client.pending_gates()
    resumed = client.resume(run["run_id"], gate["gate_id"], "approve", {})
    assert resumed["run"]["status"] == "running"
    whole = client.get_run(run["run_id"], logs=True, gates=True, steps=True, wait=10)
    assert (whole["run"]["status"], whole["run"]["output_payload"]) == ("completed", "done")
    assert [s["status"] for s in whole["steps"]] == ["completed", "completed"]
    assert list(client.events(run["run_id"])) == whole["logs"]
    assert client.logs(run["run_id"], limit=2, offset=1) == whole["logs"][1:3]


def test_an_external_run_and_its_gates(client: Client) -> None:
    run_id = client.create_run("job")["run"]["run_id"]
    client.change_status(run_id, "running", reason="go")
    assert client.record_step(run_id, "act", "running")["decision"]["decision"] == "allow"
    gate = client.request_gate(run_id, "act", "Approval", quorum=1)
    assert client.answer_gate(run_id, gate["gate_id"], approve=True)["status"] == "approved"
    gate = client.request_gate(run_id, "act", "Another")
    bypassed = client.bypass_gate(run_id, gate["gate_id"], "an emergency")
    assert bypassed["status"] == "bypassed"
    assert [run["run_id"] for run in client.list_runs(limit=1)] == [run_id]


def test_a_run_is_done_again_once_for_each_key(client: Client) -> None:
    client.register_workflow(YAML)
    old = client.create_run("pay", wait=10)["run"]
    with pytest.raises(ApiError) as refused:
        client.restart_run(old["run_id"], "act")
    assert (refused.value.status, refused.value.error_code) == (409, "run_not_ended")
    client.change_status(old["run_id"], "cancelled")
    new = client.restart_run(old["run_id"], "ask", wait=10, key="again", tags=["x"])["run"]
    assert (new["status"], new["restarted_from"], new["tags"]) == ("paused", old["run_id"], ["x"])
    same = client.restart_run(old["run_id"], "ask", wait=10, key="again", tags=["x"])["run"]
    assert same["run_id"] == new["run_id"]
    for body, status in (({"from_step": "nowhere"}, 422), ({"step": "ask"}, 422), ({}, 422)):
        path = f"/workflows/runs/{old['run_id']}:restart"
        with pytest.raises(ApiError) as refused:
            client.request("POST", path, json=body)
        assert refused.value.status == status


def test_a_child_and_its_parent_name_each_other(client: Client) -> None:
    client.register_workflow(YAML)
    client.register_workflow(
        "workflow: order\nversion: 1.0.0\nsteps:\n"
        "  - {id: pay, type: ACT, run: workflow, workflow: pay}\n"
        'output: "${steps.pay.output}"\n'
    )
    run = client.create_run("order")["run"]
    gates: list[dict[str, Any]] = []
    while not gates:
        gates = client.pending_gates()
    child = client.get_run(gates[0]["run_id"])["run"]
    assert (child["parent_run_id"], child["parent_step"]) == (run["run_id"], "pay")
    client.resume(child["run_id"], gates[0]["gate_id"], "approve", {})
    whole = client.get_run(run["run_id"], steps=True, wait=10)
    assert whole["run"]["output_payload"] == "done"
    assert whole["steps"][0]["child_run_id"] == child["run_id"]


def test_evidence_and_the_log(client: Client) -> None:
    run_id = client.create_run("job", {"a": 1}, tags=["t"])["run"]["run_id"]
    client.change_status(run_id, "cancelled")
    with client.evidence(run_id, payloads=False) as found:
        assert b"".join(found.chunks).startswith(b"PK")
        assert len(found.etag or "") == 64
    with client.evidence_of_many(tag="t", sensitive=True) as many:
        assert b"".join(many.chunks).startswith(b"PK")
    assert '"payloadType"' in client.receipt(run_id)
    origin, size, *_ = client.checkpoint().splitlines()
    assert client.consistency(1, int(size)).startswith('{"hashes":[')
    [key] = client.keys()
    assert key["key"].startswith(f"{origin}+")
    assert f"log {key['key']}\n" in client.trust()
    erased = client.erase(run_id=run_id, reason="they asked for it")
    assert list(erased["payloads"]) == [run_id]
    [digest] = {h for hashes in erased["payloads"].values() for h in hashes[:1]}
    with pytest.raises(ApiError) as caught:
        client.erase(payload_hash=digest, reason="they asked for it")
    assert caught.value.status == 404


def test_policies(client: Client) -> None:
    assert [p["active"] for p in client.policies()] == [True]
    files = {
        "bundle.yaml": "id: none\nversion: 1.0.0\n",
        "a.cedar": '@id("a") forbid (principal, action, resource);',
    }
    assert client.activate_policy(files)["bundle_id"] == "none"
    denied = client.create_run("job")["run"]
    assert denied["status"] == "failed"


def test_a_refusal_is_an_error_of_its_own(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.get_run("nothing")
    assert (caught.value.status, caught.value.error_code) == (404, "run_not_found")
    with pytest.raises(ApiError) as caught:
        next(client.events("nothing"))
    assert caught.value.status == 404
    with pytest.raises(ApiError) as caught:
        client.receipt("nothing")
    assert (caught.value.status, caught.value.error_code) == (404, "run_not_found")
    with pytest.raises(ApiError) as caught, client.evidence("nothing"):
        pytest.fail("it answered")
    assert (caught.value.status, caught.value.error_code) == (404, "run_not_found")
