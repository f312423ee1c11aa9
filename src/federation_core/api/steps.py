"""Steps of external runs, which a client executes and reports."""

from ..identity import Scope
from ..service import RecordStepRequest
from ..service.views import StepAnswer
from .context import Ask
from .description import examples
from .operation import operation

__all__ = ["record_step"]


@operation(
    "POST",
    "/workflows/runs/{run_id}/steps",
    tag="steps",
    scope=Scope.WORKFLOW_WRITE,
    example=examples.RECORD_STEP,
)
async def record_step(ask: Ask, run_id: str, body: RecordStepRequest) -> StepAnswer:
    """Record the execution of a step.

    `running` asks policy first: the caller may execute the step only where the answer's decision is
    `allow`; `flag` comes with the gate that people must pass. `completed` and `failed` report its
    end.
    """
    return await ask.core.steps.record(ask.call, run_id, body)
