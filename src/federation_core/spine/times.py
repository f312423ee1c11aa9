"""Instants as whole microseconds since the epoch, and as RFC 3339 text in UTC with a `Z`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ..errors import InvalidInput

__all__ = ["Clock", "from_rfc3339", "to_rfc3339"]

Clock = Callable[[], int]
"""Tells the time, in microseconds since the epoch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def to_rfc3339(us: int) -> str:
    """`2026-11-23T12:00:00.000000Z`: always six digits, so that text sorts as time does. What lies
    beyond the year 9999, a gate that expires in a million years say, is its last microsecond."""
    seconds, rest = divmod(min(us, _LATEST), 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


def from_rfc3339(text: str) -> int:
    """Microseconds of `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`. Raises `InvalidInput`."""
    wrong = f"{text!r} is not an RFC 3339 time in UTC such as 2026-11-23T12:00:00Z."
    if not _FORM.fullmatch(text):
        raise InvalidInput(wrong)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as e:
        raise InvalidInput(wrong) from e
    return (instant - _EPOCH) // timedelta(microseconds=1)
