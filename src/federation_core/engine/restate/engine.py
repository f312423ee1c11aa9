"""The distributed engine: Restate calls one of the nodes to drive a run, now or at a moment.

What Restate holds are run ids and moments, nothing else. Whether a step may run, and whether it ran
already, the ledger alone says: a call that comes twice, too late or for nothing does no harm.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import httpx
import structlog

from ...errors import FederationError, LedgerUnavailable, SettingsError
from ...ledger import Ledger, queries
from ...ledger.node import NodeFenced
from ...telemetry.families import Family, counter, gauge
from ..driver import Driver
from ..ports import Clock
from ..wakes import missed, wake_kin
from .deployment import NotRegistered, register
from .options import Restate, service_of
from .sends import Sends

__all__ = ["Busy", "RestateEngine"]

_SWEEP_S = 30.0
_PROBE_S = 1.0
"""How often Restate is asked for while it is away."""

_LATE_S = 2.0
"""What is due for less than this is on its way, in all likelihood."""

_NEAR_S = 2.0
"""A moment as near as this is waited for here. It also absorbs that Restate's clock, which says
when a later one has come, goes ahead of ours."""

_REQUEST_S = 5.0
_FLUSH_S = 2.0


class Busy(Exception):
    """This node takes no run now; another one may."""


class RestateEngine:
    """Drives the runs that Restate brings, at most `limit` at a time."""

    def __init__(
        self, driver: Driver, ledger: Ledger, clock: Clock, restate: Restate, limit: int = 1_024
    ) -> None:
        """Raises `SettingsError` where Restate's library is not installed."""
        if find_spec("restate") is None:
            raise SettingsError(
                "The engine 'restate' needs Restate's library; pip install "
                "'federation-core[restate]', or use the engine 'local'."
            )
        self.restate = restate
        self.service = service_of(ledger.log)
        """What Restate knows us as."""
        self.available = False
        """Whether Restate took what was sent to it last."""
        self._driver = driver
        self._ledger = ledger
        self._clock = clock
        self._limit = limit
        self._http = httpx.AsyncClient(timeout=_REQUEST_S, trust_env=False)
        self._sends = Sends(self._http, f"{restate.ingress}/{self.service}", self._away)
        self._nudges: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._thorough = True
        self._why: str | None = None
        self._closing = False
        self._stopped = 0

    async def start(self) -> None:
        """Find Restate in the background, and send for what was left."""
        self._ledger.on_orphans(self.sweep)
        self._ledger.on_fenced(self.abandon)
        self._ledger.listen_elsewhere(self.appended_elsewhere)
        wake_kin(self._ledger, self.wake)
        self._keeper = asyncio.create_task(self._keep(), name="restate-keeper")

    def wake(self, run_id: str, delay: float = 0.0) -> None:
        """See `ports.Engine`. A run that is driven here hears of it at once."""
        if delay > 0:
            at = self._clock() + int(delay * 1_000_000)
            self._send_later(run_id, at)
        elif not self.nudge(run_id):
            self._send(run_id)

    def nudge(self, run_id: str) -> bool:
        """Tell the run's driver that something changed. False where it is not driven here."""
        nudge = self._nudges.get(run_id)
        if nudge is None:
            return False
        nudge.set()
        return True

    def appended_elsewhere(self, streams: list[str]) -> None:
        """What another node wrote, a cancellation say, concerns what is executed here."""
        for stream in streams:
            self.nudge(stream.removeprefix("run:"))

    def sweep(self) -> None:
        """Look now for runs that nobody drives."""
        self._thorough = True
        self._look.set()

    def abandon(self) -> None:
        """Cut off everything that is executed: it is not this node's any more."""
        for task in self._tasks.values():
            task.cancel()
        self.sweep()

    @property
    def driving(self) -> int:
        """Runs that are being driven here."""
        return len(self._nudges)

    def take(self, run_id: str) -> "asyncio.Task[None]":
        """Drive the run here, or join who does; the task is done when nothing is left to do soon.
        To cancel it is to stop the driver. Raises `Busy`."""
        self._sends.begun(run_id)
        if self.nudge(run_id):
            return self._tasks[run_id]
        if self._closing:
            raise Busy("This node is stopping.")
        if len(self._tasks) >= self._limit:
            raise Busy(f"This node drives {self._limit} runs already.")
        self._nudges[run_id] = asyncio.Event()
        task = self._tasks[run_id] = asyncio.create_task(self._run(run_id), name=f"drive-{run_id}")
        task.add_done_callback(partial(self._let_go, run_id))
        return task

    def _let_go(self, run_id: str, task: "asyncio.Task[None]") -> None:
        """Not the task itself does this: one that is cancelled before it began runs nothing."""
        nudge = self._nudges.pop(run_id)
        del self._tasks[run_id]
        if self._closing or nudge.is_set() or task.cancelled():
            self._send(run_id)  # whoever is left goes on where this node stopped

    async def _run(self, run_id: str) -> None:
        try:
            await self._drive(run_id, self._nudges[run_id])
        except NodeFenced:
            self.sweep()  # others go on with it, or this node, should its lease hold after all
        except FederationError as e:
            # Nothing of this run executes any more; it stays as it is for an operator to see.
            # Restate is not told: it would try again, at once and without end.
            self._stopped += 1
            structlog.get_logger().error("run_stopped", run_id=run_id, why=e.detail)
        except Exception:
            self._stopped += 1
            structlog.get_logger().exception("run_stopped", run_id=run_id)

    async def _drive(self, run_id: str, nudge: asyncio.Event) -> None:
        while True:
            come_back = await self._driver.drive(run_id, nudge)
            if self._closing:
                return
            if nudge.is_set():
                continue
            if come_back is None:
                return
            if come_back - self._clock() > _NEAR_S * 1_000_000:
                self._send_later(run_id, come_back)
                return
            await _until(nudge, (come_back - self._clock()) / 1_000_000)

    def _send(self, run_id: str) -> None:
        if self.available:
            self._sends.now(run_id)

    def _send_later(self, run_id: str, at: int) -> None:
        if self.available:
            self._sends.later(run_id, at, max(0.0, (at - self._clock()) / 1_000_000))

    async def _keep(self) -> None:
        """Keep Restate registered and the safety net out: often while it is away, now and then
        while it is there."""
        while True:
            self._look.clear()
            is_swept = False
            try:
                await self._find()
                await self._sweep()
                is_swept = self.available
            except NotRegistered as e:
                self._away(str(e))
            except LedgerUnavailable as e:
                structlog.get_logger().warning("sweep_failed", why=e.detail)
            except Exception:  # whatever it was, the net is put out again
                structlog.get_logger().exception("sweep_failed")
            if is_swept:
                await _until(self._look, _SWEEP_S)
            else:
                await asyncio.sleep(_PROBE_S)

    async def _find(self) -> None:
        """Raises `NotRegistered` where Restate is not there, or does not find us."""
        if self.available:
            return
        registered = await register(self._http, self.restate, self.service)
        try:
            answer = await self._http.get(f"{self.restate.ingress}/restate/health")
            answer.raise_for_status()
        except httpx.HTTPError as e:
            why = f"{self.restate.ingress} does not answer: {e or type(e).__name__}"
            raise NotRegistered(why) from e
        self.available = True
        self._why = None
        structlog.get_logger().info(
            "engine_available", ingress=self.restate.ingress, registered=registered
        )

    def _away(self, why: str) -> None:
        """Said once for each way in which it is away."""
        self.available = False
        self._thorough = True
        self._sends.forget()
        self._look.set()
        if why != self._why:
            self._why = why
            structlog.get_logger().warning("engine_unavailable", why=why)

    async def _sweep(self) -> None:
        """Thoroughly, until that was done once, where a node or Restate may have lost what it was
        to do."""
        thoroughly, self._thorough = self._thorough, False
        try:
            await self._send_missed(thoroughly=thoroughly)
        except BaseException:
            self._thorough |= thoroughly
            raise

    async def _send_missed(self, *, thoroughly: bool) -> None:
        """Send for runs that have been due for a while, or will be before the next time; thoroughly
        for all that are due."""
        now = self._clock()
        late = 0.0 if thoroughly else _LATE_S
        horizon = now + int(_SWEEP_S * 1_000_000)
        for run_id, when in await missed(self._ledger, horizon):
            if run_id in self._nudges or not self.available:
                continue
            if when > now:
                self._send_later(run_id, when)
            elif when <= now - late * 1_000_000:
                self._sends.overdue(run_id)
        if thoroughly:
            for run_id in await self._ledger.read(queries.runs_ahead, now):
                if run_id not in self._nudges and self.available:
                    self._sends.overdue(run_id)

    def families(self) -> Iterator[Family]:
        """What it measures of itself."""
        up = {("restate",): int(self.available and not self._closing)}
        yield gauge("fedcore_engine_up", "Whether the engine drives runs.", up, "engine")
        yield gauge("fedcore_runs_driving", "Managed runs under way.", self.driving)
        yield counter("fedcore_runs_stopped", "Drives that broke off.", self._stopped)

    async def close(self, grace: float = 10.0) -> None:
        """Stop driving, and let others go on. Steps under way have `grace` seconds to end; those
        that do not are cut off, and whoever drives the run next recovers them or finds them in
        doubt."""
        self._closing = True
        self._driver.draining = True
        if self._keeper is not None:
            self._keeper.cancel()
        for nudge in self._nudges.values():
            nudge.set()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sends.flush(_FLUSH_S)
        self.available = False
        await self._http.aclose()


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most so long."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return
