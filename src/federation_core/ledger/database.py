"""The database under the ledger: what every kind offers, and the translation of its errors."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import IntegrityError, LedgerUnavailable
from .schema import SCHEMA_HEAD

__all__ = ["ROW_REFUSED", "Database", "Target", "open_database", "read_any_text", "translated"]

Target = Path | str
"""Where a ledger is: the file of a SQLite database, or the URL of a PostgreSQL one."""

ROW_REFUSED = "row_refused"
"""Code of the error for data that the database does not take, whoever else's are in the batch."""


class Database(ABC):
    """`writer` is for one thread; its transactions, once they hold `lock`, are alone: what they
    read stays true until they commit. `reader` connections see one state of the whole database for
    the length of a transaction, and cannot write.

    A commit that returned is on the disk.
    """

    writer: Engine
    reader: Engine
    name: str
    """For people; it holds no secret."""
    is_shared: bool
    """Whether other processes may write to it meanwhile."""

    def migrate(self) -> None:
        """Bring the schema to `SCHEMA_HEAD`. Raises `LedgerUnavailable` or `IntegrityError`."""
        with translated(), self.writer.connect() as connection:
            if _revision(connection) == SCHEMA_HEAD:
                return
            self.lock_schema(connection)
            current = _revision(connection)
            if current != SCHEMA_HEAD:
                _upgrade(connection, current)
            connection.commit()

    @abstractmethod
    def lock(self, connection: Connection) -> None:
        """Wait until no other transaction writes, and keep others from it until this one ends."""

    def lock_schema(self, connection: Connection) -> None:
        """Be the only one that migrates."""
        self.lock(connection)

    @abstractmethod
    def take_time(self, connection: Connection) -> None:
        """Let this transaction be idle for as long as it wants to."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[object]:
        """For as long as nobody else uses it. Raises `OperatorError` where somebody does."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a ledger already. Raises `LedgerUnavailable` where nobody can know."""

    @abstractmethod
    def forget(self) -> None:
        """After an erasure: overwrite, as far as it can be done now, what is left of the values."""

    def hang_up(self) -> None:  # noqa: B027 - a file answers, or fails
        """Break every connection to a server that does not answer: who waits for it is told that
        it is away. May be called from any thread."""

    def close(self) -> None:
        self.writer.dispose()
        self.reader.dispose()


def open_database(target: Target) -> Database:
    """Raises `SettingsError` for a URL or a server that cannot be used."""
    if isinstance(target, Path):
        from .sqlite import SqliteDatabase

        return SqliteDatabase(target)
    from .postgresql import PostgresDatabase

    return PostgresDatabase(target)


def read_any_text(connection: Connection) -> None:
    """Bytes that are not UTF-8 come as they are, so that they are found wrong where they stand.
    SQLite lets anything into a column; PostgreSQL does not."""
    raw: Any = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
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
    """Turn the driver's errors into ours, with the driver's as the cause. A `LedgerUnavailable`
    with the fact `again` may well succeed when it is tried at once."""
    try:
        yield
    except PoolTimeout as e:
        raise LedgerUnavailable("Every connection to the database is in use; try again.") from e
    except DBAPIError as e:
        if isinstance(e.orig, sqlite3.Error):
            raise _of_sqlite(str(e.orig), e.orig) from e
        raise _of_postgresql(e) from e


def _of_sqlite(reason: str, error: sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.DatabaseError) and "malformed" in reason:
        return IntegrityError(f"The database is damaged: {reason}.")
    advice = next((told for sign, told in _SQLITE_ADVICE if sign in reason), "")
    return LedgerUnavailable(f"The ledger cannot be used now: {reason}.{advice}")


_SQLITE_ADVICE = (
    ("full", " Free some disk space; nothing was written."),
    ("locked", " Another process holds it; nothing was written."),
    ("readonly", " Its file is read-only; nothing was written."),
    ("unable to open", " Check that its folder exists and may be written."),
)


def _of_postgresql(error: DBAPIError) -> Exception:
    """By SQLSTATE (PostgreSQL, appendix A); without one the connection itself is gone."""
    origin: Any = error.orig
    state: str = getattr(origin, "sqlstate", None) or "08000"
    first = (str(origin).strip() or type(origin).__name__).splitlines()[0].rstrip(".")
    if state[:2] in ("22", "23"):
        return LedgerUnavailable(f"The database refuses these data: {first}.", code=ROW_REFUSED)
    if state in ("XX001", "XX002"):
        return IntegrityError(f"The database is damaged: {first}.")
    advice = next((told for sign, told in _STATE_ADVICE if state.startswith(sign)), "")
    again = state[:2] in ("08", "40") or state in ("57P01", "57P02", "57P03", "25P03")
    return LedgerUnavailable(f"The ledger cannot be used now: {first}.{advice}", again=again)


_STATE_ADVICE = (
    ("53100", " Free some disk space on the database's server; nothing was written."),
    ("53300", " Allow the database more connections."),
    ("25006", " This server only reads; connect to the primary."),
    ("28", " Check the user and password of the database's URL."),
    ("3D", " Create the database first."),
    ("55P03", " Another node holds the log's lock; nothing was written."),
)
