"""Commands about gates: who may answer, and what an answer does."""

from typing import Any, Literal

from ..errors import Conflict, Forbidden, NotFound
from .commands import AnswerGate, BypassGate, ExpireGate, RequestGate
from .envelope import Event
from .events import GateBypassed, GateExpired, GateResolved, GateResumed
from .fold_gates import agrees, is_own
from .gate_requests import request_gate
from .gates import Gate
from .receipts import gate_receipt, receipt_hash
from .turn import Turn

__all__ = ["answer", "bypass", "check_may_answer", "expire", "request"]


def request(turn: Turn, command: RequestGate) -> None:
    """A caller asks for people."""
    if turn.run.is_ended:
        raise Conflict(f"The run is {turn.run.status}; it takes no more gates.", code="run_ended")
    if command.gate_type == "in_doubt":
        raise Conflict(
            "The server itself asks about a step in doubt; request a human_approval.",
            code="gate_type_reserved",
        )
    request_gate(
        turn,
        step_id=command.step_id,
        gate_type=command.gate_type,
        name=command.gate_name,
        description=command.description,
        approvers=command.required_approvers,
        quorum=command.quorum,
        expires_s=command.expires_s,
        schema_hash=command.input_schema_hash,
    )


def check_may_answer(turn: Turn, gate_id: str, *, strict: bool) -> None:
    """Raises what `answer` would, for an actor who may not answer this gate now."""
    _check_entitled(turn, _open(turn, gate_id), strict=strict)


def answer(turn: Turn, command: AnswerGate) -> None:
    """One person approves or rejects. Raises `Forbidden` where they may not, `Conflict` where the
    gate takes no (further) answer of theirs."""
    gate = _open(turn, command.gate_id)
    _check_entitled(turn, gate, strict=command.strict)
    if any(a.actor_id == turn.actor.actor_id for a in gate.approvals):
        raise Conflict(
            f"{turn.actor.actor_id} has approved gate {gate.gate_name} already; "
            f"{gate.quorum} different people must.",
            code="already_answered",
        )
    given = _input(command)
    if command.approve and not agrees(gate, given):
        raise Conflict(
            "An earlier approval of this gate came with another input; approve without an input "
            "to agree to that one, or reject.",
            code="input_differs",
        )
    if command.approve and gate.gate_type == "in_doubt" and not given:
        raise Conflict(
            "This gate asks what happened to a step; approve it with an input that says so.",
            code="input_required",
        )
    if command.decision.decision != "allow":
        raise Forbidden(f"Policy refuses it: {command.decision.reason}", code="policy_denied")
    _, event = turn.decide(
        command.decision, "gate.resolve", step_id=gate.step_id, gate_id=gate.gate_id
    )
    _emit_answer(turn, gate, command, event)


def _input(command: AnswerGate) -> str | None:
    return command.input_hash if command.with_input else None


def _emit_answer(turn: Turn, gate: Gate, command: AnswerGate, decided: Event) -> None:
    decision: Literal["approved", "rejected"] = "approved" if command.approve else "rejected"
    full = len(gate.approvals) + 1 >= gate.quorum
    status: Literal["pending", "approved", "rejected"] = (
        "rejected" if not command.approve else "approved" if full else "pending"
    )
    input_hash = _input(command)
    receipt = gate_receipt(
        turn.run,
        gate,
        actor=turn.actor,
        decision=decision,
        status=status,
        at=turn.now,
        input_hash=input_hash,
        decision_hash=decided.hash,
    )
    common: dict[str, Any] = {
        "gate_id": gate.gate_id,
        "step_id": gate.step_id,
        "gate_name": gate.gate_name,
        "decision": decision,
        "gate_status": status,
        "role": turn.actor.entitling_role(gate.required_approvers),
        "reason": _reason(turn, gate, command),
        "receipt": receipt,
        "receipt_hash": receipt_hash(receipt),
    }
    if input_hash is None:
        turn.emit(GateResolved(**common))
        return
    turn.emit(
        GateResumed(
            **common, input_hash=input_hash, decision_receipt_id=command.decision_receipt_id
        )
    )


