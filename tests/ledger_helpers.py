"""Builders for tests of the ledger: appends that follow one another, and a store that is in use."""

import asyncio
import resource
import sqlite3
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from federation_core.ledger import Answer, Append, Ledger, Payload, queries
from federation_core.ledger.schema import events
from federation_core.ledger.writer import Writer
from federation_core.spine.actor import SYSTEM
from federation_core.spine.canonical import ZERO_HASH, sha256
from federation_core.spine.envelope import Event, Head, seal

__all__ = [
    "AT",
    "CLOCK",
    "answered",
    "cut_off",
    "fill",
    "follow",
    "full_disk",
    "held",
    "log_of",
    "no_more_writes",
    "stored",
]

AT = 1_795_435_200_000_000


def CLOCK() -> int:  # noqa: N802 (a clock that stands still)
    return AT


def follow(
    log: str,
    stream: str,
    after: Append | Head | None = None,
    *,
    count: int = 1,
    tenant: str = "t",
    **data: Any,
) -> Append:
    """An append of `count` events that goes on where `after` ends. A payload comes with it."""
    base = after.head if isinstance(after, Append) else after or Head()
    made: list[Event] = []
    for number in range(count):
        event = seal(
            log=log,
            stream=stream,
            tenant=tenant,
            head=made[-1].next_head if made else base,
            code="FC-TEST-001",
            data={"number": number, **data},
            actor=SYSTEM,
            at=AT,
        )
        made.append(event)
    value = f'"{stream} {base.seq}"'.encode()
    return Append(stream, tenant, base, made, payloads=[Payload(sha256(value), value)])


async def fill(ledger: Ledger, count: int, stream: str = "fill") -> list[Event]:
    """Append `count` events to a stream, wherever it ends."""
    base = await ledger.read(queries.head, stream)
    append = follow(ledger.log, stream, base, count=count)
    await ledger.append(append)
    return append.events


def answered(append: Append, key: str, *, body: bytes = b"{}") -> Append:
    """The same append, as the answer to an idempotency key."""
    append.answer = Answer(append.tenant, key, ZERO_HASH, 201, body, AT)
    return append


def log_of(connection: Connection) -> list[Any]:
    """Every row of the log, in order."""
    return list(connection.execute(select(events).order_by(events.c.position)))


async def stored(ledger: Ledger) -> list[str]:
    """Hashes of the log's events; checks on the way that positions have no holes."""
    rows = await ledger.read(log_of)
    assert [row.position for row in rows] == list(range(len(rows)))
    return [row.hash for row in rows]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Somebody else writes to the database: what is appended meanwhile waits, and gathers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def full_disk(ledger: Ledger) -> Iterator[None]:
    """No page more than there are. SQLite keeps that limit for each connection, and a pool may hand
    out another than the last: so each is told as it is taken."""
    most = 0

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most or 1_000_000}")

    writer = ledger._database.writer
    with closing(writer.raw_connection()) as connection:
        most = connection.cursor().execute("PRAGMA page_count").fetchone()[0]
    event.listen(writer, "checkout", limit)
    yield
    most = 0


@contextmanager
def no_more_writes() -> Iterator[None]:
    """The operating system refuses every write past a file's first page: commits fail where they
    touch the disk, not before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def cut_off(monkeypatch: pytest.MonkeyPatch, call: Coroutine[Any, Any, Any]) -> None:
    """Cancel the call once what it stores is on its way."""
    submit, calls = Writer.submit, [asyncio.ensure_future(call)]
    [calling] = calls

    def cutting(self: Writer, append: Append) -> "asyncio.Future[None]":
        stored = submit(self, append)
        if calls:
            asyncio.get_running_loop().call_soon(calls.pop().cancel)
        return stored

    monkeypatch.setattr(Writer, "submit", cutting)
    with pytest.raises(asyncio.CancelledError):
        await calling
