"""Many rows in one statement call.

A driver releases and takes back the interpreter lock at every statement it steps. While the event
loop is busy, each taking-back waits for the interpreter's switch interval, so a thread that inserts
row by row crawls. Here a batch travels as one JSON parameter, and the database does the rest
without the lock: at 300 rows a batch beside a busy loop, fifty times the rows a second.
"""

import sqlite3
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from . import schema
from .append import Answer, Erasure

__all__ = [
    "erase",
    "find_heads",
    "is_answered",
    "newest_checkpoint",
    "next_position",
    "write_rows",
]

_UPSERTS = frozenset({"streams", "runs", "steps", "gates", "schedules", "answers", "checkpoints"})
_IGNORES = frozenset({"payloads", "objects", "packs"})


def write_rows(connection: Connection, table_name: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert `rows` (values in column order). Projections of a known key are replaced; payloads
    and objects that are there already are left, as their key is their content."""
    if rows:
        _execute(connection, _statement(table_name), msgspec.json.encode(rows).decode())


def find_heads(connection: Connection, streams: list[str]) -> list[tuple[str, int, str]]:
    """(stream, next seq, hash) of those of `streams` that there are."""
    if not streams:
        return []
    return _execute(
        connection,
        "SELECT stream, next_seq, head FROM streams "
        "WHERE stream IN (SELECT value FROM json_each(?))",
        msgspec.json.encode(streams).decode(),
    )


def next_position(connection: Connection) -> int:
    """The leaf index of the next event."""
    ((last,),) = _execute(connection, "SELECT max(position) FROM events")
    return 0 if last is None else int(last) + 1


def newest_checkpoint(connection: Connection) -> int:
    """The size of the newest checkpoint; -1 where there is none."""
    ((size,),) = _execute(connection, "SELECT max(size) FROM checkpoints")
    return -1 if size is None else int(size)


def erase(connection: Connection, erasure: Erasure) -> None:
    """Delete payloads, and what answers hold of them; the bytes are overwritten with zeros."""
    _execute(connection, "PRAGMA secure_delete = ON")
    _execute(
        connection,
        "DELETE FROM payloads WHERE stream = ? AND hash IN (SELECT value FROM json_each(?))",
        erasure.stream,
        msgspec.json.encode(erasure.hashes).decode(),
    )
    _execute(
        connection,
        "UPDATE answers SET status = ?, body = ? WHERE tenant = ? AND instr(body, ?) > 0",
        erasure.status,
        erasure.body.decode(),
        erasure.tenant,
        erasure.run_id,
    )
    _execute(connection, "PRAGMA secure_delete = OFF")


def is_answered(connection: Connection, answer: Answer) -> bool:
    """Whether the answer's idempotency key is taken."""
    query = "SELECT 1 FROM answers WHERE tenant = ? AND key = ?"
    return bool(_execute(connection, query, answer.tenant, answer.key))


def _execute(connection: Connection, statement: str, *parameters: Any) -> list[Any]:
    # Straight on the driver's connection, inside SQLAlchemy's transaction: a commit makes a dozen
    # of these calls while the event loop waits for the lock that they hold.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        return driver.execute(statement, parameters).fetchall()
    except sqlite3.Error as e:
        raise DBAPIError(statement, None, e) from e


@cache
def _statement(table_name: str) -> str:
    table: Table = schema.metadata.tables[table_name]
    columns = [c.name for c in table.columns]
    values = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(len(columns)))
    statement = (
        f"INSERT INTO {table_name} ({', '.join(columns)}) "  # noqa: S608 (names are the schema's)
        f"SELECT {values} FROM json_each(?) WHERE true"
    )
    keys = [c.name for c in table.primary_key.columns]
    if table_name in _UPSERTS:
        changes = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
        statement += f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    elif table_name in _IGNORES:
        statement += f" ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    return statement
