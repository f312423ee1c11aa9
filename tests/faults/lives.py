"""Lives of a process: each plays one chapter, and is killed where the harness says.

`Nursery` is the harness's side. The other side, `python -m tests.faults.lives`, has everything
loaded once and forks a process for each life, so that one costs a tenth of a second.
"""

import asyncio
import faulthandler
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tests.core_helpers import Clock

__all__ = ["Fault", "Life", "Nursery", "nursery"]

ROOT = Path(__file__).resolve().parents[2]
FAILURE = "the disk said no"
_DEADLINE_S = 40
"""A life that takes longer hangs: it tells where each of its threads stands, and fails."""


class Fault(NamedTuple):
    """What happens `before` or `after` the `number`th write (from 1) that `name` (`*`: any) is part
    of: `how` is `kill` (SIGKILL), `fail` (the database says that it failed; after: though it did
    not), or `clock` (the clock steps by `seconds`)."""

    how: str
    name: str
    when: str
    number: int = 1
    seconds: float = 0


class Life(NamedTuple):
    """How a life went. `told` are (request, body) of what a client was answered; `writes` and
    `heard` are there where they were asked for."""

    killed: bool
    status: int
    told: list[tuple[str, str]]
    writes: list[list[str]]
    heard: list[str]
    said: str


class Nursery:
    """Starts lives. Use `nursery()`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def live(
        self,
        folder: Path,
        chapter: str,
        url: str,
        fault: Fault | None = None,
        *,
        record: bool = False,
        database: str | None = None,
    ) -> Life:
        """One life in the data directory `folder`; `url` is the service outside, `database` that of
        a PostgreSQL ledger."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "folder": str(folder),
            "chapter": chapter,
            "url": url,
            "fault": fault,
            "record": record,
            "database": database,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        told = json.loads(answer)
        lines = [json.loads(line) for line in told["lines"]]
        return Life(
            killed=told["status"] == -signal.SIGKILL,
            status=told["status"],
            told=[(one["key"], one["body"]) for one in lines if "key" in one],
            writes=next((one["writes"] for one in lines if "writes" in one), []),
            heard=next((one["heard"] for one in lines if "heard" in one), []),
            said=told["said"],
        )


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery of its own process."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-W", "error", "-m", "tests.faults.lives"]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


# The other side.


class _Plan:
    """What a life does at its durable writes."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.clock: Clock | None = None
        self.record = False
        self.writes: list[tuple[str, ...]] = []
        self.heard: list[str] = []
        self._seen = 0
        self._lock = threading.Lock()

    def on(self, when: str, names: tuple[str, ...]) -> None:
        if self.record and when == "before":
            self.writes.append(names)
        fault = self.fault
        if fault is None or when != fault.when or fault.name not in (*names, "*"):
            return
        with self._lock:
            self._seen += 1
            if self._seen != fault.number:
                return
        if fault.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.how == "fail":
            raise sqlite3.OperationalError(FAILURE)
        else:
            assert self.clock is not None
            self.clock.forward(fault.seconds)

    def hear(self, what: str) -> None:
        if self.record:
            self.heard.append(what)


_plan = _Plan()


def _say(pipe: int, **what: Any) -> None:
    data = (json.dumps(what) + "\n").encode()
    while data:
        data = data[os.write(pipe, data) :]


def _live(order: dict[str, Any], pipe: int) -> NoReturn:
    """The life itself, in the process that was forked for it."""
    from tests.faults.chapters import CHAPTERS, Stage

    faulthandler.dump_traceback_later(_DEADLINE_S, exit=True)
    _plan.fault = Fault(*order["fault"]) if order["fault"] else None
    _plan.record = order["record"]

    def tell(key: str, body: bytes) -> None:
        _say(pipe, key=key, body=body.decode())

    status = 1
    try:
        stage = Stage(Path(order["folder"]), order["url"], tell, order["database"])
        _plan.clock = stage.clock
        asyncio.run(CHAPTERS[order["chapter"]](stage))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc(limit=-8)
    sys.stderr.flush()
    if _plan.record:
        _plan.record = False
        _say(pipe, writes=_plan.writes, heard=_plan.heard)
    os._exit(status)


def _begin(order: dict[str, Any]) -> dict[str, Any]:
    """Fork a life, and tell how it went."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.close(reader)
            for descriptor in (1, 2):
                os.dup2(said.fileno(), descriptor)
            _live(order, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "lines": [line for line in lines if line.endswith("}")],
            "said": said.read().decode("utf-8", "replace"),
        }


def _main() -> None:
    from tests.faults import taps

    taps.install(_plan.on)
    taps.hear(_plan.hear)
    # What every life needs is loaded once.
    from alembic import command  # noqa: F401
    from alembic.config import Config  # noqa: F401
    from alembic.script import ScriptDirectory  # noqa: F401
    from tests.faults import chapters  # noqa: F401

    from federation_core.engine.governor import Governor

    Governor("default")
    gc.freeze()  # what is loaded is shared with every life, and never copied for a collection
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_begin(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
