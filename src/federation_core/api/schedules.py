"""Schedules: runs at the ticks of a cron expression."""

from typing import Any

from ..identity import Scope
from ..service import AddScheduleRequest
from ..service.schedule_views import Schedule, ScheduleAnswer
from .context import Ask
from .description import examples
from .operation import operation

__all__ = [
    "add_schedule",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "remove_schedule",
    "resume_schedule",
]

_TAG = "schedules"


def _location(answer: Any) -> str:
    return f"/schedules/{answer['schedule_id']}"


@operation(
    "POST",
    "/schedules",
    tag=_TAG,
    status=201,
    scope=Scope.WORKFLOW_WRITE,
    location=_location,
    example=examples.ADD_SCHEDULE,
)
async def add_schedule(ask: Ask, body: AddScheduleRequest) -> Schedule:
    """Add a schedule.

    From then on a managed run of the workflow is created at every tick, as by the caller. Policy is
    asked now, about the first run, and again about each one.
    """
    return await ask.core.schedules.add(ask.call, body)


@operation("GET", "/schedules", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def list_schedules(ask: Ask) -> list[Schedule]:
    """List the schedules, by their id."""
    return await ask.core.schedules.listed(ask.call)


@operation("GET", "/schedules/{schedule_id}", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def get_schedule(ask: Ask, schedule_id: str) -> ScheduleAnswer:
    """Get a schedule and its newest ticks."""
    return await ask.core.schedules.get(ask.call, schedule_id)


@operation("DELETE", "/schedules/{schedule_id}", tag=_TAG, scope=Scope.WORKFLOW_WRITE)
async def remove_schedule(ask: Ask, schedule_id: str) -> Schedule:
    """Remove a schedule.

    It ticks no more; its runs stay. The id may be used again.
    """
    return await ask.core.schedules.remove(ask.call, schedule_id)


@operation("POST", "/schedules/{schedule_id}:pause", tag=_TAG, scope=Scope.WORKFLOW_WRITE)
async def pause_schedule(ask: Ask, schedule_id: str) -> Schedule:
    """Hold a schedule: it does not tick until it is resumed."""
    return await ask.core.schedules.pause(ask.call, schedule_id)


@operation("POST", "/schedules/{schedule_id}:resume", tag=_TAG, scope=Scope.WORKFLOW_WRITE)
async def resume_schedule(ask: Ask, schedule_id: str) -> Schedule:
    """Let a schedule go on, with the first tick from now."""
    return await ask.core.schedules.resume(ask.call, schedule_id)
