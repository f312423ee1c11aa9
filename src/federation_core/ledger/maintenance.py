"""What an operator does with a ledger at rest: make its projections anew from the events.

It walks the stored bytes from the beginning and trusts no row that can be derived from them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, select

from ..errors import IntegrityError
from ..spine.canonical import canonical, sha256
from ..spine.definition import Workflow
from ..spine.envelope import Event, Head, decode
from ..spine.events import RUN_EVENTS, RunCreated
from ..spine.fold import apply
from ..spine.run import Run
from ..spine.schedule import Schedule
from . import schema
from .bulk import write_rows
from .database import Target, open_database, read_any_text, translated
from .evidence_queries import event_rows
from .projections import rows_of, workflow_row
from .schedules import followed, schedule_row
from .tree import LogTree

__all__ = ["PROJECTIONS", "Progress", "RebuildReport", "rebuild", "rebuild_in", "unheard"]

Progress = Callable[[int, int], None]
"""Called with (done, of how many)."""

PROJECTIONS = ("streams", "tiles", "runs", "steps", "gates", "workflows", "schedules")
_PAGE = 2_000


class RebuildReport(msgspec.Struct, frozen=True):
    """Rows by table, and the keys (`table/key`) of those that were not what the events say."""

    rows: dict[str, int]
    differences: list[str]


def unheard(_done: int, _of: int) -> None:
    """Progress that nobody is shown."""


def rebuild(target: Target, progress: Progress = unheard) -> RebuildReport:
    """Drop the projections and make them again from the events, in one transaction.

    Raises `OperatorError` while a server uses the ledger, `IntegrityError` where the events
    themselves do not hold: then nothing is changed.
    """
    database = open_database(target)
    try:
        with database.alone():
            database.migrate()
            with translated(), database.writer.begin() as connection:
                database.lock(connection)
                database.take_time(connection)
                read_any_text(connection)
                return rebuild_in(connection, progress)
    finally:
        database.close()


def rebuild_in(c: Connection, progress: Progress) -> RebuildReport:
    """The same, in a transaction of the caller's."""
    before = {name: _rows(c, schema.metadata.tables[name]) for name in PROJECTIONS}
    for name in PROJECTIONS:
        c.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608
    heads: dict[str, Head] = {}
    tenants: dict[str, str] = {}
    workflows: list[tuple[Any, ...]] = []
    schedules: dict[str, Schedule | None] = {}
    tree, tiles = LogTree(), list[tuple[int, int, str]]()
    total = c.execute(select(func.count()).select_from(schema.events)).scalar_one()
    for done, event in enumerate(_walk(c, heads), 1):
        tenants[event.stream] = event.tenant
        full = tree.append(bytes.fromhex(event.hash))
        tiles.extend((level, number, root.hex()) for level, number, root in full)
        if event.type == "FC-WF-001":
            workflows.append(workflow_row(event))
        elif event.stream.startswith("schedule:"):
            schedules[event.stream] = _follow(schedules.get(event.stream), event)
        if done % _PAGE == 0:
            progress(done, total)
    write_rows(c, "streams", [(s, h.seq, h.hash, tenants[s]) for s, h in heads.items()])
    write_rows(c, "tiles", tiles)
    write_rows(c, "workflows", workflows)
    write_rows(
        c, "schedules", [schedule_row(tenants[s], found) for s, found in schedules.items() if found]
    )
    for run in _runs(c, list(heads)):
        for name, rows in rows_of(run, run.steps, run.gates).items():
            write_rows(c, name, rows)
    progress(total, total)
    after = {name: _rows(c, schema.metadata.tables[name]) for name in PROJECTIONS}
    differences = [
        f"{name}/{'/'.join(map(str, key))}"
        for name in PROJECTIONS
        for key in sorted(before[name].keys() | after[name].keys(), key=repr)
        if before[name].get(key) != after[name].get(key)
    ]
    return RebuildReport({name: len(after[name]) for name in PROJECTIONS}, differences)


def _follow(schedule: Schedule | None, event: Event) -> Schedule | None:
    try:
        return followed(schedule, event)
    except IntegrityError as e:
        raise IntegrityError(e.detail, stream=event.stream, seq=event.seq) from e


