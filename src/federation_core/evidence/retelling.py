"""A run's events as a report reads them: one after the other, each with who did it and when."""

from collections.abc import Iterator
from datetime import datetime
from functools import cache

import msgspec
from sqlalchemy import Connection

from ..errors import IntegrityError
from ..ledger.evidence_queries import event_rows
from ..spine.events import RUN_EVENTS, RunEventData
from .markdown import quoted

__all__ = ["Told", "by", "lasted", "moment", "seconds_between", "told_events"]


class Told(msgspec.Struct, frozen=True):
    """One event; `at` is RFC 3339."""

    at: str
    tenant: str
    actor: str
    via: str | None
    data: RunEventData


class _Wire(msgspec.Struct):
    at: str
    tenant: str
    actor: str
    via: str | None
    type: str
    data: msgspec.Raw


_wire = msgspec.json.Decoder(_Wire)


@cache
def _decoder(code: str) -> "msgspec.json.Decoder[RunEventData]":
    return msgspec.json.Decoder(RUN_EVENTS[code])


def told_events(c: Connection, stream: str, count: int) -> Iterator[Told]:
    """The first `count` events of a run's stream. Raises `IntegrityError` for one that no run
    has."""
    for row in event_rows(c, stream, end=count):
        try:
            wire = _wire.decode(row.body)
            data = _decoder(wire.type).decode(wire.data)
        except (KeyError, msgspec.MsgspecError) as e:
            raise IntegrityError(
                f"Event {row.seq} of {stream} is none that a run has.", stream=stream, seq=row.seq
            ) from e
        yield Told(wire.at, wire.tenant, wire.actor, wire.via, data)


def by(actor: str, via: str | None) -> str:
    """Who, and through whom, in Markdown."""
    return quoted(actor) if via is None else f"{quoted(actor)} via {quoted(via)}"


def moment(at: str | None) -> str:
    """`2026-11-23 12:00:00.123` of an RFC 3339 time."""
    return f"{at[:10]} {at[11:23]}" if at else "–"


def seconds_between(begin: str, end: str) -> float:
    """Between two RFC 3339 times."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def lasted(seconds: float | None) -> str:
    """`3 ms`, `1.2 s`, `5 min 3 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
