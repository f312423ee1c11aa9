"""Connections to PostgreSQL that outlive a test: with a new one the server begins by reading its
own catalogue, which is most of what a test of a few events costs."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from federation_core.ledger import postgresql
from federation_core.ledger.postgresql import PostgresDatabase

__all__ = ["Connections"]

_new_engine = postgresql._engine


class Connections:
    """The engines that nobody uses now. One in use belongs to one database object, as ever."""

    def __init__(self) -> None:
        self._idle: defaultdict[str, dict[int, list[Engine]]] = defaultdict(dict)

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

    def _take(self, url: URL, settings: dict[str, str], *, size: int, isolation: Any) -> Engine:
        idle = self._idle[_name(url)].get(size)
        return idle.pop() if idle else _new_engine(url, settings, size=size, isolation=isolation)

    def idle(self, name: str) -> int:
        """How many connections to a database are open, and used by nobody."""
        engines = [engine for each in self._idle[name].values() for engine in each]
        return sum(e.pool.checkedin() for e in engines if isinstance(e.pool, QueuePool))

    def forget(self, name: str) -> None:
        """Close those to a database."""
        for engines in self._idle.pop(name, {}).values():
            for engine in engines:
                engine.dispose()


def _name(url: URL) -> str:
    return str(url.database)
