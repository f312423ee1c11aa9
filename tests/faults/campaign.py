"""The long form: every write of every chapter, and servers under load by the seed.

What is counted here is what `results.json` says, and nothing else.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from tests.faults.chapters import CHAPTERS
from tests.faults.durable import COMMITS
from tests.faults.invariants import Findings
from tests.faults.lives import Fault, nursery
from tests.faults.outside import outside
from tests.faults.theatre import Beginnings, Theatre
from tests.faults.world import play

__all__ = ["Campaign", "Tally", "each_write", "under_load"]

EVERY = "*"
_HOUR = 3_600.0


class Campaign(msgspec.Struct):
    """A row of `results.json`; `tests/faults/report.py` says what the fields are."""

    fault: str
    how: str
    test: str
    database: str
    engine: str
    seeds: int = 0
    runs: int = 0
    kills: int = 0
    events_lost: int = 0
    effects_doubled: int = 0


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
        yield Path(folder)


def each_write() -> list[Tally]:
    """A fault beside each write of each chapter, one life for each."""
    program = "python -m tests.faults"
    killed = Tally(Campaign("kill", "before and after each, one by one", program, *_SQLITE))
    failed = Tally(
        Campaign("failed-write", "each commit fails, or says so and is done", program, *_SQLITE)
    )
    stepped = Tally(Campaign("clock", "after each write of a run, either way", program, *_SQLITE))
    with memory() as folder, outside() as service, nursery() as lives:
        beginnings = Beginnings(lives, service, folder)
        for chapter in CHAPTERS:
            room = folder / chapter
            room.mkdir()
            theatre = Theatre(room, lives, service, beginnings)
            theatre.begin(chapter)
            writes = theatre.played(chapter, record=True).writes
            say(f"{chapter}: {len(writes)} writes")
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


_SQLITE = ("sqlite", "local")


def _tried(tally: Tally, theatre: Theatre, chapter: str, fault: Fault) -> None:
    """A life with this fault, and one without it, which comes to the end."""
    where = f"{chapter}, {' '.join(map(str, fault))}"
    theatre.begin(chapter)
    life = theatre.play(chapter, fault)
    tally.campaign.kills += life.killed
    again = theatre.play(chapter)
    if again.status:
        tally.fail(where, again.said)
    else:
        tally.take(where, theatre.examine(life, again))


def under_load(seeds: list[int], *, each: Callable[[str], None] = say) -> list[Tally]:
    """Servers under load, killed where each seed says."""
    how = "under load, at a write or a moment that the seed says, and the clock stepped"
    tally = Tally(Campaign("kill", how, "SEED=n make faults", *_SQLITE))
    for seed in seeds:
        with memory() as folder:
            try:
                outcome = play(seed, folder)
            except AssertionError as e:
                tally.fail(f"seed {seed}", str(e))
                each(f"seed {seed}: FAILED")
            else:
                tally.campaign.kills += outcome.kills
                tally.take(f"seed {seed}", outcome.findings)
                each(f"seed {seed}: {outcome.runs} runs, {'; '.join(outcome.faults)}")
        tally.campaign.seeds += 1
    return [tally]
