"""What each event of a gate makes of it, and of the step that waits there."""

from collections.abc import Callable
from typing import Any

import msgspec

from .actor import Actor
from .canonical import value_hash
from .envelope import Event
from .events import GateBypassed, GateExpired, GateRequested, GateResolved, GateResumed
from .fold_checks import instant, require, require_allow, take_receipt
from .gates import Approval, Gate
from .receipts import gate_receipt
from .run import Doom, Run
from .steps import InDoubt, Running, Waiting

__all__ = ["GATE_HANDLERS", "agrees", "is_own"]

_NO_INPUT = value_hash({})


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
        expires_at=instant(event, data.expires_at) if data.expires_at else None,
        input_schema_hash=data.input_schema_hash,
        action=data.action,
        subject_hash=data.subject_hash,
        covers=data.covers,
        asked_by=(event.actor, event.via) if event.via else (event.actor,),
    )
    run.open_gates[data.gate_id] = None
    run.gates_about[data.step_id] = (*run.gates_about.get(data.step_id, ()), data.gate_id)
    step = run.steps.get(data.step_id) if data.step_id else None
    if step is None:
        return
    state = step.state
    if isinstance(state, InDoubt) and data.gate_type == "in_doubt":
        require(state.gate_id is None, event, "people are asked about it already")
        changed = msgspec.structs.replace(state, gate_id=data.gate_id)
        run.steps[step.step_id] = msgspec.structs.replace(step, state=changed)
        run.at_gate[step.step_id] = None
    elif isinstance(state, Running) and step.step_type == "GATE" and run.is_managed:
        planned = run.spec_of(step.step_id)
        spec = planned.gate if planned else None
        asked = (data.required_approvers, data.quorum)
        defined = spec is not None and asked == (spec.approvers, spec.quorum)
        require(defined, event, "the workflow asks other people")
        waiting = Waiting(state.permit, state.started_at, data.gate_id)
        run.steps[step.step_id] = msgspec.structs.replace(step, state=waiting)
        run.in_flight.pop(step.step_id, None)
        run.at_gate[step.step_id] = None


def _answered(run: Run, event: Event, data: GateResolved | GateResumed) -> None:
    gate = _open(run, event, data)
    require(not any(a.actor_id == event.actor for a in gate.approvals), event, "answered already")
    require(gate.expires_at is None or event.at < gate.expires_at, event, "the gate had expired")
    _entitled(run, event, gate, data.role)
    require_allow(run, event, "gate.resolve", gate.gate_id)
    input_hash = data.input_hash if isinstance(data, GateResumed) else None
    if data.decision == "rejected":
        require(data.gate_status == "rejected", event, "one rejection is enough")
        gate = msgspec.structs.replace(gate, rejection_reason=data.reason)
    else:
        approvals = (*gate.approvals, Approval(event.actor, event.at))
        full = len(approvals) >= gate.quorum
        expected = "approved" if full else "pending"
        require(data.gate_status == expected, event, f"{len(approvals)} of {gate.quorum} approved")
        require(agrees(gate, input_hash), event, "an earlier approval came with another input")
        gate = msgspec.structs.replace(gate, approvals=approvals)
    gate = msgspec.structs.replace(gate, input_hash=input_hash or gate.input_hash)
    _receipted(run, event, gate, data, data.gate_status)
    _close(run, event, gate, data.gate_status, data.receipt_hash)


def agrees(gate: Gate, input_hash: str | None) -> bool:
    """Whether an approval with this input is one of the same thing as the approvals before it; an
    approval without an input agrees with what stands, and stands for none itself."""
    if not gate.approvals or input_hash is None:
        return True
    return input_hash == (gate.input_hash or _NO_INPUT)


def is_own(run: Run, gate: Gate, actor: str, via: str | None) -> bool:
    """Whether `actor` would answer for themselves: they, or whoever they act through, started the
    run or brought the gate about."""
    started = {run.actor_id, run.via}
    return actor in started | set(gate.asked_by) or via in {run.actor_id, gate.asked_by[0]}


def _entitled(run: Run, event: Event, gate: Gate, role: str | None) -> None:
    """The gate asks whoever answers, by name or by the role that the event tells."""
    named = not gate.required_approvers or event.actor in gate.required_approvers
    by_role = role is not None and f"role:{role}" in gate.required_approvers
    asked = role is None if named else by_role
    require(asked, event, f"the gate does not ask {event.actor}")
    if run.policy_mode == "strict":
        own = is_own(run, gate, event.actor, event.via)
        require(not own, event, "who started a run, or asked for a step, does not answer for it")


def _expired(run: Run, event: Event, data: GateExpired) -> None:
    gate = _open(run, event, data)
    due = gate.expires_at is not None and event.at >= gate.expires_at
    require(due, event, "the gate is not due")
    _receipted(run, event, gate, data, "expired")
    _close(run, event, gate, "expired", data.receipt_hash)


def _bypassed(run: Run, event: Event, data: GateBypassed) -> None:
    gate = _open(run, event, data)
    require(gate.gate_type != "in_doubt", event, "a bypass does not say what happened")
    require(gate.expires_at is None or event.at < gate.expires_at, event, "the gate had expired")
    require(bool(data.reason.strip()), event, "an emergency has a reason")
    require_allow(run, event, "gate.bypass", gate.gate_id)
    _receipted(run, event, gate, data, "bypassed")
    _close(run, event, gate, "bypassed", data.receipt_hash)


def _receipted(run: Run, event: Event, gate: Gate, data: Any, status: str) -> None:
    facts = gate_receipt(
        run,
        gate,
        actor=Actor(event.actor, via=event.via),
        decision=getattr(data, "decision", status),
        status=status,
        at=event.at,
        input_hash=getattr(data, "input_hash", None),
        decision_hash=None if isinstance(data, GateExpired) else event.prev,
    )
    take_receipt(run, event, data.receipt, data.receipt_hash, facts)


def _open(run: Run, event: Event, data: Any) -> Gate:
    gate = run.gates.get(data.gate_id)
    require(gate is not None and gate.is_open, event, "no such gate is pending")
    assert gate is not None
    same = (data.step_id, data.gate_name) == (gate.step_id, gate.gate_name)
    require(same, event, "it is another gate's")
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
