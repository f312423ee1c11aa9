"""From settings to what observes a server, for as long as it lives."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from ..errors import SettingsError
from .bundle import Telemetry
from .journal import Journal
from .logs import LogFormat, LogLevel, configure_log
from .meter import Meter
from .tracing import Tracer

__all__ = ["observed"]

_STANDARD = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_ADVICE = "pip install 'federation-core[otel]' brings what sends traces"


@contextmanager
def observed(
    *,
    level: LogLevel,
    form: LogFormat,
    endpoint: str | None,
    trusted: Iterable[str],
    version: str,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Telemetry]:
    """Configure the process's log, measure, and send traces where `endpoint` or a standard variable
    of OpenTelemetry names a collector. `trusted` are the modules of steps.

    Raises `SettingsError` where `endpoint` is set and the extra `otel` is not installed. The
    standard variable alone, which others set for every program of a machine, is no such reason.
    """
    tracer, missing = None, False
    if _is_wanted(endpoint, environ):
        try:
            tracer = _tracer(endpoint, version)
        except ImportError as e:
            if endpoint is not None:
                why = f"FEDCORE_OTLP_ENDPOINT is set, and traces cannot be sent: {_ADVICE}."
                raise SettingsError(why) from e
            missing = True
    sink = configure_log(level, form, trusted=trusted, traced=tracer is not None)
    telemetry = Telemetry(meter=Meter(), journal=Journal(level), tracer=tracer, measured=[sink])
    try:
        if missing:
            structlog.get_logger().warning("traces_not_sent", why=f"{_ADVICE}.")
        yield telemetry
    finally:
        telemetry.close()
        sink.close()


def _is_wanted(endpoint: str | None, environ: Mapping[str, str]) -> bool:
    named = endpoint is not None or any(environ.get(name) for name in _STANDARD)
    return named and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def _tracer(endpoint: str | None, version: str) -> Tracer:
    # What takes a third of a second to import is paid for by those who send traces.
    from opentelemetry import trace

    from .otel import OtelTracer

    tracer = OtelTracer(endpoint, version)
    trace.set_tracer_provider(tracer.provider)  # spans that functions called as steps make
    return tracer
