"""What an operator does with a ledger at rest: rebuild its projections, and verify its record.

Both walk the stored bytes from the beginning and trust no row that can be derived from them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, select

from ..errors import FederationError, IntegrityError
from ..spine.canonical import salted_hash, sha256, sorted_json
from ..spine.definition import Workflow
from ..spine.envelope import Event, Head, decode
from ..spine.events import RUN_EVENTS, RunCreated
from ..spine.fold import replay
from ..spine.run import Run
from . import schema
from .bulk import write_rows
from .database import Database, translated
from .exclusive import Exclusive
from .projections import rows_of, workflow_row
from .queries import bodies

__all__ = ["Progress", "RebuildReport", "VerifyReport", "rebuild", "verify"]

Progress = Callable[[int, int], None]
"""Called with (done, of how many)."""

_PROJECTIONS = ("streams", "runs", "steps", "gates", "workflows")
_PAGE = 2_000


class RebuildReport(msgspec.Struct, frozen=True):
    """Rows by table, and the keys (`table/key`) of those that were not what the events say."""

    rows: dict[str, int]
    differences: list[str]


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is None where everything held; else what is wrong, and `position`, `stream` and
    `seq` name the first event that is."""

    events: int
    streams: int
    payloads: int
    error: str | None = None
    position: int | None = None
    stream: str | None = None
    seq: int | None = None


def _nothing(_done: int, _of: int) -> None:
    pass


def rebuild(path: Path, progress: Progress = _nothing) -> RebuildReport:
    """Drop the projections and make them again from the events, in one transaction.

    Raises `OperatorError` while a server uses the ledger, `IntegrityError` where the events
    themselves do not hold: then nothing is changed.
    """
    with Exclusive(path.parent):
        database = Database(path)
        database.migrate()
        try:
            with translated(), database.writer.begin() as connection:
                return _rebuild(connection, progress)
        finally:
            database.close()


def _rebuild(c: Connection, progress: Progress) -> RebuildReport:
    before = {name: _rows(c, schema.metadata.tables[name]) for name in _PROJECTIONS}
    for name in _PROJECTIONS:
        c.execute(schema.metadata.tables[name].delete())
    heads: dict[str, tuple[Any, ...]] = {}
    workflows: list[tuple[Any, ...]] = []
    total = c.execute(select(func.count()).select_from(schema.events)).scalar_one()
    for done, (_, event) in enumerate(_walk(c), 1):
        heads[event.stream] = (event.stream, event.seq + 1, event.hash, event.tenant)
        if event.type == "FC-WF-001":
            workflows.append(workflow_row(event))
        if done % _PAGE == 0:
            progress(done, total)
    write_rows(c, "streams", list(heads.values()))
    write_rows(c, "workflows", workflows)
    for run in _runs(c, list(heads)):
        for name, rows in rows_of(run, run.steps, run.gates).items():
            write_rows(c, name, rows)
    progress(total, total)
    after = {name: _rows(c, schema.metadata.tables[name]) for name in _PROJECTIONS}
    differences = [
        f"{name}/{'/'.join(map(str, key))}"
        for name in _PROJECTIONS
        for key in sorted(before[name].keys() | after[name].keys())
        if before[name].get(key) != after[name].get(key)
    ]
    return RebuildReport({name: len(after[name]) for name in _PROJECTIONS}, differences)


def _rows(c: Connection, table: Table) -> dict[tuple[Any, ...], str]:
    """Primary key → hash of the whole row."""
    keys = [i for i, column in enumerate(table.columns) if column.primary_key]
    return {
        tuple(row[i] for i in keys): sha256(sorted_json(list(row)))
        for row in c.execute(select(table))
    }


def _walk(c: Connection) -> Iterator[tuple[Any, Event]]:
    """Every event in log order, with its row."""
    position = -1
    while True:
        query = (
            select(schema.events)
            .where(schema.events.c.position > position)
            .order_by(schema.events.c.position)
            .limit(_PAGE)
        )
        rows = c.execute(query).all()
        for row in rows:
            yield row, _decode(row)
        if len(rows) < _PAGE:
            return
        position = rows[-1].position


def _decode(row: Any) -> Event:
    kinds = RUN_EVENTS if row.stream.startswith("run:") else {}
    try:
        return decode(row.body.encode(), kinds)
    except IntegrityError as e:
        raise _wrong(row, e.detail) from e


def _wrong(row: Any, why: str) -> IntegrityError:
    return IntegrityError(why, position=row.position, stream=row.stream, seq=row.seq)


def _runs(c: Connection, streams: list[str]) -> Iterator[Run]:
    definitions: dict[str, Workflow] = {}
    for stream in streams:
        if stream.startswith("run:"):
            yield _replay(c, stream, definitions)


