"""Which ticks of a schedule are to be done now: a pure function of when it was to tick and when
somebody looks."""

import msgspec

from ..spine.schedule import CatchUp
from .timetable import Timetable

__all__ = ["MAX_CATCH_UP", "MISSED_AFTER", "Planned", "plan"]

MAX_CATCH_UP = 1_000
"""Missed ticks that are made up for at most: the newest."""

MISSED_AFTER = 60_000_000
"""Microseconds after which a tick that nobody looked at counts as missed."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One tick to be recorded, with a run of its own unless it is `missed`. `skipped_from` is the
    first of the ticks before it that have none, `next_at` the tick after it. Microseconds."""

    at: int
    missed: bool
    skipped_from: int | None
    next_at: int | None


def plan(timetable: Timetable, catch_up: CatchUp, first: int, now: int) -> list[Planned]:
    """The ticks from `first`, which is due, to `now`, the oldest first."""
    due = timetable.newest(first, now, MAX_CATCH_UP if catch_up == "all" else 1)
    following = [*due[1:], timetable.after(due[-1])]
    missed = catch_up == "none" and now - due[-1] > MISSED_AFTER
    return [
        Planned(
            at=at,
            missed=missed,
            skipped_from=first if at == due[0] > first else None,
            next_at=next_at,
        )
        for at, next_at in zip(due, following, strict=True)
    ]
