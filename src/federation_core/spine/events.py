"""The events of a run: what may stand in the ledger, one frozen struct for each code.

A value from outside never stands in an event, only its hash; no fractions, keys `[a-z0-9_]+`.
"""

from typing import Any, ClassVar, Literal, get_args

import msgspec

from .decision import Effect, Flag, PolicyMode
from .shapes import prepare

__all__ = [
    "RUN_EVENTS",
    "AttemptRefused",
    "Execution",
    "GateBypassed",
    "GateExpired",
    "GateRequested",
    "GateResolved",
    "GateResumed",
    "GateType",
    "PolicyEvaluated",
    "RunCreated",
    "RunEnded",
    "RunEventData",
    "RunStatus",
    "RunStatusChanged",
    "StepCarried",
    "StepCompleted",
    "StepFailed",
    "StepFannedOut",
    "StepInDoubt",
    "StepRetryScheduled",
    "StepSkipped",
    "StepStarted",
    "TightenedBy",
]

RunStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
Execution = Literal["managed", "external"]
GateType = Literal["human_approval", "policy_check", "timeout", "in_doubt"]


class _Data(msgspec.Struct, frozen=True, omit_defaults=True):
    """Optional facts are left out where there are none."""


class RunCreated(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-RUN-001"
    run_id: str
    workflow_id: str
    workflow_version: str
    definition_hash: str | None = None
    execution: Execution
    policy_mode: PolicyMode
    actor_kind: str = "service"
    actor_roles: tuple[str, ...] = ()
    """Policy is asked about the run's starter, as they were then, for as long as it lives."""
    input_hash: str
    metadata_hash: str
    tags: tuple[str, ...] = ()
    parent_run_id: str | None = None
    parent_step: str | None = None
    """The step of the parent that this run executes: the engine started it, and it ends with it."""
    parent_attempt: int = 1
    restarted_from: str | None = None
    """The ended run that this one does again from some step on."""
    sensitive: bool = False
    """What it takes and gives is salted, as it is in the step that it executes."""
    correlation_id: str


class RunStatusChanged(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-RUN-002"
    previous_status: RunStatus
    new_status: RunStatus
    reason: str | None = None
    hold: bool = False
    """An operator asked for this pause, so it ends when an operator says so."""
    current_step: str | None = None
    step_index: int | None = None
    output_hash: str | None = None


class RunEnded(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-RUN-003"
    previous_status: RunStatus
    new_status: RunStatus
    reason: str | None = None
    error_code: str | None = None
    error_hash: str | None = None
    output_hash: str | None = None
    current_step: str | None = None
    step_index: int | None = None
    workflow_receipt_hash: str


class TightenedBy(_Data, frozen=True, kw_only=True):
    """What the other bundle said, where the caller tightened the mode and two were asked; of the
    two answers the more restrictive one decided."""

    decision: Effect
    policy_id: str
    policy_hash: str
    rules_triggered: tuple[str, ...] = ()


class PolicyEvaluated(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-POLICY-001"
    action: str
    step_id: str | None = None
    step_type: str | None = None
    attempt: int | None = None
    gate_id: str | None = None
    subject_hash: str | None = None
    """Hash of what was decided about: the step's input, the run's output."""
    decision: Effect
    reason: str
    policy_id: str
    policy_hash: str
    tier: str
    rules_triggered: tuple[str, ...] = ()
    request_hash: str
    duration_us: int
    flags: tuple[Flag, ...] = ()
    covered_by: tuple[str, ...] = ()
    """Gates whose approval covers everything that policy flags now; makes a flag an allow."""
    tightened: TightenedBy | None = None


class StepStarted(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-STEP-001"
    step_id: str
    step_type: str
    step_index: int
    attempt: int
    input_hash: str
    decision_hash: str
    idempotency_key: str
    node: str | None = None
    """Which of several processes executes it."""
    again: bool = False
    """The same attempt once more: its first start has no end, and the step is idempotent."""
    child_run_id: str | None = None
    """The run that executes it, where it is a run of its own."""


class StepCompleted(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-STEP-002"
    step_id: str
    attempt: int
    output_hash: str
    duration_ms: int
    receipt: dict[str, Any]
    receipt_hash: str


class StepFailed(_Data, frozen=True, kw_only=True):
    """`error_type` is a name, `error_hash` that of what was said (see `failures`)."""

    code: ClassVar[str] = "FC-STEP-003"
    step_id: str
    attempt: int
    error_type: str
    error_hash: str | None = None
    duration_ms: int
    receipt: dict[str, Any]
    receipt_hash: str


class StepRetryScheduled(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-STEP-004"
    step_id: str
    attempt: int
    not_before: str


class StepInDoubt(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-STEP-005"
    step_id: str
    attempt: int


class StepSkipped(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-STEP-006"
    step_id: str
    reason: str


class StepFannedOut(_Data, frozen=True, kw_only=True):
    """The step is done once for each of so many items; the hash is that of their list."""

    code: ClassVar[str] = "FC-STEP-007"
    step_id: str
    items: int
    items_hash: str


class StepCarried(_Data, frozen=True, kw_only=True):
    """A step that ended well in another run, and is not done again in this one. `from_run` is the
    run that did it, and `receipt` is its receipt there. A step that was skipped there has only a
    `reason`."""

    code: ClassVar[str] = "FC-STEP-008"
    step_id: str
    from_run: str
    attempt: int = 0
    input_hash: str | None = None
    output_hash: str | None = None
    receipt: dict[str, Any] | None = None
    receipt_hash: str | None = None
    reason: str | None = None


class GateRequested(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-GATE-001"
    gate_id: str
    step_id: str | None = None
    gate_type: GateType
    gate_name: str
    description: str = ""
    required_approvers: tuple[str, ...] = ()
    quorum: int = 1
    input_schema_hash: str | None = None
    expires_at: str | None = None
    action: str | None = None
    """What policy flagged, and which of its rules an approval of this gate covers."""
    subject_hash: str | None = None
    covers: tuple[str, ...] = ()


class GateResolved(_Data, frozen=True, kw_only=True):
    """One person's answer; `gate_status` is what it makes of the gate."""

    code: ClassVar[str] = "FC-GATE-002"
    gate_id: str
    step_id: str | None = None
    gate_name: str
    decision: Literal["approved", "rejected"]
    gate_status: Literal["pending", "approved", "rejected"]
    role: str | None = None
    """By which of their roles the gate asked this person, where it did not by name."""
    reason: str | None = None
    receipt: dict[str, Any]
    receipt_hash: str


class GateResumed(_Data, frozen=True, kw_only=True):
    """One person's answer together with an input, of which this holds the hash."""

    code: ClassVar[str] = "FC-GATE-003"
    gate_id: str
    step_id: str | None = None
    gate_name: str
    decision: Literal["approved", "rejected"]
    gate_status: Literal["pending", "approved", "rejected"]
    role: str | None = None
    reason: str | None = None
    input_hash: str
    decision_receipt_id: str | None = None
    receipt: dict[str, Any]
    receipt_hash: str


class GateExpired(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-GATE-004"
    gate_id: str
    step_id: str | None = None
    gate_name: str
    receipt: dict[str, Any]
    receipt_hash: str


class GateBypassed(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-GATE-005"
    gate_id: str
    step_id: str | None = None
    gate_name: str
    reason: str
    receipt: dict[str, Any]
    receipt_hash: str


class AttemptRefused(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-AUTH-001"
    attempted: str
    refusal_code: str
    reason: str
    gate_id: str | None = None
    step_id: str | None = None
    actor_tenant: str | None = None


RunEventData = (
    RunCreated
    | RunStatusChanged
    | RunEnded
    | PolicyEvaluated
    | StepStarted
    | StepCompleted
    | StepFailed
    | StepRetryScheduled
    | StepInDoubt
    | StepSkipped
    | StepFannedOut
    | StepCarried
    | GateRequested
    | GateResolved
    | GateResumed
    | GateExpired
    | GateBypassed
    | AttemptRefused
)

RUN_EVENTS: dict[str, type[RunEventData]] = {kind.code: kind for kind in get_args(RunEventData)}
"""Event code → the struct of its data."""
prepare(*RUN_EVENTS.values())
