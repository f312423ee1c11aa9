"""Reading for evidence packs: whole streams page by page, so that no run has to fit in memory."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, bindparam, select

from .append import Payload
from .schema import checkpoints, events, payloads

__all__ = [
    "CheckpointRow",
    "EventRow",
    "checkpoint_over",
    "event_rows",
    "payload_of",
    "stored_payloads",
]

PAGE = 500


class EventRow(msgspec.Struct, frozen=True):
    """A stored event; `position` is its leaf index, `hash` its leaf hash in hex."""

    position: int
    seq: int
    hash: str
    body: bytes


class CheckpointRow(msgspec.Struct, frozen=True):
    """A signed checkpoint: `root` in hex, `note` the note with the lines of its witnesses."""

    size: int
    root: str
    note: bytes
    witnesses: int


_page = (
    select(events.c.position, events.c.seq, events.c.hash, events.c.body)
    .where(
        events.c.stream == bindparam("stream"),
        events.c.seq >= bindparam("first"),
        events.c.seq < bindparam("end"),
    )
    .order_by(events.c.seq)
    .limit(PAGE)
)
_payload = select(payloads.c.hash, payloads.c.salt, payloads.c.value).where(
    payloads.c.stream == bindparam("stream"), payloads.c.hash == bindparam("hash")
)


def event_rows(c: Connection, stream: str, *, end: int = 2**53) -> Iterator[EventRow]:
    """The events of a stream in order, those with a `seq` below `end`; few are held at a time."""
    first = 0
    while True:
        rows = c.execute(_page, {"stream": stream, "first": first, "end": end}).all()
        for row in rows:
            yield EventRow(row.position, row.seq, row.hash, row.body.encode())
        if len(rows) < PAGE:
            return
        first = rows[-1].seq + 1


def stored_payloads(c: Connection, stream: str) -> Iterator[tuple[str, bool]]:
    """(hash, whether it is salted) of every payload that a stream still has, by hash."""
    after = ""
    while True:
        query = (
            select(payloads.c.hash, payloads.c.salt.is_not(None).label("salted"))
            .where(payloads.c.stream == stream, payloads.c.hash > after)
            .order_by(payloads.c.hash)
            .limit(PAGE)
        )
        rows = c.execute(query).all()
        for row in rows:
            yield row.hash, bool(row.salted)
        if len(rows) < PAGE:
            return
        after = rows[-1].hash


def payload_of(c: Connection, stream: str, digest: str) -> Payload | None:
    """One payload of a stream; None where it was erased."""
    row = c.execute(_payload, {"stream": stream, "hash": digest}).first()
    return None if row is None else Payload(row.hash, row.value.encode(), row.salt)


def checkpoint_over(c: Connection, index: int) -> CheckpointRow | None:
    """Of the checkpoints that cover the leaf `index`, the first with the most witnesses."""
    query = (
        select(checkpoints)
        .where(checkpoints.c.size > index)
        .order_by(checkpoints.c.witnesses.desc(), checkpoints.c.size)
        .limit(1)
    )
    row = c.execute(query).first()
    if row is None:
        return None
    note = f"{row.note}{row.cosignatures}"
    return CheckpointRow(row.size, row.root, note.encode(), row.witnesses)
