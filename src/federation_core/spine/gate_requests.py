"""Asking people: what a gate is opened with."""

from typing import Any

from .decision import Flag
from .events import GateRequested, GateType
from .times import to_rfc3339
from .turn import Turn

__all__ = ["IN_DOUBT_SCHEMA", "ask_for_flags", "request_gate"]

IN_DOUBT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["happened"],
    "properties": {
        "happened": {
            "type": "boolean",
            "description": "Whether the step had its effect. Where it had not, it is run again.",
        },
        "output": {
            "description": "What the step gives to later steps, null where that is nothing. "
            "Needed where it happened; where it did not, there is none.",
        },
    },
    "additionalProperties": False,
    "if": {"properties": {"happened": {"const": True}}},
    "then": {"required": ["output"]},
    "else": {"properties": {"output": False}},
}
"""What a person says about a step in doubt: whether it happened, and with what output. An output
that was forgotten would be null to the steps that need it, so it has to be said."""


def request_gate(
    turn: Turn,
    *,
    step_id: str | None,
    gate_type: GateType,
    name: str,
    description: str = "",
    approvers: tuple[str, ...] = (),
    quorum: int = 1,
    expires_s: int | None = None,
    schema_hash: str | None = None,
    action: str | None = None,
    subject_hash: str | None = None,
    covers: tuple[str, ...] = (),
) -> str:
    """Open a gate; returns its id. `expires_s` counts seconds from now."""
    gate_id = turn.new_id()
    expires_at = None if expires_s is None else to_rfc3339(turn.now + expires_s * 1_000_000)
    turn.emit(
        GateRequested(
            gate_id=gate_id,
            step_id=step_id,
            gate_type=gate_type,
            gate_name=name,
            description=description,
            required_approvers=approvers,
            quorum=quorum,
            input_schema_hash=schema_hash,
            expires_at=expires_at,
            action=action,
            subject_hash=subject_hash,
            covers=covers,
        )
    )
    return gate_id


def ask_for_flags(
    turn: Turn,
    flags: tuple[Flag, ...],
    action: str,
    step_id: str | None,
    subject_hash: str | None,
) -> None:
    """One gate for each distinct requirement among the flags that no gate, passed or still open,
    is about: who may approve one of them need not be who may approve another."""
    gates = [
        g
        for g in map(turn.run.gates.__getitem__, turn.run.gates_about.get(step_id, ()))
        if g.is_open or (g.is_passed and g.gate_id not in turn.run.spent)
    ]
    groups: dict[Any, list[Flag]] = {}
    for flag in flags:
        if not any(g.asks(flag, action, step_id, subject_hash) for g in gates):
            groups.setdefault(flag.requirement, []).append(flag)
    what = step_id or action
    for (approvers, quorum, expires_s), group in groups.items():
        rules = tuple(flag.rule for flag in group)
        request_gate(
            turn,
            step_id=step_id,
            gate_type="policy_check",
            name=f"{what}: {', '.join(rules)}",
            description=f"Policy flagged {action} ({', '.join(rules)}).",
            approvers=approvers,
            quorum=quorum,
            expires_s=expires_s,
            action=action,
            subject_hash=subject_hash,
            covers=rules,
        )
