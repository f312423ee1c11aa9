"""When a schedule ticks: a cron expression in a time zone.

Five fields, as in Debian's cron: minute, hour, day of the month, month, day of the week. Where a
clock is put forward or back:

- an expression whose minute and hour are both fixed (`30 2 * * *`) ticks once a day: a time that
  does not exist is made up for at the first minute that does, one that exists twice counts once;
- one whose minute or hour begins with `*` goes by time as it passes: it does not tick in an hour
  that does not exist, and ticks in both of one that exists twice.
"""

import re
from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from ..errors import FieldError, InvalidInput
from ..spine.times import to_rfc3339

__all__ = ["FIELDS", "Timetable", "never"]

FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 7),
}
"""The fields of an expression, and the numbers that they take (0 and 7 are Sunday)."""

_SPELLED = {"minute": 0, "hour": 1, "day-of-month": 2, "month": 3, "day-of-week": 4}
_HALF_HOUR = 1_800_000_000
_PLAIN = re.compile(r"[0-9A-Za-z*,/#-]{1,100}\Z")
_STEP = re.compile(r"/([0-9]+)")
_NOT_PLACES = frozenset({"localtime", "Factory"})  # what these mean differs between machines


class Timetable:
    """The ticks of one expression in one zone. Instants are microseconds since the epoch."""

    def __init__(self, cron: str, timezone: str) -> None:
        """Raises `InvalidInput` that names the field that is wrong, or the zone."""
        self._zone = _zone(timezone)
        self._cron = " ".join(_checked(cron))

    def after(self, instant: int) -> int | None:
        """The first tick after `instant`; None where there is none within fifty years.

        It depends on nothing but the instant, so that a schedule goes on after a restart, or on
        another machine, just as it would have gone on here.
        """
        at = self._search(instant)
        before = instant - 2 * _HALF_HOUR
        if at is None or (self._offset(at) - self._offset(before)) % 3600 == 0:
            return at
        # Clocks were moved by half an hour (Lord Howe Island), where the library, which goes by
        # whole hours, may step over a tick. From just before each half hour on it sees that one's.
        start = instant - instant % _HALF_HOUR + _HALF_HOUR
        while start < at:
            at = min(at, self._search(start - 1_000_000) or at)
            start += _HALF_HOUR
        return at

    def _search(self, instant: int) -> int | None:
        begin = datetime.fromtimestamp(instant // 1_000_000, self._zone)
        for tick in CronSim(self._cron, begin):
            at = int(tick.astimezone(UTC).timestamp()) * 1_000_000
            if at > instant:  # cronsim takes the second of two equal hours for the first
                return at
        return None

    def _offset(self, instant: int) -> float:
        """Seconds east of Greenwich."""
        offset = datetime.fromtimestamp(instant // 1_000_000, self._zone).utcoffset()
        return offset.total_seconds() if offset else 0.0

    def newest(self, first: int, now: int, limit: int) -> list[int]:
        """The last `limit` ticks from `first`, which is one, to `now`, the oldest first."""
        span = 3_600_000_000
        while True:
            begin = max(now - span, first - 1)
            found = self._between(begin, now)
            if len(found) >= limit or begin < first:
                return found[-limit:]
            span *= 4

    def _between(self, after: int, until: int) -> list[int]:
        found: list[int] = []
        tick = self.after(after)
        while tick is not None and tick <= until:
            found.append(tick)
            tick = self.after(tick)
        return found


def _checked(cron: str) -> list[str]:
    fields = cron.split()
    if len(fields) != len(FIELDS):
        _refuse(
            f"it has five fields ({', '.join(FIELDS)}), and {_shown(cron)} has {len(fields)}; "
            "0 6 * * 1-5 is six o'clock from Monday to Friday"
        )
    for name, field in zip(FIELDS, fields, strict=True):
        last = FIELDS[name][1]
        too_far = [step for step in _STEP.findall(field) if len(step) > 2 or int(step) > last]
        if not _PLAIN.match(field) or too_far:
            _refuse_field(name, field)
    try:
        CronSim(" ".join(fields), datetime.fromtimestamp(0, UTC))
    except CronSimError as e:
        index = _SPELLED.get(str(e).removeprefix("Bad "), -1)
        if index < 0:
            _refuse(f"{_shown(cron)} is no cron expression: {e}")
        _refuse_field(list(FIELDS)[index], fields[index])
    return fields


def _refuse_field(name: str, field: str) -> None:
    first, last = FIELDS[name]
    more = {
        "month": ", or JAN to DEC",
        "day of the week": ", or SUN to SAT, MON#1 for the first Monday, 5L for the last Friday",
        "day of the month": ", that the months named have; L for the last, LW for the last weekday",
    }.get(name, "")
    _refuse(
        f"its {name} is {_shown(field)}; it takes * or numbers from {first} to {last}{more}, "
        "with , for several, - for a range and / for a step"
    )


def _refuse(why: str) -> None:
    raise InvalidInput(f"The cron expression is refused: {why}.", errors=[FieldError("/cron", why)])


def _shown(text: str) -> str:
    return ascii(text[:100])


@cache
def _places() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_PLACES


def _zone(name: str) -> tzinfo:
    if name not in _places():
        why = "it is a name of the IANA time zone database, such as UTC or Europe/Berlin"
        raise InvalidInput(
            f"There is no time zone {_shown(name)}; {why}.", errors=[FieldError("/timezone", why)]
        )
    return UTC if name == "UTC" else ZoneInfo(name)


def never(cron: str, after: int) -> InvalidInput:
    """The refusal of an expression that is lawful and has no tick."""
    why = f"{_shown(cron)} has no tick within fifty years of {to_rfc3339(after)}"
    return InvalidInput(
        f"The cron expression is refused: {why}.", errors=[FieldError("/cron", why)]
    )
