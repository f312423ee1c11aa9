"""Many rows in one statement call.

A driver releases and takes back the interpreter lock at every statement it steps. While the event
loop is busy, each taking-back waits for the interpreter's switch interval, so a thread that inserts
row by row crawls. Here a batch travels as one JSON parameter, and the database does the rest
without the lock: at 300 rows a batch beside a busy loop, fifty times the rows a second.
"""

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Table

from . import schema

__all__ = ["write_rows"]

_UPSERTS = frozenset({"streams", "runs", "steps", "gates", "answers"})
_IGNORES = frozenset({"payloads", "objects"})


def write_rows(connection: Connection, table_name: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert `rows` (values in column order). Projections of a known key are replaced; payloads
    and objects that are there already are left, as their key is their content."""
    if rows:
        parameter = msgspec.json.encode(rows).decode()
        connection.exec_driver_sql(_statement(table_name), (parameter,))


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
