"""Promise 6, at every place where the code makes something durable: the process is killed before
the write, and after it, and a client that asks again comes to the same end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.chapters import BEGINNINGS, CHAPTERS
from tests.faults.durable import ATTENDANT, TRIED_IN
from tests.faults.invariants import Acknowledged, check, shown
from tests.faults.lives import Kill, Life, Nursery
from tests.faults.outside import Outside

from federation_core.ledger import schema
from federation_core.spine.events import RUN_EVENTS

Begin = Callable[[tuple[str, ...], Path], Path]

_FILES_OF_A_LEDGER = {"fedcore.db", "fedcore.lock", "secret.key", "signing.key"}


def acknowledged(*lives: Life) -> list[Acknowledged]:
    return [event for life in lives for _, body in life.told for event in shown(json.loads(body))]


def answers(life: Life) -> dict[str, str]:
    """The first answer to each idempotency key."""
    told: dict[str, str] = {}
    for key, body in life.told:
        if key:
            told.setdefault(key, body)
    return told


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", TRIED_IN)
def test_a_crash_beside_it(
    room: Path, lives: Nursery, service: Outside, begin: Begin, name: str, when: str
) -> None:
    chapter = TRIED_IN[name]
    folder = begin(BEGINNINGS[chapter], room)
    killed = lives.live(folder, chapter, service.url, Kill(name, when))
    assert killed.killed, killed.said
    again = lives.live(folder, chapter, service.url)
    assert again.status == 0, again.said
    check(folder, service, acknowledged(killed, again))
    first, second = answers(killed), answers(again)
    assert {k: v for k, v in second.items() if k in first and "answer_erased" not in v}.items() <= (
        first.items()
    )


def test_every_durable_write_is_known(
    room: Path, lives: Nursery, service: Outside, begin: Begin
) -> None:
    """Every chapter is played without a fault; what it writes is what is listed, seen from the two
    sides that there are, and what it leaves behind are the files that there should be."""
    made: dict[str, set[str]] = {}
    for chapter in CHAPTERS:
        stage = room / chapter
        folder = begin(BEGINNINGS[chapter], stage)
        life = lives.live(folder, chapter, service.url, record=True)
        assert life.status == 0, life.said
        made[chapter] = {name for names in life.writes for name in names}
        unseen = {name for name in life.heard if not name.startswith("database ")} - made[chapter]
        assert not unseen, f"nothing can be killed at {unseen}: teach tests/faults/taps.py"
        connected = {f"close {name}" for name in life.heard if name.startswith("database ")}
        assert connected <= made[chapter]
        _check_attendants(life)
        assert {file.name for file in folder.iterdir()} == _FILES_OF_A_LEDGER
        check(folder, service, acknowledged(life))
    known = TRIED_IN.keys() | ATTENDANT.keys()
    assert set().union(*made.values()) == known
    assert {n for n, chapter in TRIED_IN.items() if n not in made[chapter]} == set()


def _check_attendants(life: Life) -> None:
    for names in life.writes:
        alone = all(name in ATTENDANT for name in names)
        assert not alone, f"{names} is a write of its own; list it in durable.TRIED_IN"


def test_every_table_and_event_type_is_known() -> None:
    names = TRIED_IN.keys() | ATTENDANT.keys()
    assert {f"rows of {table}" for table in schema.metadata.tables} <= names
    assert RUN_EVENTS.keys() <= names
