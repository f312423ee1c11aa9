"""The local engine: an asyncio task for each run that has something to do, and timers.

What it forgets in a crash it finds again at start: every run that has to be woken says so in its
row, which was written together with the cause.
"""

import asyncio

import structlog

from ..errors import FederationError, LedgerUnavailable
from ..ledger import Append, Ledger, queries
from ..ledger.kin import kin_to_wake
from .driver import Driver
from .ports import Clock

__all__ = ["LocalEngine"]

_SWEEP_S = 30.0
_PAGE = 1_000


class LocalEngine:
    """Drives at most `limit` runs at a time; the others wait their turn in the order of waking."""

    def __init__(self, driver: Driver, ledger: Ledger, clock: Clock, limit: int = 1_024) -> None:
        self._driver = driver
        self._ledger = ledger
        self._clock = clock
        self._slots = asyncio.Semaphore(limit)
        self._nudges: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Take up what was left, and look again now and then for what was missed."""
        self._ledger.listen(self._heed)
        await self._wake_due()
        self._sweeper = asyncio.create_task(self._sweep(), name="engine-sweeper")

    def wake(self, run_id: str, delay: float = 0.0) -> None:
        """See `ports.Engine`."""
        if self._closing:
            return
        timer = self._timers.pop(run_id, None)
        if timer is not None:
            timer.cancel()
        if delay > 0:
            loop = asyncio.get_running_loop()
            self._timers[run_id] = loop.call_later(delay, self.wake, run_id)
            return
        nudge = self._nudges.get(run_id)
        if nudge is not None:
            nudge.set()
            return
        self._nudges[run_id] = asyncio.Event()
        task = asyncio.create_task(self._run(run_id), name=f"drive-{run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def driving(self) -> int:
        """Runs that are being driven, or wait for a place."""
        return len(self._nudges)

    async def _run(self, run_id: str) -> None:
        nudge = self._nudges[run_id]
        come_back: int | None = None
        try:
            async with self._slots:
                come_back = await self._driver.drive(run_id, nudge)
        except FederationError as e:
            # Nothing of this run executes any more; it stays as it is for an operator to see.
            structlog.get_logger().error("run_stopped", run_id=run_id, why=e.detail)
        except Exception:
            structlog.get_logger().exception("run_stopped", run_id=run_id)
        finally:
            del self._nudges[run_id]
        if nudge.is_set():
            self.wake(run_id)
        elif come_back is not None:
            self.wake(run_id, max(0.001, (come_back - self._clock()) / 1_000_000))

    async def _wake_due(self) -> None:
        horizon = self._clock() + int(_SWEEP_S * 1_000_000)
        due = await self._ledger.read(queries.due_runs, horizon, limit=100_000)
        now = self._clock()
        for run_id, when in due:
            if run_id not in self._nudges and run_id not in self._timers:
                self.wake(run_id, max(0.0, (when - now) / 1_000_000))

        for run_id in await self._ledger.read(kin_to_wake, limit=100_000):
            if run_id not in self._nudges:
                self.wake(run_id)

    def _heed(self, appends: list[Append]) -> None:
        """What became durable may concern other runs."""
        for append in appends:
            for run_id in append.wakes:
                self.wake(run_id)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await self._wake_due()
            except LedgerUnavailable as e:
                structlog.get_logger().warning("sweep_failed", why=e.detail)

    async def close(self, grace: float = 10.0) -> None:
        """Stop driving. Steps under way have `grace` seconds to end; those that do not are cut
        off, and the next start recovers them or finds them in doubt."""
        self._closing = True
        self._driver.draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for timer in self._timers.values():
            timer.cancel()
        for nudge in self._nudges.values():
            nudge.set()
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
