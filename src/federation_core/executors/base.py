"""How any step is run: one call, a time limit, and an answer that is JSON or a `StepError`."""

import asyncio
import math
import threading
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from ..errors import FederationError, InvalidInput
from ..spine.canonical import check_value
from ..spine.definition import StepSpec, Work
from ..spine.durations import spoken

__all__ = [
    "MAX_OUTPUT_BYTES",
    "Cancelled",
    "Executor",
    "StepContext",
    "StepError",
    "as_step_error",
    "run_step",
]

MAX_OUTPUT_BYTES = 1024 * 1024
_MAX_MESSAGE = 2_000
_MAX_TYPE = 100

W_contra = TypeVar("W_contra", contravariant=True)


class Cancelled:
    """Whether nobody waits for the step any more: its run was cancelled or has failed, its timeout
    is over, or the server stops. Only `run_step` says so; what the step does after that is not part
    of its run."""

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event = event or threading.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most so many seconds; returns whether it is. For functions on
        threads: on the event loop this stops the server."""
        return self._event.wait(seconds)


class StepContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a step may know about its own execution.

    `deadline` is a moment on the monotonic clock (`time.monotonic()`, the event loop's own),
    seconds; `run_step` draws it in to the step's timeout. `idempotency_key` reads
    `run:step:attempt`. A synchronous function looks at `cancelled` to end early; an `async` one is
    cancelled itself.
    """

    run_id: str
    step_id: str
    attempt: int
    idempotency_key: str
    tenant: str
    actor_id: str
    correlation_id: str
    deadline: float = math.inf
    cancelled: Cancelled = msgspec.field(default_factory=Cancelled)

    @property
    def logger(self) -> structlog.typing.FilteringBoundLogger:
        """A logger whose every line says which run, step and attempt it comes from."""
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("federation_core.step")
        return logger.bind(
            run_id=self.run_id,
            step_id=self.step_id,
            attempt=self.attempt,
            tenant=self.tenant,
            correlation_id=self.correlation_id,
        )


class StepError(FederationError):
    """A step's failure: `type` a short name, `message` a sentence of at most 2,000 characters,
    `retriable` whether another attempt may end better. User code may raise it itself."""

    code = "step_failed"

    def __init__(self, type: str, message: str, *, retriable: bool = False) -> None:  # noqa: A002
        self.type = _plain_text(type, _MAX_TYPE)
        self.message = _plain_text(message, _MAX_MESSAGE) or self.type
        self.retriable = retriable
        super().__init__(self.message)

    @property
    def is_whole(self) -> bool:
        """Whether it says what a step error says; one of a class whose `__init__` does not call
        this one's may not."""
        return {"type", "message", "retriable"} <= vars(self).keys()


class Executor(Protocol[W_contra]):
    """One way to do work. What it returns is the step's output; every failure is raised."""

    async def execute(
        self, work: W_contra, step_input: Any, ctx: StepContext, scope: Mapping[str, Any], /
    ) -> Any: ...


async def run_step(
    executor: Executor[Work],
    spec: StepSpec,
    step_input: Any,
    ctx: StepContext,
    scope: Mapping[str, Any],
    *,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> Any:
    """The output of the step, a JSON value that a ledger payload can hold.

    Whatever goes wrong, user code that exits the interpreter included, raises `StepError`:
    `Timeout` past the deadline, `OutputRefused` for an output that is too large or no JSON, else
    the name of the exception. Only a true cancellation (and the end of the process) passes through.
    """
    if spec.work is None:
        raise StepError("NoWork", f"Step {spec.id!r} is a gate; people do its work.")
    deadline = min(ctx.deadline, asyncio.get_running_loop().time() + spec.timeout_ms / 1000)
    gone = threading.Event()
    ctx = msgspec.structs.replace(ctx, deadline=deadline, cancelled=Cancelled(gone))
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            output = await executor.execute(spec.work, step_input, ctx, scope)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as e:
        if isinstance(e, asyncio.CancelledError) and _is_cancelled():
            raise
        if limit.expired():
            raise _timeout(spec) from e
        if isinstance(e, StepError) and e.is_whole:
            raise
        raise as_step_error(e) from e
    finally:
        gone.set()  # whoever is still at it on a thread has nobody who waits for them
    if limit.expired():  # user code that swallowed the cancellation
        raise _timeout(spec)
    _check_output(output, max_output_bytes)
    return output


def as_step_error(error: BaseException, *, retriable: bool | None = None) -> StepError:
    """What a failed attempt is recorded as. Unless said otherwise, what this project itself
    refuses stays refused, and anything else may end better next time."""
    if retriable is None:
        retriable = not isinstance(error, FederationError)
    try:
        message = str(error)
    except Exception:
        message = "The exception cannot say what it is."
    return StepError(type(error).__name__, message, retriable=retriable)


def _timeout(spec: StepSpec) -> StepError:
    return StepError(
        "Timeout",
        f"Step {spec.id!r} did not end within its timeout of {spoken(spec.timeout_ms)}.",
        retriable=True,
    )


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task; a `CancelledError` that user code made up is not."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check_output(output: Any, limit: int) -> None:
    try:
        check_value(output)
    except InvalidInput as e:
        raise StepError("OutputRefused", f"The step's output is refused. {e.detail}") from e
    size = len(msgspec.json.encode(output))
    if size > limit:
        raise StepError("OutputRefused", f"The step's output is {size} bytes; at most {limit} fit.")


def _plain_text(text: str, limit: int) -> str:
    """Cut to `limit` characters, without what a stored text cannot hold."""
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= limit else text[: limit - 1] + "…"
