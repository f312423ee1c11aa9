"""What requests and answers look like: the examples of the OpenAPI document."""

from typing import Any, Final

__all__ = [
    "ACTIVATE",
    "ADD_SCHEDULE",
    "ANSWERS",
    "ANSWER_GATE",
    "BYPASS",
    "CHANGE_STATUS",
    "CREATE_RUN",
    "RECORD_STEP",
    "REGISTER",
    "REQUEST_GATE",
    "RESTART",
    "RESUME",
]

Json = dict[str, Any]

_RUN_ID: Final = "01932d5e-8f6a-7c31-9a04-5b1f0c9d2e77"
_GATE_ID: Final = "01932d5e-94c2-7b08-8d15-0f3ac8e6a911"
_CREATED: Final = "2026-03-02T09:30:00.125000Z"
_LATER: Final = "2026-03-02T09:30:04.731000Z"
_CORRELATION: Final = "t:default|c:01932d5e-8f69-7aa0-b1c2-6d7e8f901234"
_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_PREV: Final = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

CREATE_RUN: Final[Json] = {
    "workflow_id": "refund",
    "input_payload": {"order_id": "A-1042", "amount": 180},
    "tags": ["shop:north"],
}
CHANGE_STATUS: Final[Json] = {"status": "running", "current_step": "observe", "step_index": 0}
RECORD_STEP: Final[Json] = {
    "step_id": "act",
    "step_type": "ACT",
    "status": "running",
    "input": {"order_id": "A-1042", "amount": 180},
}
REQUEST_GATE: Final[Json] = {
    "step_id": "act",
    "gate_name": "Refund approval",
    "required_approvers": ["role:finance"],
    "quorum": 2,
    "timeout_seconds": 86_400,
}
RESTART: Final[Json] = {"from_step": "act"}
ANSWER_GATE: Final[Json] = {"status": "rejected", "rejection_reason": "Paid out on Monday."}
RESUME: Final[Json] = {"gate_id": _GATE_ID, "decision": "approve", "input": {"amount": 120}}
BYPASS: Final[Json] = {"reason": "The approvers are out of reach, and the shop stands still."}
REGISTER: Final[Json] = {
    "workflow_yaml": "workflow: hello\nversion: 1.0.0\nsteps:\n"
    '  - {id: greet, type: TRANSFORM, run: expression, value: "${input.name}"}\n'
}
ACTIVATE: Final[Json] = {
    "files": {
        "bundle.yaml": "id: house-rules\nversion: 1.0.0\n",
        "rules.cedar": '@id("all")\n@reason("Everything is permitted.")\n'
        "permit (principal, action, resource);\n",
    }
}
ADD_SCHEDULE: Final[Json] = {
    "schedule_id": "refunds-nightly",
    "workflow_id": "refund",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "input_payload": {"order_id": "A-1042", "amount": 180},
    "tags": ["shop:north"],
    "catch_up": "latest",
}

