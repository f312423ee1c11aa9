"""What callers are answered: the shapes of the contract, field for field."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ..ledger.documents import DecisionDoc, GateDoc, RunDoc, StepDoc
from ..ledger.said import Errors, reported, run_said, step_said

__all__ = [
    "Decision",
    "Gate",
    "LogEntry",
    "PayloadAnswer",
    "RegisterAnswer",
    "Resumed",
    "Run",
    "RunAnswer",
    "Step",
    "StepAnswer",
    "gate_view",
    "run_view",
    "step_view",
]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    workflow_id: str
    workflow_version: str
    definition_hash: str | None
    execution: str
    status: str
    current_step: str | None
    step_index: int
    tenant_id: str
    actor_id: str
    correlation_id: str
    input_payload: Any
    output_payload: Any
    error_details: Any
    metadata: Any
    tags: tuple[str, ...]
    parent_run_id: str | None
    parent_step: str | None
    restarted_from: str | None
    receipt_chain: list[str]
    workflow_receipt_hash: str | None
    evidence_pack_hash: str | None
    evidence_pack_refs: list[str]
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str


Decision = DecisionDoc


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is `{"type", "message"}`, the message as long as it was not erased. `duration_ms` is
    null where nobody saw the end, and a person told of it."""

    step_id: str
    step_type: str
    step_index: int
    status: str
    attempt: int
    agent_id: str | None
    started_at: str | None
    ended_at: str | None
    duration_ms: int | None
    input_hash: str | None
    output_hash: str | None
    receipt_hash: str | None
    decision: Decision | None
    error: dict[str, Any] | None
    child_run_id: str | None
    """The run that executes the step, where it is one that a run of its own executes."""
    carried_from: str | None
    """The run that did the step, where this one was restarted and does it not again."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    gate_id: str
    run_id: str
    step_id: str | None
    gate_type: str
    gate_name: str
    description: str
    status: str
    required_approvers: tuple[str, ...]
    quorum: int
    approvals: list[dict[str, str]]
    approved_by: str | None
    rejection_reason: str | None
    input_schema: Any
    input_hash: str | None
    created_at: str
    resolved_at: str | None
    expires_at: str | None
    evidence_pack_hash: str | None


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`hash` is the event's, `evidence_hash` the receipt's that it carries, or its own."""

    log_id: str
    run_id: str
    seq: int
    event_type: str
    event_category: str
    step_id: str | None
    previous_status: str | None
    new_status: str | None
    actor_id: str
    via: str | None
    message: str
    decision: str | None
    details: dict[str, Any]
    timestamp: str
    duration_ms: int | None
    evidence_hash: str | None
    evidence_pack_ref: str | None
    prev_hash: str
    hash: str


class RunAnswer(msgspec.Struct, frozen=True):
    run: Run
    logs: list[LogEntry]
    gates: list[Gate]
    steps: list[Step]


class PayloadAnswer(msgspec.Struct, frozen=True):
    """`value` has the hash `hash`: SHA-256 of its RFC 8785 form."""

    hash: str
    value: Any


class StepAnswer(msgspec.Struct, frozen=True):
    """The caller may execute only where `decision` is allow; it is null for a report of an end."""

    decision: Decision | None
    step: Step
    run: Run
    gate: Gate | None


class Resumed(msgspec.Struct, frozen=True):
    run: Run
    logs: list[LogEntry]
    gates: list[Gate]


class RegisterAnswer(msgspec.Struct, frozen=True):
    workflow_id: str
    version: str
    artifact_hashes: dict[str, str]
    idempotent: bool


def run_view(
    doc: RunDoc,
    values: dict[str, Any],
    errors: Errors,
    receipts: list[str],
    packs: Sequence[str] = (),
) -> Run:
    """`values` are payloads by hash; one that was erased shows as null, an error that was as one
    that says so. `packs` are the hashes of the evidence packs that were made, the newest first."""
    error = reported(doc.error_code, doc.error_hash, errors)
    if error is None and (doc.status == "failed" or doc.error_hash not in (None, *errors)):
        said = run_said(doc.reason, doc.error_code, doc.error_hash, errors)
        error = {"code": doc.error_code or doc.status, "message": said}
    return Run(
        run_id=doc.run_id,
        workflow_id=doc.workflow_id,
        workflow_version=doc.workflow_version,
        definition_hash=doc.definition_hash,
        execution=doc.execution,
        status=doc.status,
        current_step=doc.current_step,
        step_index=doc.step_index,
        tenant_id=doc.tenant_id,
        actor_id=doc.actor_id,
        correlation_id=doc.correlation_id,
        input_payload=values.get(doc.input_hash),
        output_payload=values.get(doc.output_hash or ""),
        error_details=error,
        metadata=values.get(doc.metadata_hash),
        tags=doc.tags,
        parent_run_id=doc.parent_run_id,
        parent_step=doc.parent_step,
        restarted_from=doc.restarted_from,
        receipt_chain=receipts,
        workflow_receipt_hash=doc.workflow_receipt_hash,
        evidence_pack_hash=packs[0] if packs else None,
        evidence_pack_refs=[f"rhid:pack:sha256:{digest}" for digest in packs],
        created_at=doc.created_at,
        started_at=doc.started_at,
        completed_at=doc.completed_at,
        updated_at=doc.updated_at,
    )


def step_view(doc: StepDoc, errors: Errors) -> Step:
    error = None
    if doc.error_type is not None:
        kind, said = step_said(doc.error_type, doc.error_hash, errors)
        error = {"type": kind, "message": said}
    return Step(
        step_id=doc.step_id,
        step_type=doc.step_type,
        step_index=doc.step_index,
        status=doc.status,
        attempt=doc.attempt,
        agent_id=doc.agent_id,
        started_at=doc.started_at,
        ended_at=doc.ended_at,
        duration_ms=doc.duration_ms,
        input_hash=doc.input_hash,
        output_hash=doc.output_hash,
        receipt_hash=doc.receipt_hash,
        decision=doc.decision,
        error=error,
        child_run_id=doc.child_run_id,
        carried_from=doc.carried_from,
    )


def gate_view(doc: GateDoc, values: dict[str, Any]) -> Gate:
    """`values` holds the gate's input schema, where it has one."""
    return Gate(
        gate_id=doc.gate_id,
        run_id=doc.run_id,
        step_id=doc.step_id,
        gate_type=doc.gate_type,
        gate_name=doc.gate_name,
        description=doc.description,
        status=doc.status,
        required_approvers=doc.required_approvers,
        quorum=doc.quorum,
        approvals=doc.approvals,
        approved_by=doc.approved_by,
        rejection_reason=doc.rejection_reason,
        input_schema=values.get(doc.input_schema_hash or ""),
        input_hash=doc.input_hash,
        created_at=doc.created_at,
        resolved_at=doc.resolved_at,
        expires_at=doc.expires_at,
        evidence_pack_hash=doc.evidence_pack_hash,
    )
