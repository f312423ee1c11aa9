"""Where log lines go: a thread of its own writes them, so that who reads them slowly, or not at
all, holds up nobody but that thread."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TextIO

from .families import Family, counter

__all__ = ["Sink"]

CAPACITY = 10_000
"""Lines that wait to be written; what comes then is dropped, and counted."""


class Sink:
    """A logger of structlog: each method takes a finished line."""

    def __init__(self, stream: TextIO, capacity: int = CAPACITY) -> None:
        self.stream = stream
        self.dropped = 0
        self._capacity = capacity
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        if self._closed:
            self._write(line)
        elif self._lines.qsize() < self._capacity:
            self._lines.put(line)
        else:
            self.dropped += 1

    debug = info = warning = warn = error = critical = fatal = exception = log = msg

    def families(self) -> Iterator[Family]:
        yield counter("fedcore_log_lines_dropped", "Lines that were not written.", self.dropped)

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for at most `seconds`; lines that come later are written at once."""
        if not self._closed:
            self._closed = True
            self._lines.put(None)
            self._thread.join(seconds)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)

    def _write(self, line: str) -> None:
        try:
            self.stream.write(f"{line}\n")
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads, or the stream was closed
            self.dropped += 1
