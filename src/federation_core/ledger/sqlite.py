"""SQLite: one file, one process."""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from .database import Database
from .exclusive import Exclusive

__all__ = ["SqliteDatabase"]

BUSY_MS = 2_000
"""How long to wait for a lock that another process holds before saying so."""


class SqliteDatabase(Database):
    """In WAL mode with `synchronous=FULL`. Transactions of the writer begin IMMEDIATE."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.writer = _engine(path, begin="BEGIN IMMEDIATE", query_only=False)
        self.reader = _engine(path, begin="BEGIN", query_only=True)

    def migrate(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        super().migrate()

    def lock(self, connection: Connection) -> None:
        """Its transaction has begun IMMEDIATE."""

    def take_time(self, connection: Connection) -> None:
        """It has all the time there is."""

    def alone(self) -> Exclusive:
        return Exclusive(self.path.parent)

    def exists(self) -> bool:
        return self.path.is_file()

    def forget(self) -> None:
        """Bring what the write-ahead log still holds into the file, and empty it, as far as readers
        let go of it now."""
        with self.writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA busy_timeout = 0")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            driver.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _engine(path: Path, *, begin: str, query_only: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=1 if not query_only else 4,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-65536")
        if query_only:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
