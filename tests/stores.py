"""On which kind of database a test runs: the same tests run on each.

A conftest says `from tests.stores import each_store` to run its folder on all of them.
"""

import atexit
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from tests.postgres import Postgres

from federation_core.ledger.database import Target, open_database

__all__ = ["KINDS", "each_store", "execute", "postgres", "target_of"]

KINDS = ("sqlite", "postgresql")

_kind = ["sqlite"]
_urls: dict[Path, str] = {}


@cache
def postgres() -> Postgres:
    """The server of this process; it is gone with it."""
    server = Postgres()
    atexit.register(server.close)
    return server


@pytest.fixture(params=KINDS, autouse=True)
def each_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test on every kind of database."""
    _kind.append(request.param)
    try:
        if request.param == "sqlite":
            yield request.param
        else:
            with postgres().connections.kept():
                yield request.param
    finally:
        _kind.pop()
        for url in _urls.values():
            postgres().give_back(url)
        _urls.clear()


@cache
def _migrated() -> bytes:
    """A SQLite database with the tables of a ledger, and nothing in them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "fedcore.db")
        database = open_database(path)
        database.migrate()
        database.close()
        return path.read_bytes()


def target_of(folder: Path) -> Target:
    """The database that belongs to a data directory, always the same one."""
    if _kind[-1] == "sqlite":
        path = folder / "fedcore.db"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_migrated())
        return path
    if folder not in _urls:
        _urls[folder] = postgres().fresh_ledger()
    return _urls[folder]


def execute(target: Target, statement: str, *values: object) -> list[Any]:
    """One statement (`?` for its values) of somebody who holds the database; its rows."""
    if isinstance(target, Path):
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows
    with psycopg.connect(target, autocommit=True) as client:
        cursor = client.execute(statement.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []
