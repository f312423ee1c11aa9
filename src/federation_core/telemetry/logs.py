"""How the process logs: one line an event, to standard error, the same for every part of it.

{"event": "step_in_doubt", "level": "warning", "timestamp": "2026-11-23T12:00:00.000000Z",
 "tenant": "acme", "run_id": "…", "step_id": "act", "correlation_id": "…"}
"""

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Literal, TextIO, get_args

import structlog

from .about import facts
from .sink import Sink
from .tracing import trace_id_of

__all__ = ["LogFormat", "LogLevel", "configure_log", "is_logged"]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]

_LEVELS = {level: getattr(logging, level.upper()) for level in get_args(LogLevel)}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Line = MutableMapping[str, Any]


def configure_log(
    level: LogLevel = "info",
    form: LogFormat = "json",
    *,
    trusted: Iterable[str] = (),
    traced: bool = False,
    stream: TextIO | None = None,
) -> Sink:
    """From here on `structlog` and the standard library's `logging` write lines of `level` and
    above; close what is returned at the end. `auto` is text for a person at a terminal, else JSON.

    Of modules outside `trusted` only warnings are written: at lower levels libraries tell URLs,
    headers and statements, and those hold values. Tracebacks are plain: a pretty one takes a
    second to draw, and shows the values of variables.
    """
    sink = Sink(stream or sys.stderr)
    as_text = form == "text" or (form == "auto" and sink.stream.isatty())
    threshold = _LEVELS[level]
    structlog.configure(
        processors=[
            _with_trace if traced else _with_facts,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_shown(as_text=as_text, colors=sink.stream.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_names: sink,
    )
    root = logging.getLogger()
    root.handlers = [_Handler(tuple(trusted))]
    root.setLevel(threshold)
    return sink


def is_logged(level: LogLevel, threshold: LogLevel) -> bool:
    """Whether lines of `level` are written where the level is `threshold`."""
    return bool(_LEVELS[level] >= _LEVELS[threshold])


def _shown(*, as_text: bool, colors: bool) -> list[structlog.typing.Processor]:
    if as_text:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _with_facts(_logger: Any, _name: str, line: Line) -> Line:
    for name, value in facts().items():
        line.setdefault(name, value)
    return line


def _with_trace(logger: Any, name: str, line: Line) -> Line:
    line = _with_facts(logger, name, line)
    if run_id := line.get("run_id"):
        line.setdefault("trace_id", f"{trace_id_of(str(run_id)):032x}")
    return line


class _Handler(logging.Handler):
    """What is logged through the standard library, as any other line."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        super().__init__()
        self._trusted = trusted

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or self._is_trusted(record.name)

    def _is_trusted(self, name: str) -> bool:
        """The root logger is: libraries log under their names."""
        return name == "root" or any(name == p or name.startswith(f"{p}.") for p in self._trusted)

    def emit(self, record: logging.LogRecord) -> None:
        log, message = structlog.get_logger(), _message(record)
        if message is None:
            log.error("log_line_lost", logger=record.name, template=str(record.msg))
            return
        more = {k: v for k, v in vars(record).items() if k not in _STANDARD and k != "event"}
        if record.exc_info:
            more["exc_info"] = record.exc_info
        log.log(_known(record.levelno), message, **({"logger": record.name} | more))


def _message(record: logging.LogRecord) -> str | None:
    """None where its arguments do not fit; of those nothing is told, for they are values."""
    try:
        return record.getMessage()
    except Exception:
        return None


def _known(level: int) -> int:
    """The level at or below it that has a name."""
    return max(10, min(50, level // 10 * 10))
