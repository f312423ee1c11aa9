"""When a node counts as dead: by the database's clock, and where that one was set back."""

from collections.abc import Iterator

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


def set_clock(database: Database, microseconds: int) -> None:
    """Move the database's clock: a lease is then so much longer, or shorter, by it."""
    with database.writer.begin() as connection:
        connection.exec_driver_sql(f"UPDATE nodes SET lease_until = lease_until - {microseconds}")


def test_a_clock_that_is_set_back_keeps_no_dead_node_alive(
    database: Database, hours: Hours
) -> None:
    living, dead = Node(), Node()
    for node in (dead, living):
        assert check_in(database, node) == []
    set_clock(database, -_HOUR)
    for _ in range(3):  # first seen with the lease that the other clock makes of it
        hours.seconds += LEASE_S * 2 / 3
        assert check_in(database, living) == []
    hours.seconds += LEASE_S
    assert check_in(database, living) == [dead.id]
    with pytest.raises(NodeFenced):
        check_in(database, dead)


def test_a_node_that_lives_is_let_live_by_any_clock(database: Database, hours: Hours) -> None:
    living, other = Node(), Node()
    for _ in range(12):
        for node in (living, other):
            assert check_in(database, node) == []
        set_clock(database, -_HOUR)
        hours.seconds += LEASE_S / 3


def test_who_stood_still_itself_takes_nobody_for_dead(database: Database, hours: Hours) -> None:
    """Its own clock went on meanwhile; the other one renewed its lease all the while."""
    frozen, living = Node(), Node()
    for node in (living, frozen):
        assert check_in(database, node) == []
    for _ in range(12):
        hours.seconds += LEASE_S / 3
        set_clock(database, -int(LEASE_S * 1e6))  # nobody's lease runs out by the database
        assert check_in(database, living) == []
    assert check_in(database, frozen) == []
