"""Instants as whole microseconds since the epoch, and as RFC 3339 text in UTC with a `Z`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ..errors import InvalidInput

__all__ = ["from_rfc3339", "to_rfc3339"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def to_rfc3339(us: int) -> str:
    """`2026-11-23T12:00:00.000000Z`: always six digits, so that text sorts as time does."""
    seconds, rest = divmod(us, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


def from_rfc3339(text: str) -> int:
    """Microseconds of `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`. Raises `InvalidInput`."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as e:
        raise InvalidInput(f"{text!r} is not an RFC 3339 time such as 2026-11-23T12:00:00Z.") from e
    if instant.tzinfo is None:
        raise InvalidInput(f"{text!r} has no time zone; end it with Z.")
    return (instant - _EPOCH) // timedelta(microseconds=1)
