"""A whole ledger from one database into another: the same bytes, the same hashes, the same root.

What follows from the record is not copied but made anew from it at the other end, as `rebuild`
does, and compared: so nothing that was wrong is carried along.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, select, tuple_

from ..errors import IntegrityError, OperatorError
from . import schema
from .bulk import write_rows
from .database import Database, Target, open_database, translated
from .maintenance import PROJECTIONS, Progress, rebuild_in, unheard
from .tree import load_tree

__all__ = ["CopyReport", "copy_ledger"]

_RECORD = (
    "meta",
    "events",
    "payloads",
    "objects",
    "checkpoints",
    "packs",
    "answers",
)
_LEFT = frozenset({"nodes"})
"""Who writes to a database is no part of the ledger in it."""

_PAGE = 1_000


class CopyReport(msgspec.Struct, frozen=True):
    """Rows by table; the events, and the root (hex) of the tree over them, at both ends."""

    rows: dict[str, int]
    events: int
    root: str


def copy_ledger(source: Target, target: Target, progress: Progress = unheard) -> CopyReport:
    """Copy the ledger at `source` into the empty database `target`, in one transaction.

    Raises `OperatorError` while a server uses either, or where `target` holds a ledger already;
    `IntegrityError` where the source's events do not hold. Then `target` is left empty, and
    `source` is never changed.
    """
    old, new = open_database(source), open_database(target)
    try:
        if not old.exists():
            raise OperatorError(f"There is no ledger at {old.name}.", code="no_ledger")
        if old.name == new.name:
            raise OperatorError("A ledger cannot be copied onto itself.", code="same_ledger")
        with old.alone():
            old.migrate()
            new.migrate()
            with new.alone():
                return _copied(old, new, progress)
    finally:
        old.close()
        new.close()


def _copied(old: Database, new: Database, progress: Progress) -> CopyReport:
    assert {*_RECORD, *PROJECTIONS, *_LEFT} == set(schema.metadata.tables)
    with (
        translated(),
        old.reader.begin() as source,
        new.writer.begin() as target,
    ):
        new.lock(target)
        new.take_time(target)
        _must_be_empty(target, new.name)
        total = sum(_count(source, name) for name in _RECORD)
        done, rows = 0, dict[str, int]()
        for name in _RECORD:
            rows[name] = 0
            for page in _pages(source, schema.metadata.tables[name]):
                write_rows(target, name, page)
                rows[name] += len(page)
                done += len(page)
                progress(done, total)
        report = rebuild_in(target, unheard)
        before, after = load_tree(source), load_tree(target)
        if (before.size, before.root()) != (after.size, after.root()):
            raise IntegrityError("The copy has another root than the original; it is not kept.")
        return CopyReport(rows | report.rows, after.size, after.root().hex())


def _must_be_empty(c: Connection, name: str) -> None:
    found = [t for t in (*_RECORD, *PROJECTIONS) if _count(c, t)]
    if found:
        raise OperatorError(
            f"The database {name} holds a ledger already; copy into an empty one.",
            code="target_not_empty",
        )


def _count(c: Connection, name: str) -> int:
    table = schema.metadata.tables[name]
    return int(c.execute(select(func.count()).select_from(table)).scalar_one())


def _pages(c: Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Every row, in the order of its key; few are held at a time."""
    keys = list(table.primary_key.columns)
    query = select(table).order_by(*keys).limit(_PAGE)
    places = [list(table.columns).index(key) for key in keys]
    last: tuple[Any, ...] | None = None
    while True:
        page = c.execute(query if last is None else query.where(_after(keys, last))).all()
        if page:
            yield [tuple(row) for row in page]
        if len(page) < _PAGE:
            return
        last = tuple(page[-1][i] for i in places)


def _after(keys: list[Any], last: tuple[Any, ...]) -> Any:
    return tuple_(*keys) > tuple_(*last)
