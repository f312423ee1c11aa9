"""The fold of a schedule: what may follow what, and the ids of its runs."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from federation_core.errors import IntegrityError
from federation_core.spine.schedule import Schedule, follow, schedule_stream, tick_run_id
from federation_core.spine.times import from_rfc3339, to_rfc3339

HASH = "0" * 64


def at(minute: int) -> str:
    return to_rfc3339(from_rfc3339("2026-11-23T12:00:00Z") + minute * 60_000_000)


def run_of(minute: int, tenant: str = "t", schedule_id: str = "s") -> str:
    return tick_run_id(tenant, schedule_id, from_rfc3339(at(minute)))


ADDED: dict[str, Any] = {
    "schedule_id": "s",
    "workflow_id": "wf",
    "cron": "* * * * *",
    "timezone": "UTC",
    "catch_up": "all",
    "input_hash": HASH,
    "metadata_hash": HASH,
    "actor_kind": "service",
    "next_at": at(1),
}
REMOVED = {"schedule_id": "s"}
PAUSED = {"schedule_id": "s", "paused": True}
RESUMED = {"schedule_id": "s", "paused": False, "next_at": at(9)}

Event = tuple[str, dict[str, Any]]


def ticked(minute: int, **facts: Any) -> dict[str, Any]:
    usual = {"at": at(minute), "outcome": "created", "next_at": at(minute + 1)}
    told = {"schedule_id": "s", **usual, **facts}
    if told["outcome"] in ("created", "denied"):
        told.setdefault("run_id", run_of(minute))
    return told


def lived(*events: Event) -> Schedule | None:
    schedule: Schedule | None = None
    for code, data in events:
        schedule = follow(
            schedule,
            code,
            data,
            stream=schedule_stream("t", "s"),
            tenant="t",
            actor="ann",
            via=None,
            at=at(0),
        )
    return schedule


def added() -> Event:
    return ("FC-SCHED-001", ADDED)


def test_a_life() -> None:
    schedule = lived(
        ("FC-POLICY-001", {"decision": "allow"}),
        added(),
        ("FC-SCHED-003", ticked(1)),
        ("FC-SCHED-003", ticked(4, skipped_from=at(2), outcome="missed")),
        ("FC-SCHED-003", ticked(5, outcome="refused", error_code="x", reason="y")),
        ("FC-SCHED-004", PAUSED),
        ("FC-SCHED-004", RESUMED),
    )
    assert schedule is not None
    assert (schedule.status, schedule.next_at, schedule.actor_id) == ("active", at(9), "ann")
    assert schedule.last_tick is not None
    assert (schedule.last_tick.at, schedule.last_tick.error_code) == (at(5), "x")
    again = lived(added(), ("FC-SCHED-002", REMOVED), added())
    assert again == lived(added())


def test_an_attempt_that_was_refused_leaves_no_schedule() -> None:
    assert lived(("FC-POLICY-001", {}), ("FC-AUTH-001", {})) is None


UNLAWFUL: dict[str, list[Event]] = {
    "a tick twice": [added(), ("FC-SCHED-003", ticked(1)), ("FC-SCHED-003", ticked(1))],
    "an earlier tick": [added(), ("FC-SCHED-003", ticked(1)), ("FC-SCHED-003", ticked(0))],
    "a tick passed over in silence": [added(), ("FC-SCHED-003", ticked(2))],
    "a hole before what was passed over": [
        added(),
        ("FC-SCHED-003", ticked(5, skipped_from=at(2))),
    ],
    "passed over what is later": [added(), ("FC-SCHED-003", ticked(0, skipped_from=at(1)))],
    "the next tick is this one": [added(), ("FC-SCHED-003", ticked(1, next_at=at(1)))],
    "another tick's run": [added(), ("FC-SCHED-003", ticked(1, run_id=run_of(2)))],
    "another tenant's run": [added(), ("FC-SCHED-003", ticked(1, run_id=run_of(1, "u")))],
    "no run": [added(), ("FC-SCHED-003", ticked(1, run_id=None))],
    "a run that was missed": [
        added(),
        ("FC-SCHED-003", ticked(1, outcome="missed", run_id=run_of(1))),
    ],
    "a tick of none": [("FC-SCHED-003", ticked(1))],
    "a tick of what was removed": [
        added(),
        ("FC-SCHED-002", REMOVED),
        ("FC-SCHED-003", ticked(1)),
    ],
    "a tick of what is paused": [added(), ("FC-SCHED-004", PAUSED), ("FC-SCHED-003", ticked(1))],
    "added twice": [added(), added()],
    "removed twice": [added(), ("FC-SCHED-002", REMOVED), ("FC-SCHED-002", REMOVED)],
    "removed before it was added": [("FC-SCHED-002", REMOVED)],
    "paused twice": [added(), ("FC-SCHED-004", PAUSED), ("FC-SCHED-004", PAUSED)],
    "resumed while it ticks": [added(), ("FC-SCHED-004", RESUMED)],
    "paused and ticking": [added(), ("FC-SCHED-004", PAUSED | {"next_at": at(9)})],
    "another schedule": [("FC-SCHED-001", ADDED | {"schedule_id": "other"})],
    "an unknown member": [("FC-SCHED-001", ADDED | {"more": 1})],
    "a missing member": [("FC-SCHED-001", {k: v for k, v in ADDED.items() if k != "cron"})],
    "no time": [("FC-SCHED-001", ADDED | {"next_at": "soon"})],
    "a time of another form": [("FC-SCHED-001", ADDED | {"next_at": "2026-11-23T12:01:00Z"})],
    "an unknown outcome": [added(), ("FC-SCHED-003", ticked(1, outcome="done"))],
    "an event of another kind": [added(), ("FC-RUN-001", {})],
}


@pytest.mark.parametrize("what", UNLAWFUL)
def test_what_cannot_follow_is_refused(what: str) -> None:
    *before, last = UNLAWFUL[what]
    lived(*before)
    with pytest.raises(IntegrityError):
        lived(*before, last)


def test_the_run_of_a_tick_has_one_id_and_each_tick_another() -> None:
    assert run_of(1) == "01a20847-e860-797f-8ac8-f566bc933c5a"  # written down once, so it stays
    others = {run_of(2), run_of(1, "u"), run_of(1, "t", "s2"), run_of(1, "t/s", ""), run_of(1)}
    assert len(others) == 5
    found = UUID(run_of(1))
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert found.int >> 80 == from_rfc3339(at(1)) // 1000  # it sorts by the time of the tick
    assert run_of(1) < run_of(2)


def test_it_is_one_json_value() -> None:
    schedule = lived(added(), ("FC-SCHED-003", ticked(1)))
    assert msgspec.json.decode(msgspec.json.encode(schedule), type=Schedule) == schedule
