"""PostgreSQL, 14 or newer: one database, many nodes.

Appends take one advisory transaction lock, so leaf positions are gap-free and in commit order; a
sequence would leave holes where a transaction is rolled back.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from ..errors import OperatorError, SettingsError
from .bulk import CHANNEL
from .database import Database, translated
from .node import NOW

__all__ = ["PostgresDatabase"]

_Connection = psycopg.Connection[Any]

_APPEND_LOCK = 0x0FEDC0DE01
_SCHEMA_LOCK = 0x0FEDC0DE02
_OLDEST = 14

_WRITER = {
    "synchronous_commit": "on",
    # A node that freezes in the middle of a transaction must not keep the lock from the others.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
}
_READER = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "10min"}

_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    # A network that swallows packets is noticed within seconds, not hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "federation-core",
}


class PostgresDatabase(Database):
    """`url` as libpq knows it: `postgresql://user:password@host:port/database?sslmode=…`."""

    is_shared = True

    def __init__(self, url: str) -> None:
        """Raises `SettingsError` for a URL that cannot be read."""
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError) as e:
            raise SettingsError("The URL of the PostgreSQL database cannot be read.") from e
        self._url = parsed
        self.name = parsed.render_as_string(hide_password=True).replace("+psycopg", "", 1)
        self._open = WeakSet[_Connection]()
        self._opening = threading.Lock()
        self.writer = _engine(parsed, _WRITER, self._opened, size=1, isolation="READ COMMITTED")
        self.reader = _engine(parsed, _READER, self._opened, size=6, isolation="REPEATABLE READ")

    def migrate(self) -> None:
        self._check_server()
        super().migrate()

    def _check_server(self) -> None:
        with translated(), self.reader.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if int(version) < _OLDEST * 10_000:
            raise SettingsError(f"PostgreSQL {_OLDEST} or newer is needed; {self.name} is older.")
        if encoding != "UTF8":
            raise SettingsError(f"The database must have the encoding UTF8, not {encoding}.")

    def lock(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_APPEND_LOCK})")

    def take_time(self, connection: Connection) -> None:
        for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")

    def lock_schema(self, connection: Connection) -> None:
        self.take_time(connection)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")

    @contextmanager
    def alone(self) -> Iterator[None]:
        with translated(), self.reader.connect() as connection:
            live = f"fenced = 0 AND lease_until > {NOW}"
            query = f"SELECT node FROM nodes WHERE {live}"  # noqa: S608
            nodes = [row.node for row in connection.exec_driver_sql(query)]
        if nodes:
            raise OperatorError(
                f"{_nodes(len(nodes))} the database {self.name}; stop what runs, and wait until "
                "its lease has run out (some seconds, also of one that a restored dump tells of).",
                code="database_in_use",
            )
        yield

    def exists(self) -> bool:
        with translated(), self.reader.connect() as connection:
            found = connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar()
            return found is not None

    def forget(self) -> None:
        """Free the rows that were deleted; their bytes stay until the space is used again."""
        with self.writer.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            try:
                driver.execute("VACUUM payloads, answers")
            finally:
                driver.autocommit = False

    def _opened(self, connection: _Connection) -> None:
        with self._opening:
            self._open.add(connection)

    def hang_up(self) -> None:
        # A server that stands still while its machine acknowledges what comes: TCP sees no fault.
        with self._opening:
            connections = list(self._open)
        for connection in connections:
            with suppress(psycopg.Error, OSError), socket.socket(fileno=_copied(connection)) as s:
                s.shutdown(socket.SHUT_RDWR)

    def listen(self) -> _Connection:
        """A connection of its own on which commits are announced. Raises `psycopg.Error`."""
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(plain, autocommit=True, **_CONNECT)
        self._opened(connection)
        connection.execute(f"LISTEN {CHANNEL}".encode())
        return connection


def _copied(connection: _Connection) -> int:
    """A descriptor of its socket that may be closed."""
    return os.dup(connection.fileno())


def _engine(
    url: URL,
    settings: dict[str, str],
    opened: Callable[[_Connection], None],
    *,
    size: int,
    isolation: Any,
) -> Engine:
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0 if size == 1 else 4,
        pool_timeout=10,
        pool_pre_ping=size > 1,
        isolation_level=isolation,
        connect_args=_CONNECT,
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: _Connection, _record: object) -> None:
        opened(connection)
        before = connection.autocommit
        connection.autocommit = True
        for name, value in settings.items():
            connection.execute(f"SET {name} = '{value}'".encode())
        connection.autocommit = before

    return engine


def _nodes(count: int) -> str:
    return "1 node uses" if count == 1 else f"{count} nodes use"
