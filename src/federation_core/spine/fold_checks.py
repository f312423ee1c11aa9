"""How a fold refuses an event, and how it takes a receipt into the chain."""

from typing import Any

from ..errors import IntegrityError
from .canonical import ZERO_HASH
from .envelope import Event
from .receipts import receipt_hash
from .run import Run

__all__ = ["require", "take_receipt"]


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


def take_receipt(run: Run, event: Event, receipt: dict[str, Any], digest: str, facts: Any) -> None:
    """Append `digest` to the receipts of `run`, if it is the hash of `receipt`, links to the
    receipt before it, and `receipt` says what `facts` (a dict of some of its members) says."""
    previous = run.receipts[-1] if run.receipts else ZERO_HASH
    require(receipt.get("prev_receipt_hash") == previous, event, "its receipt breaks the chain")
    told = all(receipt.get(key) == value for key, value in facts.items())
    require(told, event, "its receipt tells something else")
    require(receipt_hash(receipt) == digest, event, "its receipt has another hash")
    run.receipts.append(digest)