def _reason(turn: Turn, gate: Gate, command: AnswerGate) -> str | None:
    """Why, in the words of who answers. What they say of a step in doubt is told with it: two
    opposite answers would read the same in the log, and their inputs may be erased."""
    if gate.gate_type != "in_doubt" or not command.approve or command.happened is None:
        return command.reason
    said = "it happened, with the output given" if command.happened else "it did not happen"
    why = f": {command.reason}" if command.reason else ""
    return f"{turn.actor.actor_id} said that {said}{why}"


def bypass(turn: Turn, command: BypassGate) -> None:
    """Emergency: one person, whose scope says so, lets the run through without the approvers."""
    gate = _open(turn, command.gate_id)
    if gate.gate_type == "in_doubt":
        raise Conflict(
            "This gate asks what happened; a bypass would not say. Answer it instead.",
            code="gate_not_bypassable",
        )
    if not command.reason.strip():
        raise Conflict("A bypass is an emergency; give its reason.", code="reason_required")
    if command.decision.decision != "allow":
        raise Forbidden(f"Policy refuses it: {command.decision.reason}", code="policy_denied")
    _, event = turn.decide(
        command.decision, "gate.bypass", step_id=gate.step_id, gate_id=gate.gate_id
    )
    receipt = _closing_receipt(turn, gate, "bypassed", event.hash)
    turn.emit(
        GateBypassed(
            gate_id=gate.gate_id,
            step_id=gate.step_id,
            gate_name=gate.gate_name,
            reason=command.reason,
            receipt=receipt,
            receipt_hash=receipt_hash(receipt),
        )
    )


def expire(turn: Turn, command: ExpireGate) -> None:
    """Nobody answered in time: the gate counts as refused."""
    gate = _pending(turn, command.gate_id)
    if gate.expires_at is None or turn.now < gate.expires_at:
        raise Conflict(f"Gate {gate.gate_name} has time still.", code="gate_not_due")
    receipt = _closing_receipt(turn, gate, "expired", None)
    turn.emit(
        GateExpired(
            gate_id=gate.gate_id,
            step_id=gate.step_id,
            gate_name=gate.gate_name,
            receipt=receipt,
            receipt_hash=receipt_hash(receipt),
        )
    )


def _closing_receipt(
    turn: Turn, gate: Gate, status: str, decision_hash: str | None
) -> dict[str, Any]:
    return gate_receipt(
        turn.run,
        gate,
        actor=turn.actor,
        decision=status,
        status=status,
        at=turn.now,
        input_hash=None,
        decision_hash=decision_hash,
    )


def _open(turn: Turn, gate_id: str) -> Gate:
    gate = _pending(turn, gate_id)
    if gate.expires_at is not None and turn.now >= gate.expires_at:
        raise Conflict(f"Gate {gate.gate_name} has expired.", code="gate_expired")
    return gate


def _pending(turn: Turn, gate_id: str) -> Gate:
    gate = turn.run.gates.get(gate_id)
    if gate is None:
        raise NotFound(f"This run has no gate {gate_id}.", code="gate_not_found")
    if not gate.is_open:
        raise Conflict(
            f"Gate {gate.gate_name} is {gate.status}; only a pending gate takes an answer.",
            code="gate_not_pending",
        )
    if turn.run.is_ended:
        raise Conflict(f"The run is {turn.run.status}; its gates are closed.", code="run_ended")
    return gate


def _check_entitled(turn: Turn, gate: Gate, *, strict: bool) -> None:
    run, actor = turn.run, turn.actor
    if not actor.is_entitled(gate.required_approvers):
        raise Forbidden(
            f"{actor.actor_id} is not a required approver of gate {gate.gate_name}; "
            f"it asks for {', '.join(gate.required_approvers)}.",
            code="not_an_approver",
        )
    strict = strict or run.policy_mode == "strict"
    if strict and is_own(run, gate, actor.actor_id, actor.via):
        raise Forbidden(
            f"{actor.actor_id} started this run or asked for this step; in strict mode somebody "
            "else must answer.",
            code="separation_of_duties",
        )
