"""Processes that tests start, ask, and kill. Run as `python -m tests.children <what> …`: each says
on its output when it has come to where the test wants it, and goes on or ends with its input."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Child", "child"]

ROOT = Path(__file__).resolve().parents[1]


class Child:
    """A process, and the lines that it writes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        """The next line; empty where the process has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def lines(self) -> list[str]:
        """All that it still writes, until it ends."""
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()

    def kill(self) -> None:
        """What `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Let it go on to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def child(what: str, *arguments: object) -> Iterator[Child]:
    """Start `what`; it is killed at the end, if it still lives."""
    command = [sys.executable, "-m", "tests.children", what, *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    with process:
        try:
            yield Child(process)
        finally:
            process.kill()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (the pipe to the test)


def _wait() -> None:
    sys.stdin.read()


def hold_database(path: str) -> None:
    """Hold the write lock of a database."""
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    _say("held")
    _wait()
    connection.execute("ROLLBACK")


def hold_directory(folder: str) -> None:
    """Hold a data directory as a server does."""
    from federation_core.ledger.exclusive import Exclusive

    with Exclusive(Path(folder)):
        _say("held")
        _wait()


def append_for_ever(path: str) -> None:
    """Append to twenty streams at once, and say each event once it was acknowledged."""
    import asyncio

    from tests.ledger_helpers import follow

    from federation_core.ledger import Append, Ledger

    async def write(ledger: Ledger, stream: str) -> None:
        last: Append | None = None
        while True:
            last = follow(ledger.log, stream, last, count=2)
            await ledger.append(last)
            _say("\n".join(f"{e.stream} {e.seq} {e.hash}" for e in last.events))

    async def main() -> None:
        ledger = await Ledger.open(Path(path))
        await asyncio.gather(*(write(ledger, f"made:{i}") for i in range(20)))

    asyncio.run(main())


def stop_in_step(
    folder: str, moment: str, url: str = "", lease_s: str = "10", then: str = ""
) -> None:
    """Run the workflow that stands in `folder`, and say when its `moment` has come, for ever; with
    a `url` as a node of that database. `then_go_on` is to go on when it was frozen, and to say that
    the other nodes took it for dead."""
    import asyncio
    import threading
    import time

    from tests import core_steps

    def stop(now: str) -> None:
        if now != moment:
            return
        _say(now)
        if not then:
            threading.Event().wait()
        before = time.monotonic()
        while time.monotonic() - before < 0.5:  # until it was frozen: then a look takes long
            before = time.monotonic()
            threading.Event().wait(0.01)

    core_steps.moment = stop
    asyncio.run(_live(Path(folder), url=url, lease_s=float(lease_s), fenced=bool(then)))


def die_at_each_commit(folder: str, idempotent: str, again: str = "") -> None:
    """Run the workflow that stands in `folder`, each time with fresh data, and be killed before
    the first commit, after it, before the second, and so on until nothing is left to be killed at.
    With `again` always the same data, and always after the second commit of a process."""
    from alembic import command  # noqa: F401 (what every life needs is loaded once)
    from tests import core_helpers  # noqa: F401

    from federation_core.engine.governor import Governor

    Governor("default")
    base = Path(folder)
    for number in range(1, 100):
        for when in ("after",) if again else ("before", "after"):
            life = base if again else base / f"{number:02}-{when}"
            child_id = os.fork()
            if not child_id:
                _die(life, 2 if again else number, when, base / idempotent)
            _, status = os.waitpid(child_id, 0)
            if not os.WIFSIGNALED(status):
                _say(f"ended {os.waitstatus_to_exitcode(status)}")
                return
            _say(f"{life.name} {os.WTERMSIG(status)}")


def _die(folder: Path, number: int, when: str, definition: Path) -> NoReturn:
    import asyncio

    from federation_core.ledger.writer import Writer

    commit = Writer._commit
    count = 0

    def commit_or_die(self: Writer, jobs: list[Any]) -> None:
        nonlocal count
        count += 1
        if (count, when) == (number, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, jobs)
        if (count, when) == (number, "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    Writer._commit = commit_or_die  # type: ignore[method-assign]
    asyncio.run(_live(folder, definition))
    os._exit(0)


def die_while_ticking(folder: str) -> None:
    """Tick the schedule in `folder`/base, each life on a copy of its own and killed before or after
    the first or second commit that holds a run, or a record of ticks; then again and again on the
    copy `again`, killed at each of these places in turn, a minute later each time."""
    from alembic import command  # noqa: F401 (what every life needs is loaded once)
    from tests import schedule_helpers  # noqa: F401

    from federation_core.engine.governor import Governor

    Governor("default")
    base = Path(folder)
    moments = [(code, when) for code in ("FC-RUN-001", "FC-SCHED-003") for when in _MOMENTS]
    for code, when in moments:
        for number in (1, 2):
            _life(base, f"{code}-{when}-{number}", code, when, number=number)
    for later, (code, when) in enumerate(moments, 1):
        _life(base, "again", code, when, later=later)


_MOMENTS = ("before", "after")


def _life(base: Path, name: str, code: str, when: str, *, number: int = 1, later: int = 1) -> None:
    if not (base / name).exists():
        shutil.copytree(base / "base", base / name)
    child_id = os.fork()
    if not child_id:
        _die_while_ticking(base / name, code, (number, when), later)
    _, status = os.waitpid(child_id, 0)
    _say(f"{name} {os.waitstatus_to_exitcode(status)}")


def _die_while_ticking(folder: Path, code: str, where: tuple[int, str], later: int) -> NoReturn:
    import asyncio

    from tests.core_helpers import Clock, core

    from federation_core.ledger.writer import Writer

    commit, count = Writer._commit, 0

    def commit_or_die(self: Writer, jobs: list[Any]) -> None:
        nonlocal count
        count += any(e.type == code for job in jobs for e in job.append.events)
        if where == (count, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, jobs)
        if where == (count, "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    async def tick() -> None:
        clock = Clock()
        clock.forward(60 * (later - 1))
        async with core(folder, clock=clock, audited=False) as fc:
            for _ in range(3):
                clock.forward(60)
                await fc._scheduler.turn()

    Writer._commit = commit_or_die  # type: ignore[method-assign]
    asyncio.run(tick())
    os._exit(0)


async def _live(
    folder: Path,
    definition: Path | None = None,
    *,
    url: str = "",
    lease_s: float = 10.0,
    fenced: bool = False,
) -> None:
    """One life of a server: it goes on where the last one stopped, or begins a run of the last of
    the workflows, one a line; the file `acknowledged` says that a client knows of it."""
    from tests.core_helpers import core, register, start, until

    text = (definition or folder / "workflow.yaml").read_text()
    settings: dict[str, Any] = {"signing_key": b"\x07" * 32} if url else {}
    place = folder / "node" if url else folder
    async with core(
        place, database=url or folder / "fedcore.db", lease_s=lease_s, audited=not url, **settings
    ) as fc:
        if fenced:
            fc._parts.ledger.on_fenced(lambda: _say("fenced"))
        runs = [r for r in await fc.runs.page(fc.call("x")) if r.parent_run_id is None]
        if runs:
            run_id = runs[0].run_id
        else:
            for one in text.splitlines():
                await register(fc, one)
            run_id = await start(fc, {"path": str(folder / "effects")})
            (folder / "acknowledged").write_text(run_id)
        await until(fc, run_id)


if __name__ == "__main__":
    _PLAYS: list[Callable[..., None]] = [
        append_for_ever,
        die_at_each_commit,
        die_while_ticking,
        hold_database,
        hold_directory,
        stop_in_step,
    ]
    {play.__name__: play for play in _PLAYS}[sys.argv[1]](*sys.argv[2:])
