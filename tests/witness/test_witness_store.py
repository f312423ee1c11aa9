"""The memory: it only grows, one asker at a time wins, and what was swapped in stays."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.witness.witness_helpers import LOG, ORIGIN, Log, witness_at

from federation_core.errors import OperatorError
from federation_core.witness import ForkedLog, Seen, StaleSize, Store, Witness, WitnessError
from federation_core.witness.errors import MemoryUnavailable
from federation_core.witness.store import Identity

A, B, C = Seen(1, b"a" * 32), Seen(2, b"b" * 32), Seen(2, b"c" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "witness.db"


def test_a_swap_takes_place_once(path: Path) -> None:
    store = Store(path)
    assert store.latest(ORIGIN) is None
    assert store.swap(ORIGIN, None, A)
    assert not store.swap(ORIGIN, None, B)
    assert store.latest(ORIGIN) == A
    assert store.swap(ORIGIN, A, B)
    assert not store.swap(ORIGIN, A, C)
    assert store.latest(ORIGIN) == B
    store.close()


def test_a_swap_from_what_was_never_there(path: Path) -> None:
    store = Store(path)
    assert not store.swap(ORIGIN, A, B)
    assert store.latest(ORIGIN) is None
    store.swap(ORIGIN, None, A)
    assert not store.swap(ORIGIN, Seen(1, b"x" * 32), B)
    assert store.latest(ORIGIN) == A
    store.close()


def test_logs_are_remembered_apart(path: Path) -> None:
    store = Store(path)
    store.swap("a", None, A)
    store.swap("b", None, B)
    assert (store.latest("a"), store.latest("b"), store.latest("c")) == (A, B, None)
    store.close()


def test_it_is_remembered_by_who_opens_it_again(path: Path) -> None:
    store = Store(path)
    store.swap(ORIGIN, None, A)
    store.close()
    again = Store(path)
    assert again.latest(ORIGIN) == A
    again.close()


def test_a_commit_is_on_the_disk(path: Path) -> None:
    store = Store(path)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    store.close()


def test_the_largest_size(path: Path) -> None:
    store = Store(path)
    largest = Seen(2**63 - 1, b"z" * 32)
    assert store.swap(ORIGIN, None, largest)
    assert store.latest(ORIGIN) == largest
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE logs SET size = 1",
        "UPDATE logs SET size = 2, root = zeroblob(32)",
        "UPDATE logs SET origin = 'other', size = 3",
        "DELETE FROM logs",
        "REPLACE INTO logs VALUES ('log.example/a', 5, zeroblob(31))",
        "INSERT INTO logs VALUES ('b', -1, zeroblob(32))",
        "INSERT INTO identity VALUES (2, 'b', zeroblob(32))",
    ],
)
def test_the_file_itself_refuses_what_no_witness_does(path: Path, statement: str) -> None:
    store = Store(path)
    store.swap(ORIGIN, None, B)
    with pytest.raises(sqlite3.IntegrityError):
        store._db.execute(statement)
    assert store.latest(ORIGIN) == B
    store.close()


def test_a_memory_belongs_to_one_witness(path: Path) -> None:
    store = Store(path)
    one, other = Identity("w1", b"1" * 32), Identity("w2", b"2" * 32)
    assert store.identity() is None
    assert store.belong_to(one) == one
    assert store.belong_to(other) == one
    assert store.identity() == one
    store.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough for one" * 100])
def test_a_file_that_is_no_memory(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(MemoryUnavailable) as caught:
        Store(path)
    assert isinstance(caught.value, OperatorError)
    assert str(path) in caught.value.detail


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(MemoryUnavailable):
        Store(path / "missing" / "witness.db")


def test_of_many_askers_at_once_one_wins(path: Path) -> None:
    """Eight connections, as eight processes have them, each with another tree."""
    stores = [Store(path) for _ in range(8)]
    trees = [Seen(1, bytes([n]) * 32) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda s, t: s.swap(ORIGIN, None, t), stores, trees))
    assert sum(won) == 1
    assert {store.latest(ORIGIN) for store in stores} == {trees[won.index(True)]}
    for store in stores:
        store.close()


def test_of_two_forks_that_two_processes_are_asked_for_one_is_cosigned(tmp_path: Path) -> None:
    logs = [LOG, *(Log(fork=n) for n in range(1, 8))]
    desks = [witness_at(tmp_path) for _ in logs]

    def ask(log: Log, witness: Witness) -> bool:
        try:
            return bool(witness.add_checkpoint(log.request(0, 8)))
        except StaleSize:
            return False

    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(ask, logs, [witness for _, witness in desks]))
    assert sum(granted) == 1
    winner = logs[granted.index(True)]
    for home, witness in desks:
        assert home.store.latest(ORIGIN) == Seen(8, winner.checkpoint(8).root)
        loser = logs[granted.index(False)]
        with pytest.raises(ForkedLog):
            witness.add_checkpoint(loser.request(8, 8))
        home.store.close()


class Faulty(Store):
    """Fails before it has written, or after."""

    when = "never"

    def swap(self, origin: str, old: Seen | None, new: Seen) -> bool:
        if self.when == "before":
            raise MemoryUnavailable("The disk is full.")
        done = super().swap(origin, old, new)
        if self.when == "after":
            raise MemoryUnavailable("The disk is gone.")
        return done


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_signed_where_the_memory_fails(tmp_path: Path, when: str) -> None:
    home, _ = witness_at(tmp_path)
    faulty = Faulty(tmp_path / "witness.db")
    broken = Witness(type(home)(home.verifier, home.key, faulty), [LOG.verifier])
    broken.add_checkpoint(LOG.request(0, 4))
    faulty.when = when
    with pytest.raises(WitnessError):
        broken.add_checkpoint(LOG.request(4, 8))
    seen = faulty.latest(ORIGIN)
    assert seen is not None
    assert seen.size == (4 if when == "before" else 8)
    faulty.when = "never"
    assert broken.add_checkpoint(LOG.request(seen.size, 8))
    with pytest.raises(WitnessError):
        broken.add_checkpoint(Log(fork=6).request(8, 8))
    faulty.close()
    home.store.close()


def test_a_memory_that_was_closed(path: Path) -> None:
    store = Store(path)
    store.close()
    for ask in (store.identity, lambda: store.latest(ORIGIN), lambda: store.swap(ORIGIN, None, A)):
        with pytest.raises(MemoryUnavailable):
            ask()
