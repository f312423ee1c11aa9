"""Traces as OpenTelemetry has them. The only module that knows the library; it is imported where
an endpoint is set.

Spans of a run are made of its durable events, so that a trace shows what happened and nothing
else. They are handed to a queue of bounded length, which a thread of its own empties; where the
collector is slow or gone the oldest are dropped.
"""

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import Status, StatusCode

from ..spine.envelope import Event
from ..spine.events import (
    GateBypassed,
    GateExpired,
    GateResolved,
    GateResumed,
    PolicyEvaluated,
    RunEnded,
    StepCompleted,
    StepFailed,
)
from ..spine.times import from_rfc3339
from .about import Request
from .durable import Appended, run_row
from .families import Family, counter
from .tracing import span_id_of, trace_id_of

__all__ = ["OtelTracer"]

QUEUE = 8_192
"""Spans that wait to be sent; then the oldest are dropped."""
_BATCH = 512
_DELAY_MS = 1_000
_CLOSE_S = 2.0
_UNTRACED = frozenset({"health", "ready", "metrics", "envelope_health"})
"""What monitors ask every few seconds."""

_FAILED = Status(StatusCode.ERROR)
_FINE = Status(StatusCode.UNSET)
_propagator = TraceContextTextMapPropagator()


class OtelTracer:
    """Sends spans to `endpoint` (the base URL of an OTLP/HTTP collector), or where the standard
    variables of OpenTelemetry say. `version` is the server's."""

    def __init__(self, endpoint: str | None, version: str) -> None:
        url = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
        self._exporter = _Counting(OTLPSpanExporter(endpoint=url))
        self._queue = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_DELAY_MS,
        )
        own = {
            "service.name": "federation-core",
            "service.version": version,
            "service.instance.id": secrets.token_hex(8),
        }
        # What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say, goes before ours.
        resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
        self._resource = resource
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        """For the spans that user code makes."""
        self.provider.add_span_processor(self._queue)
        self._scope = InstrumentationScope("federation_core", version)
        self._ended = 0

    # What became durable

    def committed(self, appends: Sequence[Appended], /) -> None:
        for append in appends:
            if append.stream.startswith("run:"):
                for event in append.events:
                    self._tell(append, event)

    def _tell(self, append: Appended, event: Event) -> None:
        match event.data:
            case StepCompleted() | StepFailed():
                self._step(event, event.data)
            case PolicyEvaluated(decision="deny", step_id=str()):
                self._denied(event, event.data)
            case GateResolved() | GateResumed() | GateExpired() | GateBypassed():
                self._gate(event, event.data)
            case RunEnded():
                self._run(append, event)
            case _:
                pass

    def _step(self, event: Event, data: StepCompleted | StepFailed) -> None:
        run_id, receipt = _run_id(event), data.receipt
        error = data.error_type if isinstance(data, StepFailed) else None
        facts = {
            "fedcore.step_id": data.step_id,
            "fedcore.step_type": receipt["step_type"],
            "fedcore.attempt": data.attempt,
            "fedcore.decision": "allow",  # nothing else lets a step start
            "fedcore.decision_hash": receipt["decision_hash"],
        }
        self._of_run(
            event,
            f"step {data.step_id}",
            span_id_of(run_id, data.step_id, data.attempt),
            receipt["started_at"],
            facts if error is None else facts | {"error.type": error},
            failed=error is not None,
        )

    def _denied(self, event: Event, data: PolicyEvaluated) -> None:
        facts = {
            "fedcore.step_id": data.step_id or "",
            "fedcore.step_type": data.step_type or "",
            "fedcore.attempt": data.attempt or 0,
            "fedcore.decision": "deny",
            "fedcore.decision_hash": event.hash,
            "fedcore.rules": data.rules_triggered,
        }
        span = span_id_of(_run_id(event), "denied", event.seq)
        self._of_run(event, f"step {data.step_id}", span, None, facts, failed=True)

    def _gate(
        self, event: Event, data: GateResolved | GateResumed | GateExpired | GateBypassed
    ) -> None:
        receipt = data.receipt
        status = str(receipt["status"])
        if status == "pending":
            return  # one approval of several
        facts = {
            "fedcore.gate_id": data.gate_id,
            "fedcore.gate_status": status,
            "fedcore.step_id": data.step_id or "",
        }
        span = span_id_of(_run_id(event), "gate", data.gate_id)
        failed = status in ("rejected", "expired")
        self._of_run(event, "gate", span, receipt["started_at"], facts, failed=failed)

    def _run(self, append: Appended, event: Event) -> None:
        run = run_row(append)
        facts = {
            "fedcore.workflow_id": run.workflow_id,
            "fedcore.workflow_version": run.workflow_version,
            "fedcore.status": run.status,
            "fedcore.correlation_id": run.correlation_id,
        }
        if run.error_code:
            facts["error.type"] = run.error_code
        parent = run.parent_run_id
        self._end(
            f"run {run.workflow_id}",
            self._context(run.run_id),
            None,
            (from_rfc3339(run.created_at) * 1_000, event.at * 1_000),
            facts | {"fedcore.run_id": run.run_id, "fedcore.tenant": run.tenant_id},
            links=(Link(self._context(parent)),) if parent else (),
            failed=run.status == "failed",
        )

    def _of_run(
        self,
        event: Event,
        name: str,
        span_id: int,
        started_at: str | None,
        facts: Mapping[str, Any],
        *,
        failed: bool,
    ) -> None:
        run_id, end = _run_id(event), event.at * 1_000
        self._end(
            name,
            self._context(run_id, span_id),
            self._context(run_id),
            (end if started_at is None else from_rfc3339(started_at) * 1_000, end),
            {**facts, "fedcore.run_id": run_id, "fedcore.tenant": event.tenant},
            failed=failed,
        )

    # What goes on now

    def step(self, run_id: str, step_id: str, attempt: int) -> "_Step":
        return _Step(self, self._context(run_id, span_id_of(run_id, step_id, attempt)))

    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> "_Request":
        carried = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        above = _propagator.extract(carried) if carried else otel_context.Context()
        parent = trace.get_current_span(above).get_span_context()
        known = parent if parent.is_valid else None
        trace_id = known.trace_id if known else self.provider.id_generator.generate_trace_id()
        return _Request(self, self._sampled(trace_id, self._new_id(), above), known)

    def _context(self, run_id: str, span_id: int | None = None) -> SpanContext:
        own = span_id_of(run_id) if span_id is None else span_id
        return self._sampled(trace_id_of(run_id), own, otel_context.Context())

    def _sampled(self, trace_id: int, span_id: int, above: otel_context.Context) -> SpanContext:
        result = self.provider.sampler.should_sample(above, trace_id, "federation_core")
        flags = (
            TraceFlags.SAMPLED
            if result.decision is Decision.RECORD_AND_SAMPLE
            else TraceFlags.DEFAULT
        )
        return SpanContext(
            trace_id,
            span_id,
            is_remote=False,
            trace_flags=TraceFlags(flags),
            trace_state=result.trace_state,
        )

    def _new_id(self) -> int:
        return self.provider.id_generator.generate_span_id()

    def _end(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        facts: Mapping[str, Any],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        failed: bool = False,
    ) -> None:
        """Queue a span that has ended; `times` are nanoseconds."""
        if not context.trace_flags.sampled:
            return
        self._ended += 1
        self._queue.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._resource,
                facts,
                links=links,
                kind=kind,
                status=_FAILED if failed else _FINE,
                start_time=times[0],
                end_time=times[1],
                instrumentation_scope=self._scope,
            )
        )

    # Its own

    def families(self) -> Iterator[Family]:
        spans = {
            ("made",): self._ended,
            ("exported",): self._exporter.exported,
            ("failed",): self._exporter.failed,
        }
        yield counter("fedcore_spans", "Spans of traces.", spans, "outcome")

    def close(self) -> None:
        """Send what is queued, for at most a few seconds; a collector that hangs is left behind."""
        thread = threading.Thread(target=self.provider.shutdown, name="otel-close", daemon=True)
        thread.start()
        thread.join(_CLOSE_S)