def _rows(c: Connection, table: Table) -> dict[tuple[Any, ...], str]:
    """Primary key → hash of the whole row, whatever an intruder left in it."""
    keys = [i for i, column in enumerate(table.columns) if column.primary_key]
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return {
        tuple(row[i] for i in keys): sha256(repr(tuple(row)).encode())
        for row in c.exec_driver_sql(f"SELECT {names} FROM {table.name}")  # noqa: S608
    }


def _bytes(value: object) -> bytes:
    """What is stored in a column of text; nothing, where it is no text."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""


def _walk(c: Connection, heads: dict[str, Head]) -> Iterator[Event]:
    """Every event in log order, once it was found whole; `heads` are the ends of its streams."""
    position, first = 0, -(1 << 63)
    while True:
        query = (
            select(schema.events)
            .where(schema.events.c.position >= first)
            .order_by(schema.events.c.position)
            .limit(_PAGE)
        )
        rows = c.execute(query).all()
        for row in rows:
            event = _check(row, position, heads)
            heads[event.stream] = event.next_head
            position += 1
            yield event
        if len(rows) < _PAGE:
            return
        first = position


def _check(row: Any, position: int, heads: dict[str, Head]) -> Event:
    body = _bytes(row.body)
    if row.position != position:
        raise _wrong(row, f"The log has a hole: position {position} is missing.")
    is_run = str(row.stream).startswith("run:")
    try:
        event = decode(body, RUN_EVENTS if is_run else {})
    except IntegrityError as e:
        raise _wrong(row, e.detail) from e
    if not is_run and canonical(msgspec.json.decode(body)) != body:  # as `1.0` is not
        raise _wrong(row, "The event's bytes are not in their canonical form.")
    if event.hash != row.hash:
        raise _wrong(row, f"The event's bytes have the hash {event.hash}, stored is {row.hash}.")
    if (row.stream, row.seq, row.type) != (event.stream, event.seq, event.type):
        raise _wrong(row, "The event's row does not name the event.")
    head = heads.get(event.stream, Head())
    if event.seq != head.seq:
        raise _wrong(row, f"Its stream goes on at {head.seq}, and the event has {event.seq}.")
    if event.prev != head.hash:
        raise _wrong(row, "It does not link to the event before it in its stream.")
    return event


def _wrong(row: Any, why: str) -> IntegrityError:
    return IntegrityError(
        _plain(why), position=row.position, stream=_plain(row.stream), seq=row.seq
    )


def _plain(value: object) -> str:
    """For people: text that can be written anywhere."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _runs(c: Connection, streams: list[str]) -> Iterator[Run]:
    definitions: dict[str, Workflow] = {}
    for stream in streams:
        if stream.startswith("run:"):
            yield _replay(c, stream, definitions)


def _replay(c: Connection, stream: str, definitions: dict[str, Workflow]) -> Run:
    run: Run | None = None
    for row in event_rows(c, stream):
        event = decode(row.body, RUN_EVENTS)
        if run is None:
            run = Run(_definition_of(c, stream, event.data, definitions))
        try:
            apply(run, event)
        except IntegrityError as e:
            raise IntegrityError(e.detail, stream=stream, seq=event.seq) from e
    assert run is not None
    return run


def _definition_of(
    c: Connection, stream: str, created: Any, definitions: dict[str, Workflow]
) -> Workflow | None:
    if not isinstance(created, RunCreated) or created.execution != "managed":
        return None
    digest = created.definition_hash or ""
    if digest not in definitions:
        definitions[digest] = _definition(c, stream, digest)
    return definitions[digest]


def _definition(c: Connection, stream: str, digest: str) -> Workflow:
    text = c.execute(select(schema.objects.c.body).where(schema.objects.c.hash == digest)).scalar()
    if text is None or sha256(text.encode()) != digest:
        what = "is missing" if text is None else "was changed"
        raise IntegrityError(f"The definition {digest} {what}.", stream=stream, seq=0)
    return Workflow.from_canonical(text.encode())
