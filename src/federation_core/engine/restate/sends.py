"""Wake-ups on their way to Restate.

Nothing waits for a send, and nothing is lost with one: the row of the run, written together with
the cause, says that it has to be woken. What cannot be sent now is forgotten here and found there.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import structlog

from .options import HANDLER

__all__ = ["Sends"]

_AT_ONCE = 16
_QUIET_S = 0.25
"""A run of which one send is out, and which nobody has seen begin, gets the next one this much
later, however often it is woken: a burst does not become a queue."""


class Sends:
    """At most one send of a run waits here; `failed` is told why one could not be made."""

    def __init__(self, http: httpx.AsyncClient, url: str, failed: Callable[[str], None]) -> None:
        """`url` is that of our service at the ingress."""
        self._http = http
        self._url = url
        self._failed = failed
        self._waiting: dict[str, _Send] = {}
        self._out: dict[str, _Out] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self, run_id: str) -> None:
        """The run has something to do."""
        out = self._out.get(run_id)
        if out is not None:
            out.again = run_id not in self._waiting
            return
        timer = asyncio.get_running_loop().call_later(_QUIET_S, self._after_quiet, run_id)
        self._out[run_id] = _Out(timer)
        self._put(_Send(run_id))

    def later(self, run_id: str, at: int, seconds: float) -> None:
        """The run has something to do at `at` (microseconds), in `seconds`. Restate takes one and
        the same moment of a run once, whichever nodes name it how often."""
        self._put(_Send(run_id, key=f"{run_id}:{at}", seconds=seconds))

    def overdue(self, run_id: str) -> None:
        """The run should have been woken; a send that is still on its way is as good as another."""
        self._put(_Send(run_id, key=f"{run_id}:overdue"))

    def begun(self, run_id: str) -> None:
        """The run is being driven here: it sees all that was sent for."""
        out = self._out.pop(run_id, None)
        if out is not None:
            out.timer.cancel()

    def forget(self) -> None:
        """Restate is away."""
        self._waiting.clear()
        for run_id in list(self._out):
            self.begun(run_id)

    async def flush(self, seconds: float) -> None:
        """Send what there is to be sent, in at most `seconds`."""
        for run_id, out in list(self._out.items()):
            out.timer.cancel()
            self._after_quiet(run_id)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _after_quiet(self, run_id: str) -> None:
        if self._out.pop(run_id).again:
            self.now(run_id)

    def _put(self, send: "_Send") -> None:
        self._waiting[send.key or send.run_id] = send
        if len(self._tasks) < _AT_ONCE:
            self._tasks.add(asyncio.create_task(self._work(), name="restate-sends"))

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while self._waiting:
                await self._send(self._waiting.pop(next(iter(self._waiting))))
        finally:
            # Here, not in a callback of the task, which comes later: what is put in between would
            # count on a worker that looks no more.
            self._tasks.discard(task)

    async def _send(self, send: "_Send") -> None:
        headers = {"idempotency-key": send.key} if send.key else {}
        params: dict[str, Any] = {"delay": f"{send.millis}ms"} if send.millis else {}
        url = f"{self._url}/{send.run_id}/{HANDLER}/send"
        try:
            answer = await self._http.post(url, headers=headers, params=params)
            answer.raise_for_status()
        except httpx.HTTPError as e:
            self._failed(f"a send failed: {e or type(e).__name__}")
        except Exception as e:  # whatever it was, the next one is sent
            structlog.get_logger().exception("send_failed", run_id=send.run_id)
            self._failed(f"a send failed: {type(e).__name__}")


class _Out:
    """A send of a run, not seen to begin here; `again` where something has come since."""

    __slots__ = ("again", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.again = False


class _Send:
    """With `key` Restate takes it once, as long as the one that it took is not done."""

    __slots__ = ("key", "millis", "run_id")

    def __init__(self, run_id: str, *, key: str = "", seconds: float = 0.0) -> None:
        self.run_id = run_id
        self.key = key
        self.millis = round(seconds * 1000)
