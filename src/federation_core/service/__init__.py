"""The use cases: `FederationCore`, what it is asked, and what it answers."""

from .call import Call, Key
from .core import FederationCore
from .requests import (
    IN_WORDS,
    AddScheduleRequest,
    AnswerGateRequest,
    BypassRequest,
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    RecordStepRequest,
    RegisterRequest,
    RequestGateRequest,
    RestartRequest,
    ResumeRequest,
    RotateRequest,
)

__all__ = [
    "IN_WORDS",
    "AddScheduleRequest",
    "AnswerGateRequest",
    "BypassRequest",
    "Call",
    "ChangeStatusRequest",
    "CreateRunRequest",
    "EraseRequest",
    "FederationCore",
    "Key",
    "RecordStepRequest",
    "RegisterRequest",
    "RequestGateRequest",
    "RestartRequest",
    "ResumeRequest",
    "RotateRequest",
]
