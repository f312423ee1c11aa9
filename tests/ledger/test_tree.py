"""The Merkle tree over the log: what is stored of it says the same as all leaves together."""

import sqlite3
from pathlib import Path

import pytest
from tests.ledger_helpers import fill

from federation_core.errors import IntegrityError
from federation_core.ledger import Ledger
from federation_core.ledger.sqlite import SqliteDatabase
from federation_core.ledger.tree import LogTree, load_tree, root_at, tile_hashes, tree_size
from federation_core.transparency import EMPTY_ROOT, CompactRange, leaf_hash


def leaf(i: int) -> bytes:
    return leaf_hash(i.to_bytes(4, "big"))


def test_the_tree_by_tiles_is_the_tree() -> None:
    """At every size up to past the first tile of level 1."""
    tree, whole = LogTree(), CompactRange()
    assert tree.root() == EMPTY_ROOT
    full = []
    for i in range(66_000):
        full += tree.append(leaf(i))
        whole.append(leaf(i))
        if i < 1_100 or i % 997 == 0 or i > 65_500:
            assert tree.root() == whole.root(), i + 1
    assert [(level, number) for level, number, _ in full[:3]] == [(0, 0), (0, 1), (0, 2)]
    assert len([1 for level, _, _ in full if level == 1]) == 1
    assert len(full) == 66_000 // 256 + 1


def test_a_copy_grows_apart() -> None:
    tree = LogTree()
    tree.append(leaf(0))
    copy = tree.copy()
    copy.append(leaf(1))
    assert (tree.size, copy.size) == (1, 2)
    assert tree.root() == leaf(0)


async def test_what_is_stored_is_the_tree(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "x.db")
    whole = CompactRange()
    roots = {0: EMPTY_ROOT}
    for count in (1, 254, 1, 1, 300, 3):
        for event in await fill(ledger, count):
            whole.append(bytes.fromhex(event.hash))
        roots[whole.size] = whole.root()
        assert (await ledger.tree()).root() == whole.root()
        stored = await ledger.read(load_tree)
        assert (stored.size, stored.root()) == (whole.size, whole.root())
    for size, root in roots.items():
        assert await ledger.read(root_at, size) == root
    await ledger.close()
    again = await Ledger.open(tmp_path / "x.db")
    await fill(again, 1)
    assert (await again.tree()).size == whole.size + 1
    await again.close()


async def test_a_tile_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "x.db")
    await fill(ledger, 3)
    with pytest.raises(IntegrityError, match="not whole"):
        await ledger.read(tile_hashes, 0, 0, 4)
    await ledger.close()
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute("UPDATE events SET hash = 'no hash' WHERE position = 1")
    db.close()
    ledger = await Ledger.open(tmp_path / "x.db")
    with pytest.raises(IntegrityError, match="no hashes"):
        await ledger.read(load_tree)
    await ledger.close()


async def test_a_log_that_was_begun_without_a_tree_gets_one(tmp_path: Path) -> None:
    """The migration makes the tiles that appending would have made."""
    ledger = await Ledger.open(tmp_path / "x.db")
    await fill(ledger, 600)
    root = (await ledger.tree()).root()
    await ledger.close()
    with sqlite3.connect(tmp_path / "x.db") as db:
        for table in ("tiles", "checkpoints", "packs", "nodes", "schedules"):
            db.execute(f"DROP TABLE {table}")
        db.execute("ALTER TABLE runs DROP COLUMN node")
        for table, column in (("runs", "executes_for"), ("steps", "awaits")):
            db.execute(f"DROP INDEX {table}_by_{column}")
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("UPDATE alembic_version SET version_num = '0001'")
    db.close()
    database = SqliteDatabase(tmp_path / "x.db")
    database.migrate()
    with database.reader.begin() as connection:
        assert tree_size(connection) == 600
        assert load_tree(connection).root() == root == root_at(connection, 600)
        tiles = connection.exec_driver_sql("SELECT level, number FROM tiles").all()
    assert tiles == [(0, 0), (0, 1)]
    database.close()
