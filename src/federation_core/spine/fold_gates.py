"""What each event of a gate makes of it, and of the step that waits there."""

from collections.abc import Callable
from typing import Any

import msgspec

from .envelope import Event
from .events import GateBypassed, GateExpired, GateRequested, GateResolved, GateResumed
from .fold_checks import require, take_receipt
from .gates import Approval, Gate
from .run import Doom, Run
from .steps import InDoubt, Running, Waiting
from .times import from_rfc3339

__all__ = ["GATE_HANDLERS"]


def _requested(run: Run, event: Event, data: GateRequested) -> None:
    require(data.gate_id not in run.gates, event, "the gate exists already")
    run.gates[data.gate_id] = Gate(
        gate_id=data.gate_id,
        step_id=data.step_id,
        gate_type=data.gate_type,
        gate_name=data.gate_name,
        description=data.description,
        required_approvers=data.required_approvers,
        quorum=data.quorum,
        created_at=event.at,
        expires_at=from_rfc3339(data.expires_at) if data.expires_at else None,
        input_schema_hash=data.input_schema_hash,
        action=data.action,
        subject_hash=data.subject_hash,
        covers=data.covers,
    )
    run.open_gates[data.gate_id] = None
    step = run.steps.get(data.step_id) if data.step_id else None
    if step is None:
        return
    state = step.state
    if isinstance(state, InDoubt) and data.gate_type == "in_doubt":
        changed = msgspec.structs.replace(state, gate_id=data.gate_id)
        run.steps[step.step_id] = msgspec.structs.replace(step, state=changed)
        run.at_gate[step.step_id] = None
    elif isinstance(state, Running) and step.step_type == "GATE" and run.is_managed:
        waiting = Waiting(state.permit, state.started_at, data.gate_id)
        run.steps[step.step_id] = msgspec.structs.replace(step, state=waiting)
        run.in_flight.pop(step.step_id, None)
        run.at_gate[step.step_id] = None


def _answered(run: Run, event: Event, data: GateResolved | GateResumed) -> None:
    gate = _open(run, event, data.gate_id)
    require(not any(a.actor_id == event.actor for a in gate.approvals), event, "answered already")
    input_hash = data.input_hash if isinstance(data, GateResumed) else None
    if data.decision == "rejected":
        require(data.gate_status == "rejected", event, "one rejection is enough")
        gate = msgspec.structs.replace(gate, rejection_reason=data.reason)
    else:
        approvals = (*gate.approvals, Approval(event.actor, event.at))
        full = len(approvals) >= gate.quorum
        expected = "approved" if full else "pending"
        require(data.gate_status == expected, event, f"{len(approvals)} of {gate.quorum} approved")
        gate = msgspec.structs.replace(gate, approvals=approvals)
    gate = msgspec.structs.replace(gate, input_hash=input_hash or gate.input_hash)
    facts = {"decision": data.decision, "status": data.gate_status, "input_hash": input_hash}
    _receipted(run, event, gate, data, facts)
    _close(run, event, gate, data.gate_status, data.receipt_hash)


def _expired(run: Run, event: Event, data: GateExpired) -> None:
    gate = _open(run, event, data.gate_id)
    due = gate.expires_at is not None and event.at >= gate.expires_at
    require(due, event, "the gate is not due")
    _receipted(run, event, gate, data, {"decision": "expired", "status": "expired"})
    _close(run, event, gate, "expired", data.receipt_hash)


def _bypassed(run: Run, event: Event, data: GateBypassed) -> None:
    gate = _open(run, event, data.gate_id)
    require(bool(data.reason.strip()), event, "an emergency has a reason")
    _receipted(run, event, gate, data, {"decision": "bypassed", "status": "bypassed"})
    _close(run, event, gate, "bypassed", data.receipt_hash)


def _receipted(run: Run, event: Event, gate: Gate, data: Any, facts: dict[str, Any]) -> None:
    who = {"gate_id": gate.gate_id, "actor_id": event.actor, "via": event.via}
    take_receipt(run, event, data.receipt, data.receipt_hash, who | facts)


def _open(run: Run, event: Event, gate_id: str) -> Gate:
    gate = run.gates.get(gate_id)
    require(gate is not None and gate.is_open, event, "no such gate is pending")
    assert gate is not None
    return gate


def _close(run: Run, event: Event, gate: Gate, status: Any, digest: str) -> None:
    gate = msgspec.structs.replace(gate, status=status, receipt_hash=digest)
    if status != "pending":
        gate = msgspec.structs.replace(gate, resolved_at=event.at, resolved_by=event.actor)
        run.open_gates.pop(gate.gate_id, None)
    run.gates[gate.gate_id] = gate
    if gate.is_refused and run.doomed is None:
        why = f": {gate.rejection_reason}" if gate.rejection_reason else ""
        run.doomed = Doom(f"gate_{status}", f"gate {gate.gate_name} {status}{why}", gate.step_id)


GATE_HANDLERS: dict[type, Callable[[Run, Event, Any], None]] = {
    GateRequested: _requested,
    GateResolved: _answered,
    GateResumed: _answered,
    GateExpired: _expired,
    GateBypassed: _bypassed,
}
