"""What is handed to the ledger in one piece: it is stored whole, or nothing of it is."""

from collections.abc import Callable
from typing import Any

import msgspec

from ..spine.envelope import Event, Head

__all__ = ["Answer", "Append", "Erasure", "Payload"]


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


class Erasure(msgspec.Struct, frozen=True):
    """Payloads of `stream` to be deleted, and the answers of `tenant` that tell of `run_id`, which
    hold the same values, replaced by one that says so (`status` and `body`)."""

    stream: str
    hashes: tuple[str, ...]
    tenant: str
    run_id: str
    status: int
    body: bytes


class Append(msgspec.Struct):
    """`events` continue `stream` from `base`; `rows` are the projections they change
    (table → rows in the order of its columns); `objects` are texts by their SHA-256. Without
    events it only stores what else it has.

    `answer_at` makes the body of the `answer` from the leaf index of the first event, where it
    tells of that, which nobody knows before.

    `expects` are other streams that it rests on, and where they must still end. `wakes` are runs
    that have something to do once it is stored.

    With `after_checkpoint` it is stored only where the newest checkpoint has that size, -1 where
    there is none: compare-and-swap.
    """

    stream: str
    tenant: str
    base: Head
    events: list[Event]
    payloads: list[Payload] = []
    objects: dict[str, str] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {}
    answer: Answer | None = None
    answer_at: Callable[[int], bytes] | None = None
    erasures: list[Erasure] = []
    after_checkpoint: int | None = None
    expects: dict[str, Head] = {}
    wakes: tuple[str, ...] = ()

    @property
    def run_status(self) -> str | None:
        """The status that a run has afterwards; None for another stream."""
        rows = self.rows.get("runs")
        return rows[0][3] if rows else None

    @property
    def head(self) -> Head:
        """The head of the stream afterwards."""
        return self.events[-1].next_head
