"""From settings to what observes a server, for as long as it lives."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

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
    wanted = endpoint is not None or any(environ.get(name) for name in _STANDARD)
    wanted = wanted and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
    is_there = wanted and find_spec("opentelemetry") and find_spec("opentelemetry.exporter")
    if endpoint is not None and wanted and not is_there:
        raise SettingsError(f"FEDCORE_OTLP_ENDPOINT is set, and traces cannot be sent: {_ADVICE}.")
    sink = configure_log(level, form, trusted=trusted, traced=bool(is_there))
    telemetry = Telemetry()
    try:
        if wanted and not is_there:
            structlog.get_logger().warning("traces_not_sent", why=f"{_ADVICE}.")
        telemetry = Telemetry(
            meter=Meter(),
            journal=Journal(level),
            tracer=_tracer(endpoint, version) if is_there else None,
            measured=[sink],
        )
        yield telemetry
    finally:
        telemetry.close()
        sink.close()


def _tracer(endpoint: str | None, version: str) -> Tracer:
    # Takes a third of a second to import, and is needed by those alone who send traces.
    from opentelemetry import trace

    from .otel import OtelTracer

    tracer = OtelTracer(endpoint, version)
    trace.set_tracer_provider(tracer.provider)  # spans that functions called as steps make
    return tracer
