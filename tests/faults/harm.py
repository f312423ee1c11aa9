"""What the harness does to a world. Each kind counts itself under its key of `report.FAULTS`, and
leaves the world so that everything can come to its end."""

import shutil
import signal
import time
from collections.abc import Callable

import psycopg
from tests.faults.world import LEASE_S, Slot, World
from tests.postgres import Postgres
from tests.restate.restate_helpers import eventually

__all__ = [
    "clock_steps",
    "connections_cut",
    "disk_full",
    "frozen",
    "killed",
    "network_cut",
    "postgresql_restarted",
    "restate_away",
    "restate_node_killed",
    "transactions_refused",
]

Harm = Callable[[World], None]
_HOUR = 3_600
_WAIT_S = 6.0


def _one(world: World) -> tuple[Slot, str]:
    slot = world.rng.choice(world.slots)
    return slot, slot.name


def _database(world: World) -> tuple[Postgres, str]:
    """The PostgreSQL, and the URL of the database past every network that may be cut."""
    assert world.postgres is not None
    assert isinstance(world.target, str)
    return world.postgres, world.target


def killed(world: World) -> None:
    """A server is killed where it stands; most of those that follow at one of their writes."""
    slot, name = _one(world)
    world.down(slot, f"{name} is killed")
    if world.rng.random() < 0.7:
        when = world.rng.choice(["before", "after"])
        number = world.rng.choice([world.rng.randint(1, 20), world.rng.randint(9, 90)])
        server = world.up(slot, (number, when))
        end = time.monotonic() + _WAIT_S
        while server.process.poll() is None and world.is_busy and time.monotonic() < end:
            time.sleep(0.01)
        at = f"{when} write {number}" if server.was_killed else "before it came to that write"
        world.down(slot, f"{name} is killed {at}")
    world.up(slot)


def clock_steps(world: World) -> None:
    """The clock of all servers goes wrong by an hour, or right again."""
    seconds = world.rng.choice([_HOUR, -_HOUR, 0])
    world.clock.set(seconds)
    world.note("clock", f"the clock goes wrong by {seconds} s")


def frozen(world: World) -> None:
    """A node stands still for longer than its lease, and wakes."""
    slot, name = _one(world)
    assert slot.server is not None
    slot.is_reached = False
    world.reach()
    slot.server.process.send_signal(signal.SIGSTOP)
    world.note("freeze", f"{name} is frozen")
    time.sleep(LEASE_S * 1.5)
    slot.server.process.send_signal(signal.SIGCONT)
    slot.is_reached = True
    world.reach()


def network_cut(world: World) -> None:
    """Nothing comes through between a node and its database, for less or more than a lease, or so
    long that the node gives its connections up."""
    slot, name = _one(world)
    assert slot.network is not None
    slot.network.cut()
    seconds = world.pause(LEASE_S * 5)
    slot.network.heal()
    world.note("network-cut", f"{name} is cut off from the database for {seconds:.1f} s")


def postgresql_restarted(world: World) -> None:
    """PostgreSQL is stopped at once, or killed, and started again."""
    server, _ = _database(world)
    if world.rng.random() < 0.5:
        server.stop(signal.SIGQUIT)
    else:
        server.kill()
    world.pause(1)
    server.start()
    world.note("database-restart", "PostgreSQL is restarted")


def connections_cut(world: World) -> None:
    """Every connection of every server is ended, several times."""
    server, url = _database(world)
    name = url.rpartition("/")[2]
    for _ in range(world.rng.randint(1, 5)):
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
        world.pause(0.1)
    world.note("connections-cut", "every connection to PostgreSQL is cut")


def transactions_refused(world: World) -> None:
    """PostgreSQL gives up commits: as serialization failures, as deadlocks; and somebody holds a
    lock on the events meanwhile."""
    _, url = _database(world)
    with psycopg.connect(url, autocommit=True) as client:
        client.execute(_REFUSING)
        with client.transaction():
            client.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            world.pause(0.3)
            client.execute(_REFUSED)
        world.pause(1)
        client.execute("DROP FUNCTION refuse CASCADE")
    world.note("serialization", "PostgreSQL refuses transactions")


_REFUSING = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF random() < 0.05 THEN RAISE SQLSTATE '40001'; END IF;
  IF random() < 0.05 THEN RAISE SQLSTATE '40P01'; END IF;
  RETURN NULL;
END $$
"""
_REFUSED = """
CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON events
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""
"""Deferred, so that it is the COMMIT that fails."""


def disk_full(world: World) -> None:
    """There is no room left where the database is. PostgreSQL may stop, and is started again."""
    world.disk.fill()
    try:
        for _ in range(world.rng.randint(1, 10)):
            world.pause(0.2)
            world.disk.fill()
    finally:
        world.disk.free()
    if world.postgres is not None:
        world.postgres.ensure()
    world.note("disk-full", "no space is left for the database")


def restate_away(world: World) -> None:
    """Restate is killed, and comes back, with or without what it knew."""
    [server] = world.restates
    server.kill()
    world.pause(2)
    forgets = world.rng.random() < 0.5
    if forgets:
        shutil.rmtree(server.folder / "data")
    server.start()
    world.note("restate-away", f"Restate is killed{' and forgets everything' * forgets}")


def restate_node_killed(world: World) -> None:
    """One of Restate's servers is killed, and comes back when the others had time to go on."""
    server = world.rng.choice(world.restates)
    server.kill()
    world.pause(4)
    server.begin()
    eventually(server.answers)
    world.note("restate-node", f"{server.folder.name} of Restate is killed")