_RUN: Final[Json] = {
    "run_id": _RUN_ID,
    "workflow_id": "refund",
    "workflow_version": "1.0.0",
    "definition_hash": None,
    "execution": "external",
    "status": "pending",
    "current_step": None,
    "step_index": 0,
    "tenant_id": "default",
    "actor_id": "alice",
    "correlation_id": _CORRELATION,
    "input_payload": {"order_id": "A-1042", "amount": 180},
    "output_payload": None,
    "error_details": None,
    "metadata": {},
    "tags": ["shop:north"],
    "parent_run_id": None,
    "parent_step": None,
    "restarted_from": None,
    "receipt_chain": [],
    "workflow_receipt_hash": None,
    "evidence_pack_hash": None,
    "evidence_pack_refs": [],
    "created_at": _CREATED,
    "started_at": None,
    "completed_at": None,
    "updated_at": _CREATED,
}
_LOG: Final[Json] = {
    "log_id": "01932d5e-8f6a-7d86-9884-c7d659a2feaa",
    "run_id": _RUN_ID,
    "seq": 0,
    "event_type": "FC-RUN-001",
    "event_category": "run",
    "step_id": None,
    "previous_status": None,
    "new_status": "pending",
    "actor_id": "alice",
    "via": None,
    "message": "Workflow run created for 'refund'",
    "decision": None,
    "details": {"run_id": _RUN_ID, "workflow_id": "refund", "execution": "external"},
    "timestamp": _CREATED,
    "duration_ms": None,
    "evidence_hash": _HASH,
    "evidence_pack_ref": None,
    "prev_hash": "0" * 64,
    "hash": _HASH,
}
_CHANGED: Final[Json] = _LOG | {
    "log_id": "01932d5e-a17b-7c26-b46b-68ffc68ff99b",
    "seq": 3,
    "event_type": "FC-RUN-002",
    "previous_status": "pending",
    "new_status": "running",
    "message": "Run status changed from pending to running",
    "details": {"previous_status": "pending", "new_status": "running"},
    "timestamp": _LATER,
    "evidence_hash": _PREV,
    "prev_hash": _HASH,
    "hash": _PREV,
}
_GATE: Final[Json] = {
    "gate_id": _GATE_ID,
    "run_id": _RUN_ID,
    "step_id": "act",
    "gate_type": "human_approval",
    "gate_name": "Refund approval",
    "description": "",
    "status": "pending",
    "required_approvers": ["role:finance"],
    "quorum": 2,
    "approvals": [{"actor_id": "bob", "at": _LATER}],
    "approved_by": None,
    "rejection_reason": None,
    "input_schema": None,
    "input_hash": None,
    "created_at": _CREATED,
    "resolved_at": None,
    "expires_at": "2026-03-03T09:30:00.125000Z",
    "evidence_pack_hash": None,
}
_DECISION: Final[Json] = {
    "decision": "allow",
    "reason": "A step of a run, without objection.",
    "policy_id": "strict",
    "policy_hash": _PREV,
    "tier": "1",
    "rules_triggered": ["strict.steps"],
    "evaluated_at": _LATER,
    "duration_us": 41,
}
_STEP: Final[Json] = {
    "step_id": "act",
    "step_type": "ACT",
    "step_index": 0,
    "status": "running",
    "attempt": 1,
    "agent_id": None,
    "started_at": _LATER,
    "ended_at": None,
    "duration_ms": None,
    "input_hash": _PREV,
    "output_hash": None,
    "receipt_hash": None,
    "decision": _DECISION,
    "error": None,
    "child_run_id": None,
    "carried_from": None,
}
_RUNNING: Final[Json] = _RUN | {"status": "running", "started_at": _LATER, "updated_at": _LATER}
_CREATED_ANSWER: Final[Json] = {"run": _RUN, "logs": [_LOG], "gates": [], "steps": []}
_WORKFLOW: Final[Json] = {
    "workflow_id": "hello",
    "version": "1.0.0",
    "definition_hash": _HASH,
    "artifact_hashes": {"workflow.yaml": _PREV, "definition.json": _HASH},
    "registered_at": _CREATED,
}
_ACTIVATION: Final[Json] = {
    "bundle_id": "strict",
    "version": "1.0.0",
    "bundle_hash": _PREV,
    "mode": "strict",
    "source": "settings",
    "activated_by": "system",
    "activated_at": _CREATED,
    "active": True,
}
_TICK: Final[Json] = {
    "at": "2026-03-03T01:30:00.000000Z",
    "outcome": "created",
    "run_id": "019cb150-f9c0-7723-9bc3-627348c607d7",
    "error_code": None,
    "reason": None,
    "skipped_from": None,
    "recorded_at": "2026-03-03T01:30:00.041000Z",
}
_SCHEDULE: Final[Json] = {
    "schedule_id": "refunds-nightly",
    "workflow_id": "refund",
    "workflow_version": None,
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "catch_up": "latest",
    "status": "active",
    "next_at": "2026-03-03T01:30:00.000000Z",
    "last_tick": None,
    "input_payload": {"order_id": "A-1042", "amount": 180},
    "metadata": {},
    "tags": ["shop:north"],
    "actor_id": "alice",
    "via": None,
    "added_at": _CREATED,
    "updated_at": _CREATED,
}
_TICKED: Final[Json] = _SCHEDULE | {
    "next_at": "2026-03-04T01:30:00.000000Z",
    "last_tick": _TICK,
    "updated_at": "2026-03-03T01:30:00.041000Z",
}
_META: Final[Json] = {
    "correlation_id": _CORRELATION,
    "request_id": "01932d5e-8f69-7aa0-b1c2-6d7e8f90abcd",
    "ts": _CREATED,
}

