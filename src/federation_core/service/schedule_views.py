"""What callers are told of a schedule."""

from typing import Any

import msgspec
from sqlalchemy import Connection

from ..errors import NotFound
from ..ledger import queries
from ..ledger.schedules import schedule_place, schedules_of, ticks_of
from ..spine.schedule import CatchUp, ScheduleStatus, Tick, schedule_stream
from ..spine.schedule import Schedule as State

__all__ = [
    "Schedule",
    "ScheduleAnswer",
    "read_schedule",
    "read_schedules",
    "schedule_values",
    "schedule_view",
]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`actor_id` added it, and its runs act as them. `next_at` is null where it does not tick;
    `input_payload` and `metadata` are null where they were erased."""

    schedule_id: str
    workflow_id: str
    workflow_version: str | None
    cron: str
    timezone: str
    catch_up: CatchUp
    status: ScheduleStatus
    next_at: str | None
    last_tick: Tick | None
    input_payload: dict[str, Any] | None
    metadata: dict[str, Any] | None
    tags: tuple[str, ...]
    actor_id: str
    via: str | None
    added_at: str
    updated_at: str


class ScheduleAnswer(msgspec.Struct, frozen=True):
    """`ticks` are the newest, the newest first."""

    schedule: Schedule
    ticks: list[Tick]


def schedule_view(state: State, values: dict[str, Any]) -> Schedule:
    """`values` are the payloads by their hash."""
    return Schedule(
        schedule_id=state.schedule_id,
        workflow_id=state.workflow_id,
        workflow_version=state.workflow_version,
        cron=state.cron,
        timezone=state.timezone,
        catch_up=state.catch_up,
        status=state.status,
        next_at=state.next_at,
        last_tick=state.last_tick,
        input_payload=values.get(state.input_hash),
        metadata=values.get(state.metadata_hash),
        tags=state.tags,
        actor_id=state.actor_id,
        via=state.via,
        added_at=state.added_at,
        updated_at=state.updated_at,
    )


def read_schedules(c: Connection, tenant: str) -> list[Schedule]:
    return [_view(c, tenant, state) for state in schedules_of(c, tenant)]


def read_schedule(c: Connection, tenant: str, schedule_id: str, *, ticks: int) -> ScheduleAnswer:
    """Raises `NotFound` where `tenant` has no such schedule, or not any more."""
    state = schedule_place(c, tenant, schedule_id).schedule
    if state is None or not state.exists:
        raise NotFound(f"There is no schedule {schedule_id}.", code="schedule_not_found")
    told = ticks_of(c, tenant, schedule_id, limit=ticks)
    return ScheduleAnswer(_view(c, tenant, state), told)


def schedule_values(c: Connection, tenant: str, state: State) -> dict[str, Any]:
    """The payloads of a schedule by their hash; those that were erased are missing."""
    stream = schedule_stream(tenant, state.schedule_id)
    found = queries.payloads_of(c, stream, [state.input_hash, state.metadata_hash])
    return {digest: msgspec.json.decode(payload.value) for digest, payload in found.items()}


def _view(c: Connection, tenant: str, state: State) -> Schedule:
    return schedule_view(state, schedule_values(c, tenant, state))
