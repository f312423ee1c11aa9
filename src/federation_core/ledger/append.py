"""What is handed to the ledger in one piece: it is stored whole, or nothing of it is."""

from typing import Any

import msgspec

from ..spine.envelope import Event, Head

__all__ = ["Answer", "Append", "Payload"]


class Payload(msgspec.Struct, frozen=True):
    """A value from outside. `value` is its RFC 8785 form, `hash` the SHA-256 of that, or where
    there is a `salt` (64 hex digits) the salted hash."""

    hash: str
    value: bytes
    salt: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What was answered to a request with an idempotency key; `answered_at` in microseconds."""

    tenant: str
    key: str
    request_hash: str
    status: int
    body: bytes
    answered_at: int


class Append(msgspec.Struct):
    """`events` continue `stream` from `base`; `rows` are the projections they change
    (table → rows in the order of its columns); `objects` are texts by their SHA-256. Without
    events it only remembers an answer."""

    stream: str
    tenant: str
    base: Head
    events: list[Event]
    payloads: list[Payload] = []
    objects: dict[str, str] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {}
    answer: Answer | None = None

    @property
    def run_status(self) -> str | None:
        """The status that a run has afterwards; None for another stream."""
        rows = self.rows.get("runs")
        return rows[0][3] if rows else None

    @property
    def head(self) -> Head:
        """The head of the stream afterwards."""
        return self.events[-1].next_head
