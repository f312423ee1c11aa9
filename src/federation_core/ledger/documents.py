"""The rows that queries read, as documents: the shapes of the contract, with hashes where the
contract shows payloads. Times are RFC 3339."""

import msgspec

from ..spine.children import REFUSED, child_run_id, is_child_step
from ..spine.events import PolicyEvaluated
from ..spine.gates import Gate
from ..spine.run import Run
from ..spine.steps import (
    Carried,
    Completed,
    CutOff,
    Failed,
    FannedOut,
    Gathered,
    InDoubt,
    Running,
    Step,
    Waiting,
)
from ..spine.times import to_rfc3339

__all__ = [
    "DecisionDoc",
    "GateDoc",
    "RunDoc",
    "StepDoc",
    "WorkflowDoc",
    "decision_doc",
    "gate_doc",
    "run_doc",
    "step_doc",
]


class RunDoc(msgspec.Struct, frozen=True, kw_only=True):
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
    via: str | None
    policy_mode: str
    correlation_id: str
    input_hash: str
    output_hash: str | None
    error_hash: str | None
    error_code: str | None
    reason: str | None
    metadata_hash: str
    tags: tuple[str, ...]
    parent_run_id: str | None
    parent_step: str | None = None
    restarted_from: str | None = None
    workflow_receipt_hash: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str


class DecisionDoc(msgspec.Struct, frozen=True, kw_only=True):
    decision: str
    reason: str
    policy_id: str
    policy_hash: str
    tier: str
    rules_triggered: tuple[str, ...]
    evaluated_at: str
    duration_us: int


class StepDoc(msgspec.Struct, frozen=True, kw_only=True):
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
    decision: DecisionDoc | None
    error_type: str | None = None
    error_hash: str | None = None
    child_run_id: str | None = None
    """The run that executes the step, where it is one that a run of its own executes."""
    carried_from: str | None = None
    """The run that did the step, where this one was restarted and does it not again."""


class GateDoc(msgspec.Struct, frozen=True, kw_only=True):
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
    input_schema_hash: str | None
    input_hash: str | None
    receipt_hash: str | None
    covers: tuple[str, ...]
    subject_hash: str | None
    created_at: str
    resolved_at: str | None
    expires_at: str | None
    evidence_pack_hash: str | None


class WorkflowDoc(msgspec.Struct, frozen=True, kw_only=True):
    workflow_id: str
    version: str
    definition_hash: str
    artifact_hashes: dict[str, str]
    registered_at: str


def _time(us: int | None) -> str | None:
    return None if us is None else to_rfc3339(us)


def run_doc(run: Run) -> RunDoc:
    return RunDoc(
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        workflow_version=run.workflow_version,
        definition_hash=run.definition_hash,
        execution=run.execution,
        status=run.status,
        current_step=run.current_step,
        step_index=run.step_index,
        tenant_id=run.tenant,
        actor_id=run.actor_id,
        via=run.via,
        policy_mode=run.policy_mode,
        correlation_id=run.correlation_id,
        input_hash=run.input_hash,
        output_hash=run.output_hash,
        error_hash=run.error_hash,
        error_code=run.error_code,
        reason=run.reason,
        metadata_hash=run.metadata_hash,
        tags=run.tags,
        parent_run_id=run.parent_run_id,
        parent_step=run.parent_step,
        restarted_from=run.restarted_from,
        workflow_receipt_hash=run.workflow_receipt_hash,
        created_at=to_rfc3339(run.created_at),
        started_at=_time(run.started_at),
        completed_at=_time(run.completed_at),
        updated_at=to_rfc3339(run.last_at),
    )


def decision_doc(decision: PolicyEvaluated, at: int) -> DecisionDoc:
    return DecisionDoc(
        decision=decision.decision,
        reason=decision.reason,
        policy_id=decision.policy_id,
        policy_hash=decision.policy_hash,
        tier=decision.tier,
        rules_triggered=decision.rules_triggered,
        evaluated_at=to_rfc3339(at),
        duration_us=decision.duration_us,
    )


def step_doc(run: Run, step: Step) -> StepDoc:
    state = step.state
    started_at: int | None = None
    done: Completed | Failed | Gathered | CutOff | None = None
    if isinstance(state, (Running, Waiting, InDoubt, Completed, Failed)):
        started_at = state.started_at
    if isinstance(state, (FannedOut, Gathered, CutOff)):
        started_at = state.started_at
    if isinstance(state, (Completed, Failed, Gathered, CutOff)):
        done = state
    is_told = isinstance(state, Completed) and state.is_told
    receipted = state if isinstance(state, (Completed, Failed, Carried)) else None
    return StepDoc(
        step_id=step.step_id,
        step_type=step.step_type,
        step_index=step.index,
        status=state.status,
        attempt=step.attempt,
        agent_id=None,
        started_at=_time(started_at),
        ended_at=_time(done.ended_at) if done else None,
        duration_ms=None if is_told or not done else (done.ended_at - done.started_at) // 1000,
        input_hash=step.input_hash,
        output_hash=state.output_hash if isinstance(state, (Completed, Carried)) else None,
        receipt_hash=receipted.receipt_hash if receipted else None,
        decision=decision_doc(step.decision, step.decided_at or 0) if step.decision else None,
        error_type=state.error_type if isinstance(state, Failed) else None,
        error_hash=state.error_hash if isinstance(state, Failed) else None,
        child_run_id=_child(run, step),
        carried_from=state.from_run if isinstance(state, Carried) else None,
    )


def _child(run: Run, step: Step) -> str | None:
    state = step.state
    if not isinstance(state, (Running, Completed, Failed)):
        return None
    if isinstance(state, Failed) and state.error_type == REFUSED:
        return None
    if not is_child_step(run.spec_of(step.step_id)):
        return None
    return child_run_id(run.run_id, step.step_id, state.permit.attempt, state.started_at)


def gate_doc(run: Run, gate: Gate) -> GateDoc:
    last = gate.approvals[-1].actor_id if gate.approvals else None
    approved_by = last if gate.status == "approved" else None
    return GateDoc(
        gate_id=gate.gate_id,
        run_id=run.run_id,
        step_id=gate.step_id,
        gate_type=gate.gate_type,
        gate_name=gate.gate_name,
        description=gate.description,
        status=gate.status,
        required_approvers=gate.required_approvers,
        quorum=gate.quorum,
        approvals=[{"actor_id": a.actor_id, "at": to_rfc3339(a.at)} for a in gate.approvals],
        approved_by=gate.resolved_by if gate.status == "bypassed" else approved_by,
        rejection_reason=gate.rejection_reason,
        input_schema_hash=gate.input_schema_hash,
        input_hash=gate.input_hash,
        receipt_hash=gate.receipt_hash,
        covers=gate.covers,
        subject_hash=gate.subject_hash,
        created_at=to_rfc3339(gate.created_at),
        resolved_at=_time(gate.resolved_at),
        expires_at=_time(gate.expires_at),
        evidence_pack_hash=None,
    )
