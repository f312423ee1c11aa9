"""Workflows: registering them, and which there are."""

from ..identity import Scope
from ..ledger.documents import WorkflowDoc
from ..service import RegisterRequest
from ..service.views import RegisterAnswer
from .context import Ask
from .description import examples
from .operation import operation

__all__ = ["list_workflows", "register_workflow"]

_TAG = "workflows"


@operation(
    "POST",
    "/workflows/register",
    tag=_TAG,
    scope=Scope.WORKFLOW_WRITE,
    example=examples.REGISTER,
)
async def register_workflow(ask: Ask, body: RegisterRequest) -> RegisterAnswer:
    """Register a version of a workflow.

    From then on its runs are managed. The same version with the same content again answers
    `idempotent: true`; with other content it is a 409, for a version never changes.
    """
    return await ask.core.workflows.register(ask.call, body)


@operation("GET", "/workflows", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def list_workflows(ask: Ask) -> list[WorkflowDoc]:
    """List every registered version, by workflow, the oldest first."""
    return await ask.core.workflows.registered(ask.call)
