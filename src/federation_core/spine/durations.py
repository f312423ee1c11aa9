"""Durations as people write them in workflow files: `500ms`, `30s`, `1m`, `24h`, `7d`."""

import re

from ..errors import InvalidInput

__all__ = ["MAX_DURATION_MS", "parse_duration", "spoken"]

MAX_DURATION_MS = 366 * 86_400_000

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Milliseconds of a whole number and one unit (ms, s, m, h, d), at most 366 days.
    Raises `InvalidInput`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"{text[:40]!r} is not a duration; write a whole number and a unit, such as 30s "
            "(units: ms, s, m, h, d)."
        )
    duration = int(match[1]) * _UNITS[match[2]]
    if duration > MAX_DURATION_MS:
        raise InvalidInput(f"{text!r} is longer than 366 days, the longest duration there is.")
    return duration


def spoken(ms: int) -> str:
    """For people: `250 ms`, `1.5 s`, `3,600 s`."""
    return f"{ms} ms" if ms < 1_000 else f"{ms / 1_000:,.15g} s"
