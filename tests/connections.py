"""Connections to PostgreSQL that outlive a test: with a new one the server begins by reading its
own catalogue, which is most of what a test of a few events costs."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from federation_core.ledger import postgresql
from federation_core.ledger.postgresql import PostgresDatabase

__all__ = ["Connections"]

_new_engine = postgresql._engine

Opened = Callable[[psycopg.Connection[Any]], None]


class Connections:
    """The engines that nobody uses now. One in use belongs to one database object, as ever."""

    def __init__(self) -> None:
        self._idle: defaultdict[str, dict[int, list[Engine]]] = defaultdict(dict)
        self._told = WeakKeyDictionary[Engine, _Told]()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whoever closes a database here leaves its connections to the next who opens it."""

        def leave(database: PostgresDatabase) -> None:
            for engine, size in ((database.writer, 1), (database.reader, 6)):
                self._idle[_name(engine.url)].setdefault(size, []).append(engine)

        with (
            patch.object(postgresql, "_engine", self._take),
            patch.object(PostgresDatabase, "close", leave),
        ):
            yield

    def _take(
        self, url: URL, settings: dict[str, str], opened: Opened, *, size: int, isolation: Any
    ) -> Engine:
        idle = self._idle[_name(url)].get(size)
        if idle:
            engine = idle.pop()
        else:
            told = _Told()
            engine = _new_engine(url, settings, told, size=size, isolation=isolation)
            self._told[engine] = told
        self._told[engine].to(opened)
        return engine

    def idle(self, name: str) -> int:
        """How many connections to a database are open, and used by nobody."""
        engines = [engine for each in self._idle[name].values() for engine in each]
        return sum(e.pool.checkedin() for e in engines if isinstance(e.pool, QueuePool))

    def forget(self, name: str) -> None:
        """Close those to a database."""
        for engines in self._idle.pop(name, {}).values():
            for engine in engines:
                engine.dispose()


class _Told:
    """Tells the database object that has an engine now of each connection of it."""

    def __init__(self) -> None:
        self._open = WeakSet[psycopg.Connection[Any]]()

    def to(self, opened: Opened) -> None:
        self._opened = opened
        for connection in self._open:
            opened(connection)

    def __call__(self, connection: psycopg.Connection[Any]) -> None:
        self._open.add(connection)
        self._opened(connection)


def _name(url: URL) -> str:
    return str(url.database)
