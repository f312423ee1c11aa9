"""Schedules as rows: a projection of the events of their streams, and the queries about it."""

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from ..spine.envelope import Event, Head
from ..spine.schedule import Schedule, Tick, Ticked, follow, schedule_stream
from ..spine.times import from_rfc3339, to_rfc3339
from . import queries
from .schema import events, schedules

__all__ = [
    "SchedulePlace",
    "due_schedules",
    "followed",
    "next_due",
    "schedule_place",
    "schedule_row",
    "schedules_of",
    "ticks_of",
]

_encode = msgspec.json.encode
_schedule = msgspec.json.Decoder(Schedule)


class SchedulePlace(NamedTuple):
    """A schedule, and where its stream ends: what the next append of it follows."""

    schedule: Schedule | None
    head: Head
    last_at: int


def followed(schedule: Schedule | None, event: Event) -> Schedule | None:
    """The schedule after `event`. Raises `IntegrityError` where that cannot follow."""
    return follow(
        schedule,
        event.type,
        event.data,
        stream=event.stream,
        tenant=event.tenant,
        actor=event.actor,
        via=event.via,
        at=to_rfc3339(event.at),
    )


def schedule_row(tenant: str, schedule: Schedule) -> tuple[Any, ...]:
    next_at = None if schedule.next_at is None else from_rfc3339(schedule.next_at)
    doc = _encode(schedule).decode()
    return (tenant, schedule.schedule_id, schedule.status, next_at, doc)


def schedule_place(c: Connection, tenant: str, schedule_id: str) -> SchedulePlace:
    """The schedule, a removed one too, and the end of its stream, as they are together."""
    stream = schedule_stream(tenant, schedule_id)
    query = select(schedules.c.doc).where(
        schedules.c.tenant == tenant, schedules.c.schedule_id == schedule_id
    )
    doc = c.execute(query).scalar()
    found = None if doc is None else _schedule.decode(doc)
    return SchedulePlace(found, queries.head(c, stream), queries.last_at(c, stream))


def schedules_of(c: Connection, tenant: str) -> list[Schedule]:
    """Those of a tenant that were not removed, by their id."""
    query = (
        select(schedules.c.doc)
        .where(schedules.c.tenant == tenant, schedules.c.status != "removed")
        .order_by(schedules.c.schedule_id)
    )
    return [_schedule.decode(doc) for doc in c.execute(query).scalars()]


def due_schedules(c: Connection, now: int, *, limit: int) -> list[tuple[str, str]]:
    """(tenant, id) of the schedules that have a tick at or before `now`, the longest due first."""
    query = (
        select(schedules.c.tenant, schedules.c.schedule_id)
        .where(schedules.c.next_at.is_not(None), schedules.c.next_at <= now)
        .order_by(schedules.c.next_at)
        .limit(limit)
    )
    return [(row.tenant, row.schedule_id) for row in c.execute(query)]


def next_due(c: Connection) -> int | None:
    """When the next tick of all is, in microseconds."""
    return c.execute(select(func.min(schedules.c.next_at))).scalar()


class _Recorded(msgspec.Struct):
    at: str
    data: Ticked


_recorded = msgspec.json.Decoder(_Recorded)


def ticks_of(c: Connection, tenant: str, schedule_id: str, *, limit: int) -> list[Tick]:
    """The newest ticks, the newest first, of every schedule that had this id."""
    query = (
        select(events.c.body)
        .where(
            events.c.stream == schedule_stream(tenant, schedule_id), events.c.type == Ticked.code
        )
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    found = [_recorded.decode(body) for body in c.execute(query).scalars()]
    return [Tick.of(told.data, told.at) for told in found]
