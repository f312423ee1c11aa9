"""The local engine: an asyncio task for each run that has something to do, and timers.

What it forgets in a crash it finds again at start: every run that has to be woken says so in its
row, which was written together with the cause.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import structlog

from ..errors import FederationError, LedgerUnavailable
from ..ledger import Ledger, queries
from ..ledger.node import NodeFenced
from ..telemetry.families import Family, counter, gauge
from .driver import Driver
from .ports import Clock
from .wakes import missed, wake_kin

__all__ = ["LocalEngine"]

_SWEEP_S = 30.0
_SHARED_SWEEP_S = 5.0
"""With several nodes one may have died with what it was to do."""


class LocalEngine:
    """Drives at most `limit` runs at a time; the others wait their turn in the order of waking."""

    def __init__(self, driver: Driver, ledger: Ledger, clock: Clock, limit: int = 1_024) -> None:
        self._driver = driver
        self._ledger = ledger
        self._clock = clock
        self._slots = asyncio.Semaphore(limit)
        self._nudges: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[int | None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep_now = asyncio.Event()
        self._thorough = False
        self._closing = False
        self._in_place = 0
        self._sweeps = {("done",): 0, ("failed",): 0}
        self._stopped = 0

    async def start(self) -> None:
        """Take up what was left, and look again now and then for what was missed."""
        self._ledger.on_orphans(self.sweep)
        self._ledger.on_fenced(self.abandon)
        self._ledger.listen_elsewhere(self._appended_elsewhere)
        wake_kin(self._ledger, self.wake)
        await self._look(thoroughly=True)
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
        task.add_done_callback(partial(self._let_go, run_id))

    def _let_go(self, run_id: str, task: "asyncio.Task[int | None]") -> None:
        """Not the task itself does this: one that is cancelled before it began runs nothing."""
        nudge = self._nudges.pop(run_id)
        self._tasks.discard(task)
        if task.cancelled() or nudge.is_set():
            self.wake(run_id)
        elif (come_back := task.result()) is not None:
            self.wake(run_id, max(0.001, (come_back - self._clock()) / 1_000_000))

    @property
    def driving(self) -> int:
        """Runs that are being driven, or wait for a place."""
        return len(self._nudges)

    async def _run(self, run_id: str) -> int | None:
        """When to come back (microseconds since the epoch), None for not at all."""
        try:
            async with self._slots:
                self._in_place += 1
                try:
                    return await self._driver.drive(run_id, self._nudges[run_id])
                finally:
                    self._in_place -= 1
        except NodeFenced:
            self.sweep()  # others go on with it, or this node, should its lease hold after all
        except FederationError as e:
            self._stopped += 1
            # Nothing of this run executes any more; it stays as it is for an operator to see.
            structlog.get_logger().error("run_stopped", run_id=run_id, why=e.detail)
        except Exception:
            self._stopped += 1
            structlog.get_logger().exception("run_stopped", run_id=run_id)
        return None

    def _appended_elsewhere(self, streams: list[str]) -> None:
        """What another node wrote, a cancellation say, concerns what is executed here."""
        for stream in streams:
            nudge = self._nudges.get(stream.removeprefix("run:"))
            if nudge is not None:
                nudge.set()

    def sweep(self) -> None:
        """Look now for runs that nobody drives."""
        self._thorough = True
        self._sweep_now.set()

    def abandon(self) -> None:
        """Cut off everything that is executed: it is not this node's any more."""
        for task in self._tasks:
            task.cancel()
        self.sweep()

    async def _look(self, *, thoroughly: bool) -> None:
        """Wake the runs that nobody has woken; thoroughly where a process may have died with what
        it was to do. Where there are several nodes, whoever wrote that a run is due has most likely
        set the timer, and only what is overdue was forgotten; else a timer of the near future is
        set here as well."""
        now = self._clock()
        late = 0 if thoroughly else int(_SHARED_SWEEP_S * 500_000)
        horizon = now - late if self._ledger.is_shared else now + int(_SWEEP_S * 1e6)
        for run_id, when in await missed(self._ledger, horizon):
            if run_id not in self._nudges and (when <= now or run_id not in self._timers):
                self.wake(run_id, max(0.0, (when - now) / 1_000_000))
        if thoroughly:
            # By the same clock, or a run that became due between the two would be in neither.
            for run_id in await self._ledger.read(queries.runs_ahead, now):
                if run_id not in self._nudges:
                    self.wake(run_id)

    async def _sweep(self) -> None:
        pause = _SHARED_SWEEP_S if self._ledger.is_shared else _SWEEP_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sweep_now.wait()
            self._sweep_now.clear()
            thoroughly, self._thorough = self._thorough, False
            try:
                await self._look(thoroughly=thoroughly)
                thoroughly = False
                self._sweeps[("done",)] += 1
            except LedgerUnavailable as e:
                self._sweeps[("failed",)] += 1
                structlog.get_logger().warning("sweep_failed", why=e.detail)
            except Exception:  # whatever it was, the net is put out again
                self._sweeps[("failed",)] += 1
                structlog.get_logger().exception("sweep_failed")
            self._thorough |= thoroughly  # until it was done once

    @property
    def is_available(self) -> bool:
        """Whether it drives runs, and looks after those that were missed."""
        return not self._closing and self._sweeper is not None and not self._sweeper.done()

    def families(self) -> Iterator[Family]:
        """What it measures of itself."""
        up = {("local",): int(self.is_available)}
        yield gauge("fedcore_engine_up", "Whether the engine drives runs.", up, "engine")
        yield gauge("fedcore_runs_driving", "Managed runs under way.", self.driving)
        waiting = self.driving - self._in_place
        yield gauge("fedcore_runs_waiting", "Runs that wait for a place to be driven.", waiting)
        yield counter("fedcore_runs_stopped", "Drives that broke off.", self._stopped)
        yield gauge("fedcore_timers", "Runs that wait for a moment.", len(self._timers))
        yield counter("fedcore_sweeps", "Looks for missed runs.", self._sweeps, "outcome")

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
