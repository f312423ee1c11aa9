"""When a node counts as dead: by the database's clock, and where that one was set back."""

from collections.abc import Callable, Iterator

import pytest

from federation_core.ledger import node as nodes
from federation_core.ledger.database import Database, open_database
from federation_core.ledger.node import LEASE_S, Node, NodeFenced

_HOUR = 3_600_000_000


class Hours:
    """The clock of this machine, which the nodes of a test share."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    made = Hours()
    monkeypatch.setattr(nodes, "_now", made)
    return made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


def check_in(database: Database, node: Node) -> list[str]:
    with database.writer.begin() as connection:
        database.lock(connection)
        found = node.check_in(connection)
    node.committed()
    return found


@pytest.fixture
def hour_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sets the database's clock back an hour, each time that it is called."""

    def step() -> None:
        monkeypatch.setattr(nodes, "NOW", f"({nodes.NOW} - {_HOUR})")

    return step


def test_a_clock_that_is_set_back_keeps_no_dead_node_alive(
    database: Database, hours: Hours, hour_back: Callable[[], None]
) -> None:
    living, dead = Node(), Node()
    for node in (dead, living):
        assert check_in(database, node) == []
    hour_back()
    hours.seconds += LEASE_S * 2 / 3
    assert check_in(database, living) == []
    hours.seconds += LEASE_S / 2
    assert check_in(database, living) == [dead.id]
    with pytest.raises(NodeFenced):
        check_in(database, dead)


def test_a_node_that_lives_is_let_live_by_any_clock(
    database: Database, hours: Hours, hour_back: Callable[[], None]
) -> None:
    living, other = Node(), Node()
    for _ in range(12):
        for node in (living, other):
            assert check_in(database, node) == []
        hour_back()
        hours.seconds += LEASE_S / 3


def test_a_node_is_let_live_for_its_own_lease(database: Database, hours: Hours) -> None:
    """Which may be longer than that of the one who looks."""
    long, short = Node(lease_s=LEASE_S * 5), Node()
    for node in (long, short):
        assert check_in(database, node) == []
    for _ in range(14):
        hours.seconds += LEASE_S / 3
        assert check_in(database, short) == []
    hours.seconds += LEASE_S / 2
    assert check_in(database, short) == [long.id]


def test_who_stood_still_is_dead_and_takes_nobody_for_dead(
    database: Database, hours: Hours
) -> None:
    """Its own clock went on meanwhile; the other one renewed its lease all the while."""
    frozen, living = Node(), Node()
    for node in (living, frozen):
        assert check_in(database, node) == []
    found = []
    for _ in range(12):
        hours.seconds += LEASE_S / 3
        found += check_in(database, living)
    assert found == [frozen.id]
    with pytest.raises(NodeFenced):
        check_in(database, frozen)
    assert check_in(database, living) == []
