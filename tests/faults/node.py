"""A server that can be killed at a durable write: `python -m tests.faults.node PLAN fedcore's …`.

It is `fedcore serve` itself, with taps on its writes and a clock that the harness steps. The plan
is JSON: `kill` ([number, `before` or `after`], or null), `clock` (the path of a file with an
offset in microseconds, 8 bytes little-endian), and `meddles` (whether it drives every run all the
time, though another node does). SIGUSR1 makes it tell where every thread and task
stands.
"""

import asyncio
import faulthandler
import json
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from os import write  # as it is before the taps
from pathlib import Path
from typing import Any

__all__ = ["main"]

_MEDDLING_S = 0.03


class _Killer:
    def __init__(self, number: int, when: str) -> None:
        self._number, self._when, self._seen = number, when, 0
        self._lock = threading.Lock()

    def __call__(self, when: str, names: tuple[str, ...]) -> None:
        if when != self._when:
            return
        with self._lock:
            self._seen += 1
            if self._seen == self._number:
                write(2, f"killed {when} {' + '.join(names)}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)


def _stepped(path: Path) -> Callable[[], int]:
    """The time of day, plus what stands in the file now."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def clock() -> int:
        return time.time_ns() // 1000 + int.from_bytes(offset[:8], "little", signed=True)

    return clock


async def _meddle(fc: Any) -> None:
    """Drive every run that there is, again and again."""
    from federation_core.errors import LedgerUnavailable

    while True:
        with suppress(LedgerUnavailable):
            for run in await fc.runs.page(fc.call("anna"), limit=100):
                if run.completed_at is None:
                    fc._engine.wake(run.run_id)
        await asyncio.sleep(_MEDDLING_S)


def _tell_tasks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


def main(plan: dict[str, Any], arguments: list[str]) -> None:
    """Serve. Nothing of the product is imported before the taps are in place."""
    if plan["kill"]:
        from tests.faults import taps

        taps.install(_Killer(*plan["kill"]))
    from federation_core import app
    from federation_core.cli import main as fedcore
    from federation_core.service import FederationCore

    clock = _stepped(Path(plan["clock"]))

    class Clocked(FederationCore):
        @classmethod
        @asynccontextmanager
        async def open(cls, *args: Any, **settings: Any) -> AsyncIterator[FederationCore]:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR2, _tell_tasks)
            async with super().open(*args, clock=clock, **settings) as fc:
                meddling = asyncio.create_task(_meddle(fc)) if plan["meddles"] else None
                yield fc
                if meddling is not None:
                    meddling.cancel()

    app.FederationCore = Clocked  # type: ignore[attr-defined]
    faulthandler.register(signal.SIGUSR1)
    sys.argv = ["fedcore", "serve", *arguments]
    fedcore()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
