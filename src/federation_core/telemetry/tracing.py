"""Where traces touch the work. Without a tracer each of these is a comparison with None.

A run's ids are made of its name, not remembered: its trace is the same after a restart and on
another node, and what a step sends out carries a parent that is recorded only when the step's end
is durable.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Protocol, TypeVar

import structlog

from .about import Request, about, over
from .durable import Appended
from .families import Family

__all__ = [
    "Executing",
    "Execution",
    "Outgoing",
    "RequestTrace",
    "StepTrace",
    "Tracer",
    "executing",
    "outgoing",
    "request_ended",
    "request_trace",
    "span_id_of",
    "trace_id_of",
]


def trace_id_of(run_id: str) -> int:
    """The trace of a run: 128 bits of SHA-256, so that samplers find them evenly spread."""
    return int.from_bytes(hashlib.sha256(f"fedcore:{run_id}".encode()).digest()[:16])


def span_id_of(run_id: str, *names: str | int) -> int:
    """The span of something in a run; of the run itself without `names`."""
    text = "\0".join(("fedcore", run_id, *map(str, names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


class Call(Protocol):
    """One request that a step sends."""

    @property
    def traceparent(self) -> str:
        """The header of W3C Trace Context."""
        ...

    def ended(self, status: int | None, error: str | None) -> None: ...


class StepTrace(Protocol):
    """The trace that an execution belongs to, while it goes on."""

    def call(self, method: str, host: str, port: int) -> Call: ...

    def leave(self) -> None: ...


class RequestTrace(Protocol):
    """A request to the API, while it is answered."""

    def ended(self, operation: str, method: str, status: int | None, request: Request) -> None: ...


class Tracer(Protocol):
    """Makes spans of what became durable, and of requests in and out. It never waits."""

    def committed(self, appends: Sequence[Appended], /) -> None: ...

    def step(self, run_id: str, step_id: str, attempt: int) -> StepTrace:
        """Enter the context of an attempt, which user code finds as the current span."""
        ...

    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> RequestTrace: ...

    def families(self) -> Iterator[Family]: ...

    def close(self) -> None: ...


class Execution(Protocol):
    """What an execution is about (see `executors.StepContext`)."""

    @property
    def run_id(self) -> str: ...
    @property
    def step_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class Executing(Protocol):
    """Who executes: whether it is traced, and how many executions are under way."""

    tracer: Tracer | None
    executing: int


T = TypeVar("T")


def _contained(make: Callable[[], T]) -> T | None:
    """Tracing that fails is said, and does not touch what is traced."""
    try:
        return make()
    except Exception:
        structlog.get_logger().exception("telemetry_failed")
        return None


def request_trace(
    tracer: Tracer | None, headers: Iterable[tuple[bytes, bytes]]
) -> RequestTrace | None:
    """The trace of a request that has come in; end it with `request_ended`."""
    return None if tracer is None else _contained(lambda: tracer.request(headers))


def request_ended(
    trace: RequestTrace | None, operation: str, method: str, status: int | None, request: Request
) -> None:
    if trace is not None:
        _contained(lambda: trace.ended(operation, method, status, request))


_trace: ContextVar[StepTrace | None] = ContextVar("fedcore_trace", default=None)


class executing:  # noqa: N801 (used as `with executing(…)`)
    """While a step is executed: log lines are about it, its trace is the current one, and it is
    counted."""

    __slots__ = ("_about", "_executing", "_step", "_token", "_trace")

    def __init__(self, step: Execution, who: Executing) -> None:
        self._step, self._executing = step, who
        self._trace: StepTrace | None = None

    def __enter__(self) -> None:
        self._executing.executing += 1
        self._about = about(self._step)
        tracer = self._executing.tracer
        if tracer is not None:
            step = self._step
            self._trace = _contained(lambda: tracer.step(step.run_id, step.step_id, step.attempt))
            self._token: Token[StepTrace | None] = _trace.set(self._trace)

    def __exit__(self, *_error: object) -> None:
        if self._executing.tracer is not None:
            _trace.reset(self._token)
            if self._trace is not None:
                _contained(self._trace.leave)
        over(self._about)
        self._executing.executing -= 1


class Outgoing:
    """What became of a request that a step sends; says nothing where nothing is traced."""

    __slots__ = ("_call", "status")

    def __init__(self, call: Call | None) -> None:
        self._call = call
        self.status: int | None = None

    def __enter__(self) -> "Outgoing":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        call, error = self._call, kind.__name__ if kind else None
        if call is not None:
            _contained(lambda: call.ended(self.status, error))


def outgoing(method: str, host: str, port: int, headers: MutableMapping[str, str]) -> Outgoing:
    """Trace a request of the step that is executed here. Its `traceparent` goes into `headers`,
    unless the workflow put one there."""
    trace = _trace.get()
    if trace is None:
        return Outgoing(None)
    call = _contained(lambda: trace.call(method, host, port))
    if call is not None and "traceparent" not in headers:
        headers["traceparent"] = call.traceparent
    return Outgoing(call)
