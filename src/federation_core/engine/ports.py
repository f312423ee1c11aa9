"""What the engine needs from outside: a way to be woken, a clock, identifiers."""

import time
from collections.abc import Callable
from typing import Protocol

from uuid_utils import uuid7

from ..spine.times import Clock

__all__ = ["Clock", "Engine", "NewId", "new_id", "system_clock"]

NewId = Callable[[], str]


class Engine(Protocol):
    """Somebody drives a run on. Calling too often is harmless, for safety rests on the ledger."""

    def wake(self, run_id: str, delay: float = 0.0) -> None:
        """See to it that the run is driven, `delay` seconds from now."""
        ...


def system_clock() -> int:
    return time.time_ns() // 1000


def new_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): ids made later sort later."""
    return str(uuid7())
