"""A gate: what people are asked, who may answer, and what they said."""

from typing import Literal

import msgspec

from .decision import Flag
from .events import GateType

__all__ = ["Approval", "Gate", "GateStatus"]

GateStatus = Literal["pending", "approved", "rejected", "expired", "bypassed"]


class Approval(msgspec.Struct, frozen=True):
    """`at` in microseconds."""

    actor_id: str
    at: int


class Gate(msgspec.Struct, frozen=True):
    """The fold of a gate's events. Every status but `pending` is final.

    Where policy flagged something, `action` and `subject_hash` say what, and `covers` which rules
    an approval answers for.
    """

    gate_id: str
    step_id: str | None
    gate_type: GateType
    gate_name: str
    description: str
    required_approvers: tuple[str, ...]
    quorum: int
    created_at: int
    expires_at: int | None
    input_schema_hash: str | None
    action: str | None
    subject_hash: str | None
    covers: tuple[str, ...]
    asked_by: tuple[str, ...] = ()
    """Who brought it about, and through whom."""
    status: GateStatus = "pending"
    approvals: tuple[Approval, ...] = ()
    input_hash: str | None = None
    rejection_reason: str | None = None
    resolved_by: str | None = None
    resolved_at: int | None = None
    receipt_hash: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status == "pending"

    @property
    def is_passed(self) -> bool:
        """People let it through, in the ordinary way or in an emergency."""
        return self.status in ("approved", "bypassed")

    @property
    def is_refused(self) -> bool:
        return self.status in ("rejected", "expired")

    def answers(self, flag: Flag, action: str, step_id: str | None, subject: str | None) -> bool:
        """Whether this gate's passing covers `flag`."""
        return self.is_passed and self.asks(flag, action, step_id, subject)

    def asks(self, flag: Flag, action: str, step_id: str | None, subject: str | None) -> bool:
        """Whether this gate is about `flag`: the same rule, about the same thing, and asking for
        the same people."""
        return (
            self.action == action
            and self.step_id == step_id
            and self.subject_hash == subject
            and flag.rule in self.covers
            and self.required_approvers == flag.approvers
            and self.quorum == flag.quorum
        )
