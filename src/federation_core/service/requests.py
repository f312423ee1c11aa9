"""What callers ask for, as the contract spells it."""

from typing import Annotated, Any, Literal

import msgspec

from ..spine.definition import StepType
from ..spine.events import GateType, RunStatus
from ..spine.schedule import CatchUp

__all__ = [
    "AddScheduleRequest",
    "AnswerGateRequest",
    "BypassRequest",
    "ChangeStatusRequest",
    "CreateRunRequest",
    "EraseRequest",
    "RecordStepRequest",
    "RegisterRequest",
    "RequestGateRequest",
    "RestartRequest",
    "ResumeRequest",
    "RotateRequest",
]

WorkflowId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
StepId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}\Z")]
Reason = Annotated[str, msgspec.Meta(max_length=2_000)]
Approver = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:@/+-]{1,140}\Z")]
ScheduleId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
MAX_GATE_SECONDS = 366 * 24 * 3600


class CreateRunRequest(msgspec.Struct, frozen=True, kw_only=True):
    workflow_id: WorkflowId
    workflow_version: Version | None = None
    input_payload: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    tags: Annotated[list[Tag], msgspec.Meta(max_length=64)] = []
    parent_run_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    execution: Literal["managed", "external"] | None = None


class RestartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is not given is as in the run that is restarted."""

    from_step: StepId
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    tags: Annotated[list[Tag], msgspec.Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET


class ChangeStatusRequest(msgspec.Struct, frozen=True, kw_only=True):
    status: RunStatus
    current_step: Name | None = None
    step_index: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    output_payload: Any = msgspec.UNSET
    error_details: Any = msgspec.UNSET
    reason: Reason | None = None


class RecordStepRequest(msgspec.Struct, frozen=True, kw_only=True):
    step_id: StepId
    step_type: StepType = StepType.ACT
    status: Literal["running", "completed", "failed"]
    input: Any = None
    output: Any = None
    error: Any = None


class RequestGateRequest(msgspec.Struct, frozen=True, kw_only=True):
    step_id: StepId
    gate_type: GateType = "human_approval"
    gate_name: Name
    description: Reason = ""
    required_approvers: Annotated[list[Approver], msgspec.Meta(max_length=50)] = []
    quorum: Annotated[int, msgspec.Meta(ge=1, le=50)] = 1
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_GATE_SECONDS)] | None = None
    input_schema: dict[str, Any] | None = None


class AnswerGateRequest(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["approved", "rejected"]
    rejection_reason: Reason | None = None


class ResumeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`gateId` and `runId` are other spellings of `gate_id` and `run_id`. `reason` is why, for the
    audit trail."""

    gate_id: str | None = None
    gateId: str | None = None  # noqa: N815 (the contract's spelling)
    decision: Literal["approve", "deny"]
    input: dict[str, Any] = {}
    reason: Reason | None = None
    decision_receipt_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    run_id: str | None = None
    runId: str | None = None  # noqa: N815


class BypassRequest(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[str, msgspec.Meta(min_length=8, max_length=2_000)]


class EraseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Either every payload of a run, or one payload wherever the tenant has it. The reason is kept
    for ever, so it must not repeat what is erased."""

    run_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    payload_hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    reason: Annotated[str, msgspec.Meta(min_length=8, max_length=2_000)]


class RotateRequest(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)] = "rotation"


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    workflow_yaml: Annotated[str, msgspec.Meta(max_length=262_144)]
    prompts_poml: str = ""
    schemas: dict[str, Any] = {}
    workflow_id: WorkflowId | None = None
    version: Version | None = None


class AddScheduleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`cron` has five fields, `timezone` is a name of the IANA database. `catch_up` says which of
    the ticks that nobody looked at in time get a run. The key `schedule` of the metadata is the
    server's: it says which schedule made a run, and for when."""

    schedule_id: ScheduleId | None = None
    workflow_id: WorkflowId
    workflow_version: Version | None = None
    cron: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    timezone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "UTC"
    input_payload: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    tags: Annotated[list[Tag], msgspec.Meta(max_length=64)] = []
    catch_up: CatchUp = "all"