def _replay(c: Connection, stream: str, definitions: dict[str, Workflow]) -> Run:
    events = [decode(body, RUN_EVENTS) for body in bodies(c, stream)]
    created = events[0].data
    definition = None
    if isinstance(created, RunCreated) and created.execution == "managed":
        digest = created.definition_hash or ""
        if digest not in definitions:
            definitions[digest] = _definition(c, stream, digest)
        definition = definitions[digest]
    return replay(events, definition)


def _definition(c: Connection, stream: str, digest: str) -> Workflow:
    text = c.execute(select(schema.objects.c.body).where(schema.objects.c.hash == digest)).scalar()
    if text is None or sha256(text.encode()) != digest:
        what = "is missing" if text is None else "was changed"
        raise IntegrityError(f"The definition {digest} {what}.", stream=stream, seq=0)
    return Workflow.from_canonical(text.encode())


def verify(path: Path, progress: Progress = _nothing) -> VerifyReport:
    """Check every stored byte: the log without holes, each event canonical and with its hash, each
    stream an unbroken chain, each run's life lawful, each payload and object what its hash says.

    Reads only, so it can run beside the server. Raises `LedgerUnavailable` where the file cannot
    be read as a ledger at all.
    """
    if not path.exists():
        raise FederationError(f"There is no ledger at {path}.", code="no_ledger")
    database = Database(path)
    try:
        with translated(), database.reader.begin() as connection:
            return _verify(connection, progress)
    finally:
        database.close()


def _verify(c: Connection, progress: Progress) -> VerifyReport:
    heads: dict[str, Head] = {}
    done = payloads = 0
    try:
        total = c.execute(select(func.count()).select_from(schema.events)).scalar_one()
        for row, event in _walk(c):
            _check_event(row, event, done, heads.get(event.stream, Head()))
            heads[event.stream] = event.next_head
            done += 1
            if done % _PAGE == 0:
                progress(done, total)
        _check_heads(c, heads)
        for _ in _runs(c, list(heads)):
            pass
        payloads = _check_contents(c)
        progress(total, total)
    except IntegrityError as e:
        facts = e.facts
        return VerifyReport(
            events=done,
            streams=len(heads),
            payloads=payloads,
            error=e.detail,
            position=facts.get("position", _position(c, facts)),
            stream=facts.get("stream"),
            seq=facts.get("seq"),
        )
    return VerifyReport(events=done, streams=len(heads), payloads=payloads)


def _check_event(row: Any, event: Event, position: int, head: Head) -> None:
    body = row.body.encode()
    if row.position != position:
        raise _wrong(row, f"The log has a hole: position {position} is missing.")
    if sorted_json(msgspec.json.decode(body)) != body:
        raise _wrong(row, "The event's bytes are not in their canonical form.")
    if event.hash != row.hash:
        raise _wrong(row, f"The event's bytes have the hash {event.hash}, stored is {row.hash}.")
    if (row.stream, row.seq, row.type) != (event.stream, event.seq, event.type):
        raise _wrong(row, "The event's row does not name the event.")
    if event.seq != head.seq:
        raise _wrong(row, f"Its stream goes on at {head.seq}, and the event has {event.seq}.")
    if event.prev != head.hash:
        raise _wrong(row, "It does not link to the event before it in its stream.")


def _check_heads(c: Connection, heads: dict[str, Head]) -> None:
    """A stream whose last events were removed is shorter than its recorded head."""
    for row in c.execute(select(schema.streams)):
        found = heads.get(row.stream, Head())
        if (found.seq, found.hash) != (row.next_seq, row.head):
            raise IntegrityError(
                f"Stream {row.stream} ends at {found.seq}, and was at {row.next_seq}.",
                stream=row.stream,
                seq=found.seq,
            )


def _check_contents(c: Connection) -> int:
    count = 0
    for row in c.execute(select(schema.payloads)):
        count += 1
        value = row.value.encode()
        found = salted_hash(value, bytes.fromhex(row.salt)) if row.salt else sha256(value)
        if found != row.hash:
            raise IntegrityError(f"The payload {row.hash} was changed.", stream=row.stream)
    for row in c.execute(select(schema.objects)):
        if sha256(row.body.encode()) != row.hash:
            raise IntegrityError(f"The object {row.hash} was changed.")
    return count


def _position(c: Connection, facts: dict[str, Any]) -> int | None:
    """Where in the log the event stands that a replay refused."""
    query = select(schema.events.c.position).where(
        schema.events.c.stream == facts.get("stream"), schema.events.c.seq == facts.get("seq")
    )
    position: int | None = c.execute(query).scalar()
    return position
