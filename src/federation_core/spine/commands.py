"""What may be asked of a run. Each is answered by events, or by a refusal that says why.

Every command that lets something happen carries the `Decision` that policy made about it: there
is no command to start a step, only to put one to its decision.
"""

import msgspec

from .decision import Decision, PolicyMode
from .events import Execution, GateType, RunStatus, StepCarried

__all__ = [
    "AbandonRun",
    "AnswerGate",
    "BypassGate",
    "ChangeStatus",
    "Command",
    "CompleteRun",
    "CompleteStep",
    "CreateRun",
    "ExpireGate",
    "FailRun",
    "FailStep",
    "FanOutStep",
    "ProposeStep",
    "RecordRefusal",
    "RecoverStep",
    "RequestGate",
    "RetryStep",
    "SkipStep",
    "StartRun",
    "TimeOutRun",
]


class _Command(msgspec.Struct, frozen=True):
    pass


class CreateRun(_Command, frozen=True, kw_only=True):
    run_id: str
    tenant: str
    workflow_id: str
    workflow_version: str
    definition_hash: str | None
    execution: Execution
    policy_mode: PolicyMode
    input_hash: str
    metadata_hash: str
    tags: tuple[str, ...] = ()
    parent_run_id: str | None = None
    parent_step: str | None = None
    parent_attempt: int = 1
    restarted_from: str | None = None
    sensitive: bool = False
    correlation_id: str
    carried: tuple[StepCarried, ...] = ()
    """The steps that a restarted run does not do again, each after those it needs."""
    decision: Decision


class StartRun(_Command, frozen=True, kw_only=True):
    """The engine takes up a managed run."""

    decision: Decision


class ProposeStep(_Command, frozen=True, kw_only=True):
    """Put a step to its decision; where that is allow the step starts in the same turn."""

    step_id: str
    step_type: str
    input_hash: str
    decision: Decision


class FanOutStep(_Command, frozen=True, kw_only=True):
    """The step is done once for each of `items` items; `items_hash` is that of their list."""

    step_id: str
    items: int
    items_hash: str


class CompleteStep(_Command, frozen=True, kw_only=True):
    step_id: str
    output_hash: str


class FailStep(_Command, frozen=True, kw_only=True):
    """`retriable` says that the failure left nothing behind that a new attempt would repeat. What
    was said is a payload (see `failures`)."""

    step_id: str
    error_type: str
    error_hash: str | None = None
    retriable: bool = False


class RetryStep(_Command, frozen=True, kw_only=True):
    """A step in doubt did not happen, so a person said: a new attempt, with a new decision."""

    step_id: str


class SkipStep(_Command, frozen=True, kw_only=True):
    step_id: str
    reason: str = "its condition is false"


class RecoverStep(_Command, frozen=True, kw_only=True):
    """A step was started by someone who is gone: start it again, or say that it is in doubt."""

    step_id: str


class RequestGate(_Command, frozen=True, kw_only=True):
    step_id: str | None
    gate_type: GateType = "human_approval"
    gate_name: str
    description: str = ""
    required_approvers: tuple[str, ...] = ()
    quorum: int = 1
    expires_s: int | None = None
    input_schema_hash: str | None = None


class AnswerGate(_Command, frozen=True, kw_only=True):
    """`input_hash` where the answer came with an input, which was checked against the schema."""

    gate_id: str
    approve: bool
    reason: str | None = None
    input_hash: str | None = None
    with_input: bool = False
    happened: bool | None = None
    """What the input says of a step in doubt."""
    decision_receipt_id: str | None = None
    strict: bool = False
    """The duties are to be separated, whatever mode the run was born in."""
    decision: Decision


class BypassGate(_Command, frozen=True, kw_only=True):
    gate_id: str
    reason: str
    decision: Decision


class ExpireGate(_Command, frozen=True, kw_only=True):
    gate_id: str


class ChangeStatus(_Command, frozen=True, kw_only=True):
    """A client's request to change the status of a run."""

    status: RunStatus
    current_step: str | None = None
    step_index: int | None = None
    output_hash: str | None = None
    error_hash: str | None = None
    error_code: str | None = None
    reason: str | None = None
    decision: Decision


class CompleteRun(_Command, frozen=True, kw_only=True):
    """The engine ends a managed run of which every step has ended well."""

    output_hash: str
    decision: Decision


class FailRun(_Command, frozen=True, kw_only=True):
    """The engine ends a run that cannot go on (an output that cannot be computed, say). `reason`
    quotes nothing; what was said is a payload (see `failures`)."""

    code: str
    reason: str
    error_hash: str | None = None


class TimeOutRun(_Command, frozen=True):
    """A managed run has taken longer than its workflow gives it."""


class AbandonRun(_Command, frozen=True, kw_only=True):
    """The engine cancels a child run of which nobody waits for the end any more."""


class RecordRefusal(_Command, frozen=True, kw_only=True):
    """An attempt that was refused, for the log."""

    action: str
    code: str
    reason: str
    gate_id: str | None = None
    step_id: str | None = None
    actor_tenant: str | None = None
    decision: Decision | None = None


Command = (
    CreateRun
    | StartRun
    | ProposeStep
    | FanOutStep
    | CompleteStep
    | FailStep
    | SkipStep
    | RetryStep
    | RecoverStep
    | RequestGate
    | AnswerGate
    | BypassGate
    | ExpireGate
    | ChangeStatus
    | CompleteRun
    | FailRun
    | TimeOutRun
    | AbandonRun
    | RecordRefusal
)
