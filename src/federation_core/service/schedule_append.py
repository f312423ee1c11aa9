"""One append to a schedule's stream, with the row that follows from it."""

from collections.abc import Sequence

from ..ledger import Append
from ..ledger.schedules import SchedulePlace, followed, schedule_row
from ..spine.actor import Actor
from ..spine.schedule import Schedule, schedule_stream
from .parts import Parts
from .records import Record, sealed

__all__ = ["schedule_append"]


def schedule_append(
    parts: Parts,
    place: SchedulePlace,
    records: Sequence[Record],
    *,
    tenant: str,
    schedule_id: str,
    actor: Actor,
    at: int,
) -> tuple[Append, Schedule | None]:
    """What appends `records` where the stream ended when `place` was read, and the schedule as it
    is then. The ledger refuses it as stale where somebody was there first."""
    stream = schedule_stream(tenant, schedule_id)
    events = sealed(
        parts, records, stream=stream, tenant=tenant, actor=actor, head=place.head, at=at
    )
    schedule = place.schedule
    for event in events:
        schedule = followed(schedule, event)
    rows = {} if schedule is None else {"schedules": [schedule_row(tenant, schedule)]}
    return Append(stream, tenant, place.head, events, rows=rows), schedule
