"""A server that can be killed at a durable write: `python -m tests.faults.node PLAN fedcore's …`.

It is `fedcore serve` itself, with taps on its writes and a clock that the harness steps. The plan
is JSON: `kill` ([number, `before` or `after`], or null) and `clock` (the path of a file with an
offset in microseconds, 8 bytes little-endian). SIGUSR1 makes it tell where every thread and task
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
from collections.abc import Callable
from os import write  # as it is before the taps
from pathlib import Path
from typing import Any

__all__ = ["main"]


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
        def open(cls, *args: Any, **settings: Any) -> Any:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR2, _tell_tasks)
            return super().open(*args, clock=clock, **settings)

    app.FederationCore = Clocked  # type: ignore[attr-defined]
    faulthandler.register(signal.SIGUSR1)
    sys.argv = ["fedcore", "serve", *arguments]
    fedcore()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
