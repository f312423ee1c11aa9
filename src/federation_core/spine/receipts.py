"""Receipts: what a person or a machine can hold against the ledger, each linked to the last.

Their bytes are the RFC 8785 form of these dicts, `receipt_hash` is SHA-256 over them, and
`prev_receipt_hash` makes one chain of all steps and gates of a run, 64 zeros first.
"""

from typing import Any

from .actor import Actor
from .canonical import ZERO_HASH, sha256, sorted_json
from .events import StepCarried, StepCompleted, StepFailed
from .gates import Gate
from .run import Run
from .steps import Permit
from .times import from_rfc3339, to_rfc3339

__all__ = [
    "OF_ITS_RUN",
    "carried_receipt",
    "gate_receipt",
    "receipt_hash",
    "step_receipt",
    "took_ms",
    "workflow_receipt",
]


def receipt_hash(receipt: dict[str, Any]) -> str:
    """SHA-256 of the canonical bytes. Receipts hold no fractions and only ASCII keys, for which
    the sorted form is the RFC 8785 form."""
    return sha256(sorted_json(receipt))


OF_ITS_RUN = frozenset({"decision_hash", "ended_at", "prev_receipt_hash", "started_at"})
"""What a step's receipt tells that only the events of its own run can confirm."""


def carried_receipt(carried: StepCarried, step_type: str) -> dict[str, Any]:
    """What the receipt of a step that is carried over has to say, besides `OF_ITS_RUN`."""
    return {
        "attempt": carried.attempt,
        "input_hash": carried.input_hash,
        "output_hash": carried.output_hash,
        "run_id": carried.from_run,
        "status": "completed",
        "step_id": carried.step_id,
        "step_type": step_type,
        "v": 1,
    }


def _previous(run: Run) -> str:
    return run.receipts[-1] if run.receipts else ZERO_HASH


def step_receipt(
    run: Run, permit: Permit, *, status: str, started_at: int, ended_at: int, output: str | None
) -> dict[str, Any]:
    """Receipt of one attempt of a step; `output` is its hash, None where the attempt failed."""
    return {
        "attempt": permit.attempt,
        "decision_hash": permit.decision_hash,
        "ended_at": to_rfc3339(ended_at),
        "input_hash": permit.input_hash,
        "output_hash": output,
        "prev_receipt_hash": _previous(run),
        "run_id": run.run_id,
        "started_at": to_rfc3339(started_at),
        "status": status,
        "step_id": permit.step_id,
        "step_type": run.steps[permit.step_id].step_type,
        "v": 1,
    }


def gate_receipt(
    run: Run,
    gate: Gate,
    *,
    actor: Actor,
    decision: str,
    status: str,
    at: int,
    input_hash: str | None,
    decision_hash: str | None,
) -> dict[str, Any]:
    """Receipt of one answer at a gate: the facts of a step's receipt, and who answered what."""
    step = run.steps.get(gate.step_id) if gate.step_id else None
    return {
        "actor_id": actor.actor_id,
        "attempt": step.attempt if step else None,
        "decision": decision,
        "decision_hash": decision_hash,
        "ended_at": to_rfc3339(at),
        "gate_id": gate.gate_id,
        "input_hash": input_hash,
        "output_hash": None,
        "prev_receipt_hash": _previous(run),
        "run_id": run.run_id,
        "started_at": to_rfc3339(gate.created_at),
        "status": status,
        "step_id": gate.step_id,
        "step_type": step.step_type if step else None,
        "v": 1,
        "via": actor.via,
    }


def took_ms(ended: StepCompleted | StepFailed) -> int | None:
    """How long the attempt took; None where nobody saw its end, and a person told of it later. Such
    an event tells 0 ms, though its receipt spans the time until it was told."""
    receipt = ended.receipt
    unseen = ended.duration_ms == 0 and (
        from_rfc3339(receipt["ended_at"]) - from_rfc3339(receipt["started_at"]) >= 1000
    )
    return None if unseen else ended.duration_ms


def workflow_receipt(run: Run, outcome: str) -> dict[str, Any]:
    """Receipt of the whole run, over every event before the one that ends it."""
    return {
        "definition_hash": run.definition_hash,
        "event_count": run.head.seq,
        "first_event_hash": run.first_hash,
        "last_event_hash": run.head.hash,
        "outcome": outcome,
        "policy_hashes": list(run.policy_hashes),
        "receipt_chain": list(run.receipts),
        "run_id": run.run_id,
        "tenant": run.tenant,
        "v": 1,
        "workflow_id": run.workflow_id,
        "workflow_version": run.workflow_version,
    }
