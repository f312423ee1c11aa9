"""Opening the database: pragmas, migration, and the translation of its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ..errors import IntegrityError, LedgerUnavailable
from .schema import SCHEMA_HEAD

__all__ = ["Database", "translated"]

BUSY_MS = 2_000
"""How long to wait for a lock that another process holds before saying so."""


class Database:
    """One SQLite file in WAL mode with `synchronous=FULL`: a commit that returned is on the disk.

    `writer` is for one thread; its transactions begin IMMEDIATE, so that what it reads in them
    stays true until it commits. `reader` connections cannot write.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.writer = _engine(path, begin="BEGIN IMMEDIATE", query_only=False)
        self.reader = _engine(path, begin="BEGIN", query_only=True)

    def migrate(self) -> None:
        """Bring the schema to `SCHEMA_HEAD`. Raises `LedgerUnavailable` or `IntegrityError`."""
        with translated(), self.writer.connect() as connection:
            current = _revision(connection)
            if current == SCHEMA_HEAD:
                return
            _upgrade(connection, current)
            connection.commit()

    def forget(self) -> None:
        """After an erasure: bring what the write-ahead log still holds into the file, and empty
        it, as far as readers let go of it now."""
        with self.writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA busy_timeout = 0")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            driver.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def close(self) -> None:
        self.writer.dispose()
        self.reader.dispose()


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


def _revision(connection: Connection) -> str | None:
    found = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
    ).first()
    if found is None:
        return None
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return None if row is None else str(row[0])


def _upgrade(connection: Connection, current: str | None) -> None:
    # Alembic takes a while to import, and is needed once in a database's life.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", "federation_core.ledger:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, SCHEMA_HEAD)
    except CommandError as e:
        raise IntegrityError(
            f"The database has schema {current}, which this version does not know; "
            "start the version that wrote it, or a newer one.",
        ) from e


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours, with the driver's as the cause."""
    try:
        yield
    except DBAPIError as e:
        reason = str(e.orig)
        if isinstance(e.orig, sqlite3.DatabaseError) and "malformed" in reason:
            raise IntegrityError(f"The database is damaged: {reason}.") from e
        raise LedgerUnavailable(f"The ledger cannot be used now: {reason}.{_advice(reason)}") from e


def _advice(reason: str) -> str:
    for sign, advice in (
        ("full", " Free some disk space; nothing was written."),
        ("locked", " Another process holds it; nothing was written."),
        ("readonly", " Its file is read-only; nothing was written."),
        ("unable to open", " Check that its folder exists and may be written."),
    ):
        if sign in reason:
            return advice
    return ""
