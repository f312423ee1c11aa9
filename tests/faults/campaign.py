"""The long form: every write of every chapter, and worlds under load by the seed.

What is counted here is what `results.json` says, and nothing else.
"""

import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.faults.chapters import CHAPTERS
from tests.faults.disk import Disk
from tests.faults.durable import COMMITS
from tests.faults.invariants import Findings
from tests.faults.lives import Fault, nursery
from tests.faults.outside import outside
from tests.faults.places import place_of
from tests.faults.report import FAULTS, Campaign
from tests.faults.theatre import Beginnings, Theatre
from tests.faults.world import Outcome, Place, play
from tests.postgres import Postgres

__all__ = ["Tally", "each_write", "say", "under_load"]

EVERY = "*"
FAILED = Path("build/faults")
"""Where is told what failed."""
_HOUR = 3_600.0
_DISK_MIB = 512


class Tally:
    """Counts into a campaign, and keeps what went wrong."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.errors: list[str] = []

    def take(self, where: str, findings: Findings) -> None:
        c = self.campaign
        c.runs += findings.runs
        c.events_lost += len(findings.lost)
        c.effects_doubled += len(findings.doubled)
        self.errors += [f"{where}: {error}" for error in findings.errors]

    def fail(self, where: str, why: str) -> None:
        self.errors.append(f"{where}: {why}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL is run by somebody else
        yield Path(folder)


def each_write() -> list[Tally]:
    """A fault beside each write of each chapter, one life for each, on both kinds of database."""
    with memory() as folder, ExitStack() as stack, ThreadPoolExecutor(2) as workers:
        server = Postgres(where=folder)
        stack.callback(server.close)
        kinds = {"sqlite": None, "postgresql": server}
        working = [workers.submit(_each_write, folder, *kind) for kind in kinds.items()]
        return [tally for worker in working for tally in worker.result()]


def _each_write(memory: Path, database: str, server: Postgres | None) -> list[Tally]:
    def tally(fault: str, how: str) -> Tally:
        return Tally(Campaign(fault, how, "python -m tests.faults", database, "local"))

    killed = tally("kill", "before and after each write, one by one")
    failed = tally("failed-write", "each commit fails, or says so and is done")
    stepped = tally("clock", "after each write of a run, either way")
    folder = memory / database
    folder.mkdir()
    with outside() as service, nursery() as lives:
        beginnings = Beginnings(lives, service, folder, server)
        for chapter in CHAPTERS:
            if chapter == "rebuilding" and server is not None:
                continue  # it is an operator's, and the file's
            room = folder / chapter
            room.mkdir()
            theatre = Theatre(room, lives, service, beginnings)
            theatre.begin(chapter)
            writes = theatre.played(chapter, record=True).writes
            say(f"{database}, {chapter}: {len(writes)} writes")
            for number, names in enumerate(writes, 1):
                for when in ("before", "after"):
                    _tried(killed, theatre, chapter, Fault("kill", EVERY, when, number))
                    if COMMITS.intersection(names):
                        _tried(failed, theatre, chapter, Fault("fail", EVERY, when, number))
                if chapter == "work":
                    for seconds in (_HOUR, -_HOUR):
                        fault = Fault("clock", EVERY, "after", number, seconds)
                        _tried(stepped, theatre, chapter, fault)
    return [killed, failed, stepped]


def _tried(tally: Tally, theatre: Theatre, chapter: str, fault: Fault) -> None:
    """A life with this fault, and one without it, which comes to the end."""
    where = f"{chapter}, {' '.join(map(str, fault))}"
    theatre.begin(chapter)
    life = theatre.play(chapter, fault)
    tally.campaign.made += life.killed if fault.how == "kill" else 1
    again = theatre.play(chapter)
    if again.status:
        tally.fail(where, again.said)
    else:
        tally.take(where, theatre.examine(life, again))
    theatre.end()


def under_load(seeds: list[int], jobs: int = 2) -> list[Tally]:
    """A world for each seed, at the place that is its turn; `jobs` of them at a time. There is a
    tally for all of them, and one for each fault at each kind of place, of the seeds in which it
    was made."""
    whole = Tally(Campaign("all", "2 to 4 of those below, drawn", _COMMAND, "all", "all"))
    tallies: dict[tuple[str, str, str], Tally] = {}
    with ThreadPoolExecutor(jobs) as workers:
        told: Queue[_Told] = Queue()
        working = [workers.submit(_play, seeds[n::jobs], told) for n in range(jobs)]
        for done in range(len(seeds)):
            seed, place, outcome = _next(told, working)
            whole.campaign.seeds += 1
            where = f"{done + 1}/{len(seeds)} seed {seed} ({place.database}, {place.engine})"
            if isinstance(outcome, str):
                whole.fail(f"seed {seed}", outcome)
                say(f"{where}: FAILED, {outcome}")
                continue
            say(f"{where}: {outcome.findings.runs} runs, {'; '.join(outcome.faults)}")
            whole.campaign.made += outcome.made.total()
            whole.take(f"seed {seed}", outcome.findings)
            for fault, count in outcome.made.items():
                key = fault, place.database, place.engine
                if key not in tallies:
                    tallies[key] = Tally(Campaign(fault, _HOW[fault], _COMMAND, *key[1:]))
                tallies[key].campaign.seeds += 1
                tallies[key].campaign.made += count
                tallies[key].take(f"seed {seed}", outcome.findings._replace(wrong=[]))
    order = [*FAULTS]
    return [whole, *(tallies[k] for k in sorted(tallies, key=lambda k: (order.index(k[0]), *k)))]


class _Told(NamedTuple):
    seed: int
    place: Place
    outcome: Outcome | str
    """A story, where it failed."""


def _next(told: "Queue[_Told]", working: "list[Future[None]]") -> _Told:
    while True:
        with suppress(Empty):
            return told.get(timeout=1)
        for worker in working:
            if worker.done():
                worker.result()  # it raises what ended it


def _play(seeds: list[int], told: "Queue[_Told]") -> None:
    """Worlds one after the other, with a PostgreSQL and a disk of their own."""
    with memory() as folder, Disk(folder / "disk", _DISK_MIB) as disk, ExitStack() as stack:
        server = Postgres(where=disk.folder)
        stack.callback(server.close)
        for seed in seeds:
            place = place_of(seed)
            outcome: Outcome | str
            try:
                outcome = _played(seed, place, folder, server, disk)
            except AssertionError as e:
                outcome = _kept(f"seed-{seed}", str(e))
            except Exception:  # of the world itself; the others go on
                outcome = _kept(f"seed-{seed}", traceback.format_exc())
            told.put(_Told(seed, place, outcome))


def _played(seed: int, place: Place, folder: Path, server: Postgres, disk: Disk) -> Outcome:
    with TemporaryDirectory(dir=folder) as room:
        (disk.folder / f"seed{seed}").mkdir()
        try:
            server.ensure()
            given = server if place.database == "postgresql" else None
            return play(seed, place, Path(room), given, disk)
        finally:
            disk.clear(f"seed{seed}")
            server.ensure()
            server.forget()


def _kept(name: str, said: str) -> str:
    """The beginning of a long story, and the file that has all of it."""
    FAILED.mkdir(parents=True, exist_ok=True)
    file = FAILED / f"{name}.log"
    file.write_text(said)
    return f"{said[:1_000]}\n(all of it: {file})"


_COMMAND = "SEED=n make faults"
_HOW = {
    "kill": "at a moment, or at a write that the seed says",
    "clock": "of all servers, while they work",
    "freeze": "SIGSTOP for one and a half leases",
    "network-cut": "a proxy that swallows all, for up to five leases",
    "database-restart": "stopped at once (SIGQUIT), or every process killed",
    "connections-cut": "`pg_terminate_backend`, up to five times",
    "serialization": "a deferred trigger raises 40001 and 40P01; a lock on the events",
    "disk-full": "the file system filled to the last byte, for up to two seconds",
    "two-drivers": "each node drives every run all the time",
    "restate-away": "SIGKILL; half of the times its data is removed",
    "restate-node": "SIGKILL of one of three",
}