class _Step:
    """The context of an attempt. User code finds it as the current span, and its own spans have it
    as their parent."""

    def __init__(self, tracer: OtelTracer, context: SpanContext) -> None:
        self._tracer, self._context = tracer, context
        current = trace.set_span_in_context(NonRecordingSpan(context))
        self._token = otel_context.attach(current)

    def call(self, method: str, host: str, port: int) -> "_Call":
        return _Call(self._tracer, self._context, method, host, port)

    def leave(self) -> None:
        otel_context.detach(self._token)


class _Call:
    def __init__(
        self, tracer: OtelTracer, parent: SpanContext, method: str, host: str, port: int
    ) -> None:
        self._tracer, self._parent = tracer, parent
        self._context = SpanContext(
            parent.trace_id,
            tracer.provider.id_generator.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags,
            trace_state=parent.trace_state,
        )
        self._facts: dict[str, Any] = {
            "http.request.method": method,
            "server.address": host,
            "server.port": port,
        }
        self._began = time.time_ns()

    @property
    def traceparent(self) -> str:
        own = self._context
        return f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"

    def ended(self, status: int | None, error: str | None) -> None:
        facts = self._facts
        if status is not None:
            facts["http.response.status_code"] = status
        failed = error is not None
        if failed:
            facts["error.type"] = str(status) if status is not None and status >= 400 else error
        self._tracer._end(  # noqa: SLF001 (one module, two halves)
            str(facts["http.request.method"]),
            self._context,
            self._parent,
            (self._began, time.time_ns()),
            facts,
            kind=SpanKind.CLIENT,
            failed=failed,
        )


class _Request:
    def __init__(
        self, tracer: OtelTracer, context: SpanContext, parent: SpanContext | None
    ) -> None:
        self._tracer, self._context, self._parent = tracer, context, parent
        self._began = time.time_ns()

    def ended(self, operation: str, method: str, status: int | None, request: Request) -> None:
        """A run that it was about is linked: its trace is its own, and outlives the request."""
        if operation in _UNTRACED:
            return
        facts: dict[str, Any] = {
            "http.request.method": method,
            "fedcore.operation": operation,
            "fedcore.request_id": request.request_id,
        }
        if status is not None:
            facts["http.response.status_code"] = status
        for name in ("correlation_id", "tenant", "run_id"):
            if value := getattr(request, name):
                facts[f"fedcore.{name}"] = value
        context = self._tracer._context  # noqa: SLF001
        self._tracer._end(  # noqa: SLF001
            operation,
            self._context,
            self._parent,
            (self._began, time.time_ns()),
            facts,
            kind=SpanKind.SERVER,
            links=(Link(context(request.run_id)),) if request.run_id else (),
            failed=status is None or status >= 500,
        )


class _Counting(SpanExporter):
    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.exported = self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def _run_id(event: Event) -> str:
    return event.stream.removeprefix("run:")
