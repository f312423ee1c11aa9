"""Does the ticks of schedules when they are due.

The run of a tick is created first, and the tick recorded after it, on condition that the schedule's
stream still ends where it did. A process that dies between the two, or another one that looks at
the same time, finds the run by its id, which follows from the tick, and goes on: no tick has two
runs, and none is passed over. Several missed ticks of one schedule share their commits.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import structlog

from ..errors import FederationError, StaleAppend
from ..ledger import Append
from ..ledger.schedules import SchedulePlace, due_schedules, next_due, schedule_place
from ..spine.actor import SYSTEM
from ..spine.schedule import Schedule, Ticked
from ..spine.times import from_rfc3339
from .parts import Parts
from .runs import Runs
from .schedule_append import schedule_append
from .schedule_views import schedule_values
from .tick_plan import Planned, plan
from .tick_runs import TickRuns
from .timetable import Timetable

__all__ = ["Scheduler"]

_POLL_S = 30.0
"""So often it looks without being told: what another process added is noticed by then, and a clock
that was moved."""

_RETRY_S = 1.0
_AT_A_TIME = 32
_PAGE = 1_000


class Scheduler:
    """One in each process; several may tick the same schedules."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts = parts
        self._runs = runs
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._nudge = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Tick from now on, beginning with what was missed."""
        self._parts.ledger.listen(self._heard)
        self._task = asyncio.create_task(self._work(), name="scheduler")

    async def close(self) -> None:
        """End after the ticks that are being done."""
        self._closing = True
        self._nudge.set()
        if self._task is not None:
            await self._task

    def _heard(self, appends: list[Append]) -> None:
        if any(append.stream.startswith("schedule:") for append in appends):
            self._nudge.set()

    async def _work(self) -> None:
        while not self._closing:
            self._nudge.clear()
            try:
                pause = await self.turn()
            except FederationError as e:
                structlog.get_logger().warning("schedules_not_read", why=e.detail)
                pause = _RETRY_S
            except Exception:  # a bug must not end what everybody's schedules wait for
                structlog.get_logger().exception("schedules_not_read")
                pause = _POLL_S
            try:
                async with asyncio.timeout(pause):
                    await self._nudge.wait()
            except TimeoutError:
                pass

    async def turn(self) -> float:
        """Do what is due now; returns after how many seconds to look again."""
        ledger, clock = self._parts.ledger, self._parts.clock
        due = await ledger.read(due_schedules, clock(), limit=_PAGE)
        done = await asyncio.gather(*(self._tick(*which) for which in due))
        if not all(done):
            return _RETRY_S
        following = await ledger.read(next_due)
        if following is None:
            return _POLL_S
        return min(max((following - clock()) / 1_000_000, 0.0), _POLL_S)

    async def _tick(self, tenant: str, schedule_id: str) -> bool:
        """Bring one schedule up to now. False where that has to be tried again."""
        async with self._places:
            try:
                while await self._catch_up(tenant, schedule_id):
                    pass
            except FederationError as e:
                self._log(tenant, schedule_id).warning("schedule_not_ticked", why=e.detail)
                return False
            except Exception:
                self._log(tenant, schedule_id).exception("schedule_not_ticked")
                return False
        return True

    async def _catch_up(self, tenant: str, schedule_id: str) -> bool:
        """Do the ticks that are due. True where the schedule moved on meanwhile, so that there may
        be others."""
        ledger = self._parts.ledger
        place = await ledger.read(schedule_place, tenant, schedule_id)
        schedule, now = place.schedule, self._parts.clock()
        if schedule is None or schedule.next_at is None or from_rfc3339(schedule.next_at) > now:
            return False
        values = await ledger.read(schedule_values, tenant, schedule)
        runs = TickRuns(self._parts, self._runs, tenant, schedule, values)
        due_now = await asyncio.to_thread(_planned, schedule, now)
        for i in range(0, len(due_now), _AT_A_TIME):
            if self._closing:
                return False
            ticked = await _all(*map(runs.make, due_now[i : i + _AT_A_TIME]))
            try:
                place = await self._record(place, tenant, ticked)
            except StaleAppend:
                return True
        return False

    async def _record(
        self, place: SchedulePlace, tenant: str, ticked: list[Ticked]
    ) -> SchedulePlace:
        """Append ticks where the schedule was found; raises `StaleAppend` where it moved on."""
        at = max(self._parts.clock(), place.last_at)
        append, schedule = schedule_append(
            self._parts,
            place,
            [(tick.code, msgspec.to_builtins(tick)) for tick in ticked],
            tenant=tenant,
            schedule_id=ticked[0].schedule_id,
            actor=SYSTEM,
            at=at,
        )
        await self._parts.ledger.append(append)
        return SchedulePlace(schedule, append.head, at)

    @staticmethod
    def _log(tenant: str, schedule_id: str) -> Any:
        return structlog.get_logger().bind(tenant=tenant, schedule_id=schedule_id)


async def _all(*making: Awaitable[Ticked]) -> list[Ticked]:
    """What each made, once all have ended; raises what the first of them raised."""
    made = await asyncio.gather(*making, return_exceptions=True)
    for told in made:
        if isinstance(told, BaseException):
            raise told
    return [told for told in made if isinstance(told, Ticked)]


def _planned(schedule: Schedule, now: int) -> list[Planned]:
    assert schedule.next_at is not None
    timetable = Timetable(schedule.cron, schedule.timezone)
    return plan(timetable, schedule.catch_up, from_rfc3339(schedule.next_at), now)