_KEY: Final[Json] = {
    "key": "federation-core/5f0c9d2e77a1b3c4+1c2d3e4f+AdWl1mR0q7wcTwVjOeJb9bC0mcv8Ryq3DZx0p0n0oVhU",
    "from_size": 0,
    "to_size": None,
}

ANSWERS: Final[dict[str, Any]] = {
    "create_run": _CREATED_ANSWER,
    "list_runs": {"items": [_RUN], "page": {"limit": 50, "next_cursor": None}},
    "get_run": {"run": _RUNNING, "logs": [_LOG], "gates": [_GATE], "steps": [_STEP]},
    "change_status": {"run": _RUNNING, "logs": [_CHANGED], "gates": [], "steps": []},
    "restart_run": _CREATED_ANSWER
    | {
        "run": _RUN
        | {
            "definition_hash": _PREV,
            "execution": "managed",
            "restarted_from": "01932d5e-1f00-7a11-8b22-9c33ad44be55",
        }
    },
    "logs": [_LOG],
    "get_payload": {"hash": _HASH, "value": {"amount": 120}},
    "record_step": {"decision": _DECISION, "step": _STEP, "run": _RUNNING, "gate": None},
    "request_gate": _GATE,
    "answer_gate": _GATE
    | {"status": "rejected", "rejection_reason": "Paid out on Monday.", "resolved_at": _LATER},
    "resume_run": {
        "run": _RUNNING,
        "logs": [_LOG],
        "gates": [_GATE | {"status": "approved", "approved_by": "carol", "input_hash": _PREV}],
    },
    "bypass_gate": _GATE | {"status": "bypassed", "approved_by": "dana", "resolved_at": _LATER},
    "pending_gates": [_GATE],
    "register_workflow": {
        "workflow_id": "hello",
        "version": "1.0.0",
        "artifact_hashes": _WORKFLOW["artifact_hashes"],
        "idempotent": False,
    },
    "list_workflows": [_WORKFLOW],
    "add_schedule": _SCHEDULE,
    "list_schedules": [_TICKED],
    "get_schedule": {"schedule": _TICKED, "ticks": [_TICK]},
    "remove_schedule": _TICKED | {"status": "removed", "next_at": None, "updated_at": _LATER},
    "pause_schedule": _TICKED | {"status": "paused", "next_at": None, "updated_at": _LATER},
    "resume_schedule": _TICKED,
    "activate_policy": _ACTIVATION,
    "list_policies": [_ACTIVATION],
    "erase": {
        "payloads": {_RUN_ID: [_HASH]},
        "reason": "Request of 2 March, case 88",
    },
    "inclusion": {"hashes": ["n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="]},
    "consistency": {"hashes": ["n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="]},
    "log_keys": [_KEY],
    "rotate_key": _KEY,
    "health": {"status": "healthy", "version": "0.1.0", "uptime_s": 12.5},
    "ready": {"status": "ready", "driving": 3, "engine": "available"},
    "envelope_health": {
        "ok": True,
        "data": {"status": "ok", "version": "0.1.0", "uptime_s": 12.5},
        "error": None,
        "meta": _META,
    },
}
"""Operation → an answer to it."""
