"""Promise 3: every row that a query reads can be dropped, and comes out of the events equal."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import DATABASE, sql

from federation_core.errors import IntegrityError
from federation_core.evidence.audit import audit
from federation_core.ledger.maintenance import rebuild
from federation_core.ledger.schema import metadata
from federation_core.spine.events import RUN_EVENTS

SCHEDULE_EVENTS = ("FC-SCHED-001", "FC-SCHED-002", "FC-SCHED-003", "FC-SCHED-004")
PROJECTIONS = ("streams", "tiles", "runs", "steps", "gates", "workflows", "schedules")


def dump(folder: Path) -> dict[str, list[Any]]:
    """Every row of every table."""
    with closing(sqlite3.connect(folder / DATABASE)) as c:
        c.text_factory = bytes
        return {
            t: c.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in metadata.tables
        }


def key_of(table: str, row: tuple[Any, ...]) -> str:
    keys = [i for i, column in enumerate(metadata.tables[table].columns) if column.primary_key]
    return f"{table}/{'/'.join(str(row[i]) for i in keys)}"


def columns_of(table: str) -> list[str]:
    return [column.name for column in metadata.tables[table].columns]


def first_row(folder: Path, table: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = sql(folder, f"SELECT * FROM {table} WHERE rowid = 1")[0]
    return row


EVERY_COLUMN = [(table, column) for table in PROJECTIONS for column in columns_of(table)]


def test_the_history_holds_every_event_and_every_status(history: Path) -> None:
    types = {row[0] for row in sql(history, "SELECT type FROM events")}
    assert types >= RUN_EVENTS.keys() | {"FC-WF-001", "FC-POLICY-002", *SCHEDULE_EVENTS}
    statuses = {row[0] for row in sql(history, "SELECT status FROM runs")}
    assert statuses == {"pending", "running", "paused", "completed", "failed", "cancelled"}
    gates = {row[0] for row in sql(history, "SELECT status FROM gates")}
    assert gates == {"pending", "approved", "rejected", "expired", "bypassed"}


def test_rebuilding_an_honest_ledger_changes_nothing(history: Path) -> None:
    before = dump(history)
    told: list[tuple[int, int]] = []
    report = rebuild(history / DATABASE, lambda done, of: told.append((done, of)))
    assert report.differences == []
    assert report.rows == {table: len(before[table]) for table in PROJECTIONS}
    assert dump(history) == before
    assert told[-1] == (len(before["events"]), len(before["events"]))


def test_dropped_projections_come_back_as_they_were(history: Path) -> None:
    before = dump(history)
    for table in PROJECTIONS:
        sql(history, f"DELETE FROM {table}")
    report = rebuild(history / DATABASE)
    assert len(report.differences) == sum(len(before[table]) for table in PROJECTIONS)
    assert dump(history) == before


@pytest.mark.parametrize(("table", "column"), EVERY_COLUMN)
def test_a_changed_column_is_found_and_mended(history: Path, table: str, column: str) -> None:
    before, row = dump(history), first_row(history, table)
    sql(history, f"UPDATE {table} SET {column} = 'x' || {column} WHERE rowid = 1")
    changed = first_row(history, table)
    if changed == row:  # a null stays null
        sql(history, f"UPDATE {table} SET {column} = 7 WHERE rowid = 1")
        changed = first_row(history, table)
    report = rebuild(history / DATABASE)
    assert set(report.differences) == {key_of(table, row), key_of(table, changed)}
    assert dump(history) == before
    assert rebuild(history / DATABASE).differences == []


@pytest.mark.parametrize("table", PROJECTIONS)
@pytest.mark.parametrize("value", [b"\xff\xfe", 0, 1.5, "\ud7ff\0"])
def test_a_row_with_what_is_no_text_of_ours_is_found_and_mended(
    history: Path, table: str, value: object
) -> None:
    before, column = dump(history), columns_of(table)[-1]
    sql(history, f"UPDATE {table} SET {column} = ? WHERE rowid = 1", value)
    if isinstance(value, bytes):
        sql(history, f"UPDATE {table} SET {column} = CAST({column} AS TEXT) WHERE rowid = 1")
    report = rebuild(history / DATABASE)
    assert report.differences == [key_of(table, first_row(history, table))]
    assert dump(history) == before


@pytest.mark.parametrize("table", PROJECTIONS)
def test_a_removed_row_is_found_and_mended(history: Path, table: str) -> None:
    before, row = dump(history), first_row(history, table)
    sql(history, f"DELETE FROM {table} WHERE rowid = 1")
    assert rebuild(history / DATABASE).differences == [key_of(table, row)]
    assert dump(history) == before


@pytest.mark.parametrize("table", PROJECTIONS)
def test_an_invented_row_is_found_and_removed(history: Path, table: str) -> None:
    before = dump(history)
    row = tuple(f"fake {name}" for name in columns_of(table))
    sql(history, f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
    assert rebuild(history / DATABASE).differences == [key_of(table, row)]
    assert dump(history) == before


def test_events_that_do_not_hold_are_not_built_on(history: Path) -> None:
    sql(history, "DELETE FROM runs")
    sql(history, "UPDATE events SET body = replace(body, 'starter', 'somebody') WHERE position = 9")
    before = dump(history)
    with pytest.raises(IntegrityError):
        rebuild(history / DATABASE)
    assert dump(history) == before


@pytest.mark.parametrize("harm", ["DELETE FROM objects", "UPDATE objects SET body = body || ' '"])
def test_a_lost_or_changed_definition_is_not_built_on(history: Path, harm: str) -> None:
    sql(history, harm)
    before = dump(history)
    with pytest.raises(IntegrityError, match="definition"):
        rebuild(history / DATABASE)
    assert dump(history) == before
    assert audit(history / DATABASE).error is not None
