"""Promise 6, at every place where the code makes something durable: the process is killed before
the write, and after it, and a client that asks again comes to the same end."""

import pytest
from tests.faults.chapters import CHAPTERS
from tests.faults.durable import ATTENDANT, COMMITS, MAY_END, ON_POSTGRESQL, TRIED_IN
from tests.faults.lives import FAILURE, Fault, Life
from tests.faults.theatre import Theatre

from federation_core.ledger import schema
from federation_core.spine.events import RUN_EVENTS

_FILES_OF_A_LEDGER = {"fedcore.db", "fedcore.lock", "secret.key", "signing.key"}


def answers(life: Life) -> dict[str, str]:
    """The first answer to each idempotency key, unless what it told was erased since."""
    told: dict[str, str] = {}
    for key, body in life.told:
        if key and "answer_erased" not in body:
            told.setdefault(key, body)
    return told


_REFUSED = ("rows of checkpoints", "delete payloads", "FC-STEP-001", "FC-STEP-002", "FC-KEY-001")
_PASSED = (
    *("rows of checkpoints", "rows of answers", "delete payloads", "rows of identity"),
    *("FC-RUN-001", "FC-STEP-001", "FC-STEP-002", "FC-GATE-003", "FC-SCHED-003", "FC-KEY-001"),
)
"""Commits of every kind that somebody waits for in a way of their own."""


@pytest.mark.parametrize(
    ("name", "when"),
    [*((n, "before") for n in TRIED_IN if n in COMMITS), *((n, "after") for n in TRIED_IN)],
)
def test_a_crash_beside_it(theatre: Theatre, name: str, when: str) -> None:
    """What is there before a file is written is there after the write that came before, which is
    tried as well. (`make faults` kills before and after every single write.)"""
    chapter = TRIED_IN[name]
    theatre.begin(chapter)
    killed = theatre.play(chapter, Fault("kill", name, when))
    assert killed.killed, killed.said
    again = theatre.played(chapter)
    theatre.check(killed, again)
    first = answers(killed)
    assert {k: v for k, v in answers(again).items() if k in first}.items() <= first.items()


@pytest.mark.parametrize(
    ("name", "when"),
    [*((name, "before") for name in _REFUSED), *((name, "after") for name in _PASSED)],
)
def test_a_failure_of_it(theatre: Theatre, name: str, when: str) -> None:
    """The database fails to commit; or it says so, and has committed. The process lives on, and
    the client asks again. (`make faults` fails every commit, either way.)"""
    chapter = TRIED_IN[name]
    theatre.begin(chapter)
    life = theatre.play(chapter, Fault("fail", name, when))
    assert not life.killed
    if life.status:  # it did not start, or did not do its one thing, and says why
        assert FAILURE in life.said, life.said
        assert name in MAY_END, life.said
    theatre.check(life, theatre.played(chapter))


@pytest.mark.parametrize("seconds", [3_600, -3_600])
@pytest.mark.parametrize("name", ["FC-STEP-004", "FC-GATE-001"])
def test_the_clock_steps_beside_it(theatre: Theatre, name: str, seconds: int) -> None:
    theatre.begin("work")
    theatre.check(theatre.played("work", Fault("clock", name, "after", 1, seconds)))


@pytest.mark.parametrize("name", ["FC-RUN-001", "FC-STEP-001", "FC-STEP-004"])
def test_a_crash_and_a_clock_that_was_set_back_meanwhile(theatre: Theatre, name: str) -> None:
    """What was to be done at once by the clock of then is not put off for an hour."""
    theatre.begin("work")
    killed = theatre.play("work", Fault("kill", name, "after"))
    assert killed.killed, killed.said
    set_back = Fault("clock", "open fedcore.lock", "before", 1, -3_600)
    theatre.check(killed, theatre.played("work", set_back))


def test_every_durable_write_is_known(theatre: Theatre) -> None:
    """Every chapter is played without a fault; what it writes is what is listed, seen from the two
    sides that there are, and what it leaves behind are the files that there should be."""
    made: dict[str, set[str]] = {}
    for chapter in CHAPTERS:
        theatre.begin(chapter)
        life = theatre.played(chapter, record=True)
        made[chapter] = {name for names in life.writes for name in names}
        unseen = {name for name in life.heard if not name.startswith("database ")} - made[chapter]
        assert not unseen, f"nothing can be killed at {unseen}: teach tests/faults/taps.py"
        connected = {f"close {name}" for name in life.heard if name.startswith("database ")}
        assert connected <= made[chapter]
        for names in life.writes:
            alone = all(name in ATTENDANT for name in names)
            assert not alone, f"{names} is a write of its own; list it in durable.TRIED_IN"
        assert {file.name for file in theatre.folder.iterdir()} == _FILES_OF_A_LEDGER
        theatre.check(life)
    assert set().union(*made.values()) == TRIED_IN.keys() | ATTENDANT.keys()
    assert {n for n, chapter in TRIED_IN.items() if n not in made[chapter]} == set()


def test_every_table_and_event_type_is_known() -> None:
    names = TRIED_IN.keys() | ATTENDANT.keys() | ON_POSTGRESQL.keys()
    assert {f"rows of {table}" for table in schema.metadata.tables} <= names
    assert RUN_EVENTS.keys() <= names
