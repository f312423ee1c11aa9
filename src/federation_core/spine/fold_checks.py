"""How a fold refuses an event, and how it takes a receipt into the chain."""

from typing import Any

from ..errors import IntegrityError, InvalidInput
from .canonical import ZERO_HASH
from .envelope import Event
from .receipts import receipt_hash
from .run import Run
from .times import from_rfc3339

__all__ = ["instant", "require", "require_allow", "take_receipt"]


def require(lawful: bool, event: Event, why: str) -> None:
    """Raises `IntegrityError` that names the event unless `lawful`."""
    if not lawful:
        raise IntegrityError(
            f"Event {event.seq} ({event.type}) of {event.stream} cannot be: {why}.",
            code="illegal_transition",
            stream=event.stream,
            seq=event.seq,
            type=event.type,
        )


def require_allow(run: Run, event: Event, action: str, gate_id: str | None = None) -> None:
    """The event before this one must be policy's allow of `action` for the same actor."""
    allow = (event.prev, action, gate_id, event.actor)
    require(run.cleared == allow, event, f"no decision allows {action}")


def instant(event: Event, text: str) -> int:
    """Microseconds of a time that stands in the data of `event`."""
    try:
        return from_rfc3339(text)
    except InvalidInput as e:
        raise IntegrityError(f"Event {event.seq} of {event.stream}: {e.detail}") from e


def take_receipt(
    run: Run, event: Event, receipt: dict[str, Any], digest: str, facts: dict[str, Any]
) -> None:
    """Append `digest` to the receipts of `run`, if it is the hash of `receipt`, links to the
    receipt before it, and `receipt` says what `facts` says, no more and no less."""
    previous = run.receipts[-1] if run.receipts else ZERO_HASH
    require(receipt.get("prev_receipt_hash") == previous, event, "its receipt breaks the chain")
    require(receipt == facts, event, "its receipt tells something else")
    require(receipt_hash(receipt) == digest, event, "its receipt has another hash")
    require(receipt_hash(facts) == digest, event, "its receipt tells something else")
    run.receipts.append(digest)
