"""A client that knows nothing but the contract, on both families of paths."""

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from tests.api_helpers import Family, Http


def names(text: str) -> set[str]:
    return set(text.split())


RUN = names(
    "run_id workflow_id workflow_version definition_hash execution status current_step step_index "
    "tenant_id actor_id correlation_id input_payload output_payload error_details metadata tags "
    "parent_run_id parent_step restarted_from receipt_chain workflow_receipt_hash "
    "evidence_pack_hash evidence_pack_refs created_at started_at completed_at updated_at"
)
STEP = names(
    "step_id step_type step_index status attempt agent_id started_at ended_at duration_ms "
    "input_hash output_hash receipt_hash decision error child_run_id carried_from"
)
DECISION = names(
    "decision reason policy_id policy_hash tier rules_triggered evaluated_at duration_us"
)
GATE = names(
    "gate_id run_id step_id gate_type gate_name description status required_approvers quorum "
    "approvals approved_by rejection_reason input_schema input_hash created_at resolved_at "
    "expires_at evidence_pack_hash"
)
LOG = names(
    "log_id run_id seq event_type event_category step_id previous_status new_status actor_id via "
    "message decision details timestamp duration_ms evidence_hash evidence_pack_ref prev_hash "
    "hash"
)


def created(paths: Family, http: Http, **more: Any) -> dict[str, Any]:
    answer = paths(http, "create", {"workflow_id": "refund", **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def become(paths: Family, http: Http, run_id: str, status: str, **more: Any) -> dict[str, Any]:
    answer = paths(http, "status", {"status": status, **more}, run_id=run_id)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["run"]["status"] == status
    return body


def test_creation_answers_with_the_run_and_its_first_log_entry(paths: Family, http: Http) -> None:
    answer = paths(
        http,
        "create",
        {
            "workflow_id": "refund",
            "workflow_version": "2.1.0",
            "input_payload": {"order": "A-1", "amount": 1.5},
            "metadata": {"shop": "north"},
            "tags": ["urgent"],
        },
        headers={"X-Correlation-Id": "order A-1"},
    )
    body = answer.json()
    run = body["run"]
    assert answer.headers["Location"] == f"/workflows/runs/{run['run_id']}"
    assert set(body) == {"run", "logs", "gates", "steps"}
    assert set(run) == RUN
    assert (body["gates"], body["steps"]) == ([], [])
    [entry] = body["logs"]
    assert set(entry) == LOG
    assert entry["event_type"] == "FC-RUN-001"
    assert entry["message"] == "Workflow run created for 'refund'"
    assert (
        run
        | {
            "workflow_version": "2.1.0",
            "execution": "external",
            "status": "pending",
            "actor_id": "alice",
            "correlation_id": "order A-1",
            "input_payload": {"order": "A-1", "amount": 1.5},
            "metadata": {"shop": "north"},
            "tags": ["urgent"],
            "output_payload": None,
            "receipt_chain": [],
        }
        == run
    )


def test_a_run_lives_to_its_completion(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running", current_step="observe", step_index=0)
    become(paths, http, run_id, "running", current_step="act", step_index=1)
    become(paths, http, run_id, "paused", reason="lunch")
    become(paths, http, run_id, "running")
    done = become(paths, http, run_id, "completed", output_payload={"refunded": 2})
    assert done["run"]["output_payload"] == {"refunded": 2}
    assert done["run"]["workflow_receipt_hash"]
    assert done["run"]["completed_at"].endswith("Z")
    logs = paths(http, "logs", run_id=run_id).json()
    assert [e["message"] for e in logs if e["event_type"].startswith("FC-RUN")] == [
        "Workflow run created for 'refund'",
        "Run status changed from pending to running",
        "Run status changed from running to running",
        "Run status changed from running to paused",
        "Run status changed from paused to running",
        "Run completed successfully",
    ]
    assert [e["seq"] for e in logs] == list(range(len(logs)))
    assert all(a["hash"] == b["prev_hash"] for a, b in pairwise(logs))
    assert paths(http, "run", run_id=run_id).json()["run"] == done["run"]


def test_a_run_fails_with_its_error(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    error = {"code": "E7", "message": "The bank said no."}
    failed = become(paths, http, run_id, "failed", error_details=error)
    assert failed["run"]["error_details"] == error
    last = paths(http, "logs", run_id=run_id).json()[-1]
    assert (last["event_type"], last["message"]) == ("FC-RUN-003", "Run failed: The bank said no.")


def test_a_step_is_asked_about_and_reported(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    ask = {"step_id": "act", "step_type": "ACT", "status": "running", "input": {"amount": 5}}
    asked = paths(http, "step", ask, run_id=run_id)
    assert asked.status_code == 200, asked.text
    body = asked.json()
    assert set(body) == {"decision", "step", "run", "gate"}
    assert set(body["step"]) == STEP
    assert set(body["decision"]) == DECISION
    assert (body["decision"]["decision"], body["gate"]) == ("allow", None)
    report = {"step_id": "act", "status": "completed", "output": {"paid": True}}
    step = paths(http, "step", report, run_id=run_id).json()["step"]
    assert (step["status"], step["attempt"]) == ("completed", 1)
    run = paths(http, "run", run_id=run_id, params={"include_steps": "true"}).json()
    assert run["run"]["receipt_chain"] == [step["receipt_hash"]]
    assert run["steps"] == [step]
    messages = [e["message"] for e in paths(http, "logs", run_id=run_id).json()]
    assert messages[-2:] == ["Step act started", "Step act completed"]


def test_a_flagged_step_waits_for_people_and_may_then_run(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    ask = {"step_id": "act", "status": "running", "input": {"risk": "high"}}
    flagged = paths(http, "step", ask, run_id=run_id).json()
    assert flagged["decision"]["decision"] == "flag"
    assert set(flagged["gate"]) == GATE
    assert flagged["gate"]["gate_type"] == "policy_check"
    assert flagged["run"]["status"] == "paused"
    answer = {"status": "approved"}
    ids = {"run_id": run_id, "gate_id": flagged["gate"]["gate_id"]}
    assert paths(http, "resolve", answer, headers=http.acting("bob"), **ids).status_code == 200
    again = paths(http, "step", ask, run_id=run_id).json()
    assert (again["decision"]["decision"], again["step"]["status"]) == ("allow", "running")


def test_a_denied_step_ends_the_run(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    ask = {"step_id": "act", "status": "running", "input": {"forbidden": True}}
    denied = paths(http, "step", ask, run_id=run_id).json()
    assert denied["decision"]["decision"] == "deny"
    assert (denied["step"]["status"], denied["run"]["status"]) == ("denied", "failed")


@pytest.mark.parametrize("answer", ["approved", "rejected"])
def test_a_gate_is_resolved_by_a_required_approver(paths: Family, http: Http, answer: str) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    wanted = {
        "step_id": "act",
        "gate_name": "Refund approval",
        "required_approvers": ["bob", "role:finance"],
        "timeout_seconds": 3600,
    }
    asked = paths(http, "request", wanted, run_id=run_id)
    assert asked.status_code == 201
    gate = asked.json()
    assert set(gate) == GATE
    assert (gate["status"], gate["quorum"]) == ("pending", 1)
    assert paths(http, "run", run_id=run_id).json()["run"]["status"] == "paused"
    assert gate in paths(http, "gates", params={"approver_id": "bob"}).json()
    assert paths(http, "gates", params={"approver_id": "zoe"}).json() == []
    body = {"status": answer} | ({"rejection_reason": "no"} if answer == "rejected" else {})
    ids = {"run_id": run_id, "gate_id": gate["gate_id"]}
    resolved = paths(http, "resolve", body, headers=http.acting("bob"), **ids)
    assert resolved.status_code == 200, resolved.text
    assert resolved.json()["status"] == answer
    after = paths(http, "run", run_id=run_id, params={"include_gates": "true"}).json()
    assert after["run"]["status"] == ("running" if answer == "approved" else "failed")
    assert after["gates"] == [resolved.json()]
    messages = [e["message"] for e in paths(http, "logs", run_id=run_id).json()]
    assert "Gate requested: Refund approval" in messages
    assert any(m.startswith(f"Gate Refund approval {answer}") for m in messages)


def test_the_wrong_approver_is_refused_and_on_record(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    wanted = {"step_id": "act", "gate_name": "Two eyes", "required_approvers": ["bob"]}
    gate = paths(http, "request", wanted, run_id=run_id).json()
    ids = {"run_id": run_id, "gate_id": gate["gate_id"]}
    refused = paths(http, "resolve", {"status": "approved"}, headers=http.acting("mallory"), **ids)
    assert refused.status_code == 403
    assert refused.json()["code"] == "not_an_approver"
    after = paths(http, "run", run_id=run_id, params={"include_gates": "true"}).json()
    assert after["gates"] == [gate]
    last = paths(http, "logs", run_id=run_id).json()[-1]
    assert (last["event_type"], last["actor_id"]) == ("FC-AUTH-001", "mallory")


def test_an_unknown_gate_is_not_found(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    ids = {"run_id": run_id, "gate_id": "01932d5e-94c2-7b08-8d15-0f3ac8e6a911"}
    answer = paths(http, "resolve", {"status": "approved"}, **ids)
    assert (answer.status_code, answer.json()["code"]) == (404, "gate_not_found")


SCHEMA = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "number", "maximum": 100}},
}


@pytest.mark.parametrize("spelling", ["gate_id", "gateId"])
def test_a_gate_is_resumed_with_an_input(paths: Family, http: Http, spelling: str) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    wanted = {"step_id": "act", "gate_name": "How much", "input_schema": SCHEMA}
    gate = paths(http, "request", wanted, run_id=run_id).json()
    assert gate["input_schema"] == SCHEMA
    body = {spelling: gate["gate_id"], "decision": "approve", "input": {"amount": 500}}
    refused = paths(http, "resume", body, run_id=run_id)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "/input/amount"
    assert paths(http, "gates").json() == [gate]
    body["input"] = {"amount": 50.0}
    resumed = paths(http, "resume", body, run_id=run_id)
    assert resumed.status_code == 200, resumed.text
    assert set(resumed.json()) == {"run", "logs", "gates"}
    assert resumed.json()["run"]["status"] == "running"
    [entry] = [e for e in resumed.json()["logs"] if e["event_type"] == "FC-GATE-003"]
    as_rfc8785_writes_it = b'{"amount":50}'
    assert entry["details"]["input_hash"] == hashlib.sha256(as_rfc8785_writes_it).hexdigest()


def test_runs_are_listed_page_by_page(paths: Family, http: Http) -> None:
    ids = [created(paths, http)["run"]["run_id"] for _ in range(5)]
    become(paths, http, ids[2], "running")
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, "cursor": cursor or ""}
        page = paths(http, "runs", params=params).json()
        assert set(page) == {"items", "page"}
        assert page["page"]["limit"] == 2
        assert all(set(run) == RUN for run in page["items"])
        seen += [run["run_id"] for run in page["items"]]
        cursor = page["page"]["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    whole = paths(http, "runs", params={"limit": 5}).json()
    assert whole["page"]["next_cursor"] is None
    running = paths(http, "runs", params={"status": "running"}).json()["items"]
    assert [run["run_id"] for run in running] == [ids[2]]
    assert paths(http, "runs", params={"workflow_id": "other"}).json()["items"] == []


def test_logs_are_filtered_and_paged(paths: Family, http: Http) -> None:
    run_id = created(paths, http)["run"]["run_id"]
    become(paths, http, run_id, "running")
    every = paths(http, "logs", run_id=run_id).json()
    some = paths(http, "logs", run_id=run_id, params={"limit": 2, "offset": 1}).json()
    assert some == every[1:3]
    policy = paths(http, "logs", run_id=run_id, params={"event_type": "FC-POLICY-001"}).json()
    assert policy == [e for e in every if e["event_type"] == "FC-POLICY-001"]
    assert len(policy) == 2


WORKFLOW = """\
workflow: greet
version: {version}
steps:
  - {{id: hello, type: TRANSFORM, run: expression, value: "{value}"}}
output: "${{steps.hello.output}}"
"""


def test_a_workflow_is_registered_once_and_its_runs_are_managed(paths: Family, http: Http) -> None:
    text = {"workflow_yaml": WORKFLOW.format(version="1.0.0", value="Hello!")}
    first = paths(http, "register", text)
    assert first.status_code == 200, first.text
    assert set(first.json()) == {"workflow_id", "version", "artifact_hashes", "idempotent"}
    assert paths(http, "register", text).json() == first.json() | {"idempotent": True}
    other = {"workflow_yaml": WORKFLOW.format(version="1.0.0", value="Goodbye!")}
    refused = paths(http, "register", other)
    assert (refused.status_code, refused.json()["code"]) == (409, "version_exists")
    answer = paths(http, "create", {"workflow_id": "greet"}, headers={"Prefer": "wait=10"})
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=10"
    run = answer.json()["run"]
    assert (run["execution"], run["status"]) == ("managed", "completed")
    assert run["output_payload"] == "Hello!"
    listed = http.get("/workflows").json()
    assert [(w["workflow_id"], w["version"]) for w in listed] == [("greet", "1.0.0")]


def test_aliases_ignore_unknown_fields_and_canonical_paths_name_them_all(
    paths: Family, http: Http
) -> None:
    answer = paths(http, "create", {"workflow_id": "x", "colour": "red", "size": 3})
    if paths.name == "alias":
        assert answer.status_code == 201
        return
    assert answer.status_code == 422
    assert [e["path"] for e in answer.json()["errors"]] == ["/colour", "/size"]
    assert "colour" in answer.json()["detail"]
