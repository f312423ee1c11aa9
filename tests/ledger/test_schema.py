"""The migrations and the tables of the code are the same schema, and no other one is touched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from federation_core.errors import IntegrityError
from federation_core.ledger import Ledger
from federation_core.ledger.maintenance import rebuild
from federation_core.ledger.schema import SCHEMA_HEAD, metadata
from federation_core.ledger.sqlite import SqliteDatabase

BOOKKEEPING = "alembic_version"


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Connection]:
    database = SqliteDatabase(tmp_path / "migrated.db")
    database.migrate()
    with database.reader.connect() as connection:
        yield connection
    database.close()


@pytest.fixture
def fresh() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def columns(connection: Connection, table: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]


def indexes(connection: Connection) -> dict[str, str]:
    """Name → definition, without regard to spaces and quotes."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    found = connection.exec_driver_sql(query).all()
    return {name: " ".join(sql.replace('"', "").split()) for name, sql in found}


def tables(connection: Connection) -> set[str]:
    found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found}


def test_alembic_finds_no_difference(migrated: Connection) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True})
    assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_a_fresh_one_table_by_table(
    migrated: Connection, fresh: Connection
) -> None:
    assert tables(migrated) - {BOOKKEEPING} == tables(fresh) == set(metadata.tables)
    for table in metadata.tables:
        assert columns(migrated, table) == columns(fresh, table), table
    assert indexes(migrated) == indexes(fresh)


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fedcore.db"
    for _ in range(2):
        database = SqliteDatabase(path)
        database.migrate()
        database.close()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT version_num FROM {BOOKKEEPING}").fetchall()
    assert found == [(SCHEMA_HEAD,)]


async def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "fedcore.db")
    for engine in (database.writer, database.reader):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    database.close()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "fedcore.db"
    await (await Ledger.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {BOOKKEEPING} SET version_num = '9999'")
        connection.commit()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(IntegrityError, match="schema 9999"):
            await Ledger.open(path)
    with pytest.raises(IntegrityError, match="schema 9999"):
        rebuild(path)
    assert path.read_bytes() == before
