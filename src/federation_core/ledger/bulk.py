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
from sqlalchemy import BigInteger, Connection, Table
from sqlalchemy.exc import DBAPIError

from . import schema
from .append import Answer, Append, Erasure

__all__ = [
    "CHANNEL",
    "announce",
    "erase",
    "execute",
    "find_heads",
    "is_answered",
    "is_stored",
    "newest_checkpoint",
    "next_position",
    "write_rows",
]

CHANNEL = "fedcore"
"""Where a commit is announced to the other nodes: `<node> <first position> <end>`. Where the last
two are the same the node says that it goes."""

_UPSERTS = frozenset({"streams", "runs", "steps", "gates", "schedules", "answers", "checkpoints"})
_IGNORES = frozenset({"payloads", "objects", "packs", "meta"})


def write_rows(connection: Connection, table_name: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert `rows` (values in column order). Projections of a known key are replaced, by the last
    where a key comes twice; payloads and objects that are there already are left, as their key is
    their content."""
    if not rows:
        return
    if table_name in _UPSERTS:
        keys = _key_places(table_name)
        rows = list({tuple(row[i] for i in keys): row for row in rows}.values())
    statement = _insert(table_name, connection.dialect.name)
    execute(connection, statement, msgspec.json.encode(rows).decode())


def find_heads(connection: Connection, streams: list[str]) -> list[tuple[str, int, str]]:
    """(stream, next seq, hash) of those of `streams` that there are."""
    if not streams:
        return []
    return execute(
        connection,
        f"SELECT stream, next_seq, head FROM streams WHERE stream IN ({_texts(connection)})",  # noqa: S608
        msgspec.json.encode(streams).decode(),
    )


def next_position(connection: Connection) -> int:
    """The leaf index of the next event."""
    ((last,),) = execute(connection, "SELECT max(position) FROM events")
    return 0 if last is None else int(last) + 1


def newest_checkpoint(connection: Connection) -> int:
    """The size of the newest checkpoint; -1 where there is none."""
    ((size,),) = execute(connection, "SELECT max(size) FROM checkpoints")
    return -1 if size is None else int(size)


def erase(connection: Connection, erasure: Erasure) -> None:
    """Delete payloads, and what answers hold of them; SQLite overwrites the bytes with zeros."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        execute(connection, "PRAGMA secure_delete = ON")
    execute(
        connection,
        f"DELETE FROM payloads WHERE stream = ? AND hash IN ({_texts(connection)})",  # noqa: S608
        erasure.stream,
        msgspec.json.encode(erasure.hashes).decode(),
    )
    place = "instr(body, ?)" if is_sqlite else "strpos(body, ?)"
    execute(
        connection,
        f"UPDATE answers SET status = ?, body = ? WHERE tenant = ? AND {place} > 0",  # noqa: S608
        erasure.status,
        erasure.body.decode(),
        erasure.tenant,
        erasure.run_id,
    )
    if is_sqlite:
        execute(connection, "PRAGMA secure_delete = OFF")


def is_answered(connection: Connection, answer: Answer) -> bool:
    """Whether the answer's idempotency key is taken."""
    query = "SELECT 1 FROM answers WHERE tenant = ? AND key = ?"
    return bool(execute(connection, query, answer.tenant, answer.key))


def is_stored(connection: Connection, append: Append) -> bool:
    """Whether the events of `append` are there."""
    last = append.events[-1]
    query = "SELECT 1 FROM events WHERE stream = ? AND seq = ? AND hash = ?"
    return bool(execute(connection, query, last.stream, last.seq, last.hash))


def announce(connection: Connection, text: str) -> None:
    """Tell the other nodes, when this transaction commits (PostgreSQL's NOTIFY)."""
    execute(connection, "SELECT pg_notify(?, ?)", CHANNEL, text)


def execute(connection: Connection, statement: str, *parameters: Any) -> list[Any]:
    """Rows of one statement with `?` for its parameters. Raises `DBAPIError`.

    Straight on the driver's connection, inside SQLAlchemy's transaction: a commit makes a dozen of
    these calls while the event loop waits for the lock that they hold.
    """
    driver: Any = connection.connection.driver_connection
    try:
        if isinstance(driver, sqlite3.Connection):
            return driver.execute(statement, parameters).fetchall()
        cursor = driver.execute(statement.replace("?", "%s"), parameters)
        return list(cursor.fetchall()) if cursor.description else []
    except connection.dialect.loaded_dbapi.Error as e:
        if getattr(driver, "closed", False):
            connection.invalidate(e)
        raise DBAPIError(statement, None, e) from e


def _texts(connection: Connection) -> str:
    """The texts of a JSON list, as a query."""
    if connection.dialect.name == "sqlite":
        return "SELECT value FROM json_each(?)"
    return "SELECT json_array_elements_text(?::json)"


@cache
def _key_places(table_name: str) -> tuple[int, ...]:
    columns = schema.metadata.tables[table_name].columns
    return tuple(i for i, column in enumerate(columns) if column.primary_key)


@cache
def _insert(table_name: str, dialect: str) -> str:
    table: Table = schema.metadata.tables[table_name]
    columns = [c.name for c in table.columns]
    if dialect == "sqlite":
        values = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(len(columns)))
        source = "json_each(?)"
    else:
        values = ", ".join(
            f"(value ->> {i}){'::bigint' if isinstance(c.type, BigInteger) else ''}"
            for i, c in enumerate(table.columns)
        )
        source = "json_array_elements(?::json)"
    statement = (
        f"INSERT INTO {table_name} ({', '.join(columns)}) "  # noqa: S608 (names are the schema's)
        f"SELECT {values} FROM {source} WHERE true"
    )
    keys = [c.name for c in table.primary_key.columns]
    if table_name in _UPSERTS:
        changes = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
        statement += f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    elif table_name in _IGNORES:
        statement += f" ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    return statement
