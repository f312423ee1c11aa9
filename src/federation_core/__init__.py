"""Federation Core: workflows that answer for themselves.

async with FederationCore.open("data") as fc:
    answer = await fc.runs.create(fc.call("alice"), CreateRunRequest(workflow_id="refund"))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .service import (
        AnswerGateRequest,
        BypassRequest,
        ChangeStatusRequest,
        CreateRunRequest,
        FederationCore,
        RecordStepRequest,
        RegisterRequest,
        RequestGateRequest,
        ResumeRequest,
    )

__all__ = [
    "AnswerGateRequest",
    "BypassRequest",
    "ChangeStatusRequest",
    "CreateRunRequest",
    "FederationCore",
    "RecordStepRequest",
    "RegisterRequest",
    "RequestGateRequest",
    "ResumeRequest",
    "__version__",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The system is imported when it is first asked for: `fedcore --help` need not wait for it."""
    if name in __all__:
        from . import service

        return getattr(service, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
