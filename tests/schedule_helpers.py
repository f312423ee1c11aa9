"""Builders for tests of schedules: one that ticks every minute, and what became of its ticks."""

from collections import Counter
from typing import Any

from tests.core_helpers import gate, register, workflow

from federation_core.service import AddScheduleRequest, FederationCore
from federation_core.service.schedule_views import Schedule
from federation_core.service.views import Run

__all__ = ["add", "minute", "runs_by_tick", "ticking"]


def minute(number: int) -> str:
    """`number` minutes after the beginning of a `Clock`."""
    return f"2026-11-23T{12 + number // 60}:{number % 60:02}:00.000000Z"


async def add(fc: FederationCore, actor: str = "ann", **request: Any) -> Schedule:
    usual = {"schedule_id": "s", "workflow_id": "wf", "cron": "* * * * *"}
    call = fc.call(actor, roles=["ops"])
    return await fc.schedules.add(call, AddScheduleRequest(**{**usual, **request}))


async def ticking(fc: FederationCore, **request: Any) -> Schedule:
    """A schedule of a workflow that asks people at once, so that its runs wait."""
    await register(fc, workflow(gate("ask")))
    return await add(fc, **request)


async def runs_by_tick(fc: FederationCore, *, tenant: str | None = None) -> Counter[str]:
    """How many runs there are for each tick."""
    runs: list[Run] = await fc.runs.page(fc.call("x", tenant=tenant), limit=1_000)
    return Counter(str(run.metadata["schedule"]["at"]) for run in runs)
