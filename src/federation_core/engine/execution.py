"""One execution: a durable permit in, an outcome out."""

from typing import Any, Protocol

import msgspec
import structlog

from ..errors import FederationError
from ..executors import StepContext, StepError, run_step
from ..executors.base import as_step_error
from ..executors.registry import Executors
from ..ledger import Payload
from ..spine.definition import StepSpec
from ..spine.run import Run
from ..spine.steps import Permit
from ..telemetry import executing

__all__ = ["Fault", "Job", "Outcome", "Worker", "execute"]


class Job(msgspec.Struct, frozen=True):
    """All that an execution needs. `scope` is what the work's own expressions may look at."""

    permit: Permit
    spec: StepSpec
    input: Any
    scope: dict[str, Any]
    run_id: str
    tenant: str
    actor_id: str
    correlation_id: str

    @classmethod
    def of(cls, run: Run, permit: Permit, step_input: Any, scope: dict[str, Any]) -> "Job":
        spec = run.spec_of(permit.step_id)
        assert spec is not None
        return cls(
            permit=permit,
            spec=spec,
            input=step_input,
            scope=scope,
            run_id=run.run_id,
            tenant=run.tenant,
            actor_id=run.actor_id,
            correlation_id=run.correlation_id,
        )


class Fault(msgspec.Struct, frozen=True):
    """Why an attempt failed: its type, and what was said, which may quote any value."""

    type: str
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended: an output, or an error and whether it may be tried again. `payload` is
    an output that is stored elsewhere already, as a child run's is."""

    step_id: str
    attempt: int
    output: Any = None
    payload: Payload | None = None
    error: Fault | None = None
    retriable: bool = False


class Worker(Protocol):
    """Does a job; never raises, except when it is cancelled."""

    async def __call__(self, job: Job, /) -> Outcome: ...


async def execute(executors: Executors, job: Job) -> Outcome:
    """Run the job's step. Every failure is an outcome."""
    permit = job.permit
    context = StepContext(
        run_id=job.run_id,
        step_id=permit.step_id,
        attempt=permit.attempt,
        idempotency_key=f"{job.run_id}:{permit.step_id}:{permit.attempt}",
        tenant=job.tenant,
        actor_id=job.actor_id,
        correlation_id=job.correlation_id,
    )
    try:
        with executing(context, executors):
            output = await run_step(executors, job.spec, job.input, context, job.scope)
    except StepError as e:
        fault, retriable = Fault(e.type, e.message), e.retriable
    except FederationError as e:
        fault, retriable = Fault(type(e).__name__, e.detail), False
    except Exception as e:  # a bug must not leave the step without an end
        structlog.get_logger().exception("step_not_executed", step_id=permit.step_id)
        failure = as_step_error(e, retriable=False)
        fault, retriable = Fault(failure.type, failure.message), False
    else:
        return Outcome(permit.step_id, permit.attempt, output)
    return Outcome(permit.step_id, permit.attempt, error=fault, retriable=retriable)
