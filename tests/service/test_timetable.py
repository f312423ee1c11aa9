"""When schedules tick: expressions, their mistakes, and clocks that are moved."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.service.tick_plan import MAX_CATCH_UP, MISSED_AFTER, Planned, plan
from federation_core.service.timetable import FIELDS, Timetable
from federation_core.spine.times import to_rfc3339

MINUTE = 60_000_000
BERLIN = "Europe/Berlin"


def us(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Microseconds of `2026-03-29 02:30` on the clocks of a zone."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(local.timestamp()) * 1_000_000


def ticks(cron: str, zone: str, first: str, last: str) -> list[str]:
    """The ticks in the UTC span (first, last], as UTC `dd HH:MM`."""
    table, found = Timetable(cron, zone), []
    at = table.after(us(first))
    while at is not None and at <= us(last):
        found.append(to_rfc3339(at)[8:16].replace("T", " "))
        at = table.after(at)
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", "2026-11-23 12:01"),
        ("0 6 * * 1-5", "2026-11-24 06:00"),
        ("*/15 9-17 * * *", "2026-11-23 12:15"),
        ("0 0 1 jan *", "2027-01-01 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 0 L * *", "2026-11-30 00:00"),
        ("0 0 LW 1 *", "2027-01-29 00:00"),
        ("0 0 * * MON#1", "2026-12-07 00:00"),
        ("0 0 * * 5L", "2026-11-27 00:00"),
        ("0 0 13 * FRI", "2026-11-27 00:00"),  # both days are named: either will do
        ("0 0 * * 7", "2026-11-29 00:00"),
    ],
)
def test_the_next_tick(cron: str, expected: str) -> None:
    assert Timetable(cron, "UTC").after(us("2026-11-23 12:00")) == us(expected)


def test_a_tick_is_after_the_instant_however_little() -> None:
    table, tick = Timetable("0 12 * * *", "UTC"), us("2026-11-23 12:00")
    assert table.after(tick - 1) == tick
    assert table.after(tick) == us("2026-11-24 12:00")
    assert table.after(tick + 1) == us("2026-11-24 12:00")


def test_an_expression_that_never_comes_has_no_tick() -> None:
    assert Timetable("0 0 */31 2 MON#5", "UTC").after(us("2026-01-01 00:00")) is None


@pytest.mark.parametrize(
    ("cron", "field"),
    [
        ("60 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/60 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("1,, * * * *", "minute"),
        ("\u0661 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* -1 * * *", "hour"),
        ("* * 0 * *", "day of the month"),
        ("* * 31 2 *", "day of the month"),
        ("* * * 13 *", "month"),
        ("* * * JANUARY *", "month"),
        ("* * * * 8", "day of the week"),
        ("* * * * MON#6", "day of the week"),
        ("* * * * L", "day of the week"),
    ],
)
def test_a_mistake_names_its_field(cron: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"its {field} is '") as caught:
        Timetable(cron, "UTC")
    assert [e.path for e in caught.value.errors] == ["/cron"]


@pytest.mark.parametrize("cron", ["", "* * * *", "0 * * * * *", "@daily"])
def test_there_are_five_fields(cron: str) -> None:
    with pytest.raises(InvalidInput, match=f"five fields \\({', '.join(FIELDS)}\\), and"):
        Timetable(cron, "UTC")


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Base", "Europe", "../../etc/passwd", "localtime", "posix/UTC", "right/UTC", "A\0"],
)
def test_a_zone_is_one_of_the_iana_database(zone: str) -> None:
    with pytest.raises(InvalidInput, match="There is no time zone") as caught:
        Timetable("* * * * *", zone)
    assert [e.path for e in caught.value.errors] == ["/timezone"]


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="0123456789*,/-#LWMONJAF \t", max_size=24) | st.text(max_size=24))
def test_any_text_is_an_expression_or_a_refusal(text: str) -> None:
    try:
        table = Timetable(text, "UTC")
    except InvalidInput:
        return
    found = table.after(us("2026-11-23 12:00"))
    assert found is None or found > us("2026-11-23 12:00")


# Clocks that are moved. In Berlin 2026-03-29 02:00 becomes 03:00 (01:00 UTC), and 2026-10-25 03:00
# becomes 02:00 (01:00 UTC).


def test_a_fixed_time_that_does_not_exist_is_made_up_for_at_once() -> None:
    found = ticks("30 2 * * *", BERLIN, "2026-03-27 12:00", "2026-03-31 12:00")
    assert found == ["28 01:30", "29 01:00", "30 00:30", "31 00:30"]


def test_two_fixed_times_that_do_not_exist_are_made_up_for_once() -> None:
    found = ticks("0,30 2 * * *", BERLIN, "2026-03-28 12:00", "2026-03-30 12:00")
    assert found == ["29 01:00", "30 00:00", "30 00:30"]


def test_a_fixed_time_that_exists_twice_ticks_once() -> None:
    found = ticks("30 2 * * *", BERLIN, "2026-10-23 12:00", "2026-10-27 12:00")
    assert found == ["24 00:30", "25 00:30", "26 01:30", "27 01:30"]
    between = us("2026-10-25 02:10", BERLIN, fold=1)  # a restart in the second of the two hours
    assert Timetable("30 2 * * *", BERLIN).after(between) == us("2026-10-26 02:30", BERLIN)


def test_what_is_hourly_goes_by_time_as_it_passes() -> None:
    assert ticks("30 * * * *", BERLIN, "2026-03-28 23:50", "2026-03-29 02:50") == [
        "29 00:30",
        "29 01:30",
        "29 02:30",
    ]
    assert ticks("30 * * * *", BERLIN, "2026-10-24 23:50", "2026-10-25 02:50") == [
        "25 00:30",
        "25 01:30",
        "25 02:30",
    ]


def test_a_starred_minute_of_an_hour_that_is_not_there_or_there_twice() -> None:
    assert ticks("*/30 2 * * *", BERLIN, "2026-03-28 12:00", "2026-03-29 12:00") == []
    found = ticks("*/30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 12:00")
    assert found == ["25 00:00", "25 00:30", "25 01:00", "25 01:30"]


@pytest.mark.parametrize("cron", ["*/30 0 * * *", "0 */5 * * *", "*/20 5 * * *"])
def test_a_change_by_half_an_hour_loses_no_tick(cron: str) -> None:
    """On Lord Howe Island 2026-04-05 02:00 becomes 01:30."""
    zone = ZoneInfo("Australia/Lord_Howe")
    minutes, hours = cron.split()[:2]
    step = int(minutes.removeprefix("*/")) if minutes != "0" else 60
    wanted = {"0": {0}, "5": {5}, "*/5": {0, 5, 10, 15, 20}}[hours]
    at, expected = datetime(2026, 4, 4, 12, 1, tzinfo=UTC), []
    while at < datetime(2026, 4, 7, tzinfo=UTC):
        local = at.astimezone(zone)
        if local.minute % step == 0 and local.hour in wanted:
            expected.append(f"{at:%d %H:%M}")
        at += timedelta(minutes=1)
    assert ticks(cron, zone.key, "2026-04-04 12:00", "2026-04-07 00:00") == expected


MOVED = [  # zone, and the days of 2026 around which its clocks are moved
    (BERLIN, "2026-03-29"),
    (BERLIN, "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-30"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
]


@pytest.mark.parametrize(("zone", "day"), MOVED)
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "0,30 1-3 * * *", "*/5 2 * * *", "15 */2 * * *", "*/30 0 * * *"]
)
def test_a_restart_at_any_instant_goes_on_with_the_same_ticks(
    cron: str, zone: str, day: str
) -> None:
    table, noon = Timetable(cron, zone), us(f"{day} 12:00", zone)
    first, last = noon - 36 * 60 * MINUTE, noon + 36 * 60 * MINUTE
    known = [table.after(first) or 0]
    while known[-1] <= last:
        known.append(table.after(known[-1]) or 0)
    assert known == sorted(set(known))
    for instant in range(first, last, 20 * MINUTE):
        for at in (instant, instant + 1):
            assert table.after(at) == known[bisect_right(known, at)]


# Which ticks are done.


def due(catch_up: str, first: int, now: int, cron: str = "* * * * *") -> list[Planned]:
    return plan(Timetable(cron, "UTC"), catch_up, first, now)  # type: ignore[arg-type]


NOON = us("2026-11-23 12:00")


@pytest.mark.parametrize("catch_up", ["all", "latest", "none"])
def test_a_tick_in_time_is_done(catch_up: str) -> None:
    [only] = due(catch_up, NOON, NOON + 20)
    assert only == Planned(at=NOON, missed=False, skipped_from=None, next_at=NOON + MINUTE)


def test_all_makes_up_for_every_tick() -> None:
    found = due("all", NOON, NOON + 3 * MINUTE + 5)
    assert [p.at for p in found] == [NOON + i * MINUTE for i in range(4)]
    assert [p.next_at for p in found] == [NOON + i * MINUTE for i in range(1, 5)]
    assert not any(p.missed or p.skipped_from for p in found)


def test_all_is_bounded_and_says_what_was_cut() -> None:
    found = due("all", NOON, NOON + 5_000 * MINUTE)
    assert len(found) == MAX_CATCH_UP
    assert found[0].skipped_from == NOON
    assert found[-1].at == NOON + 5_000 * MINUTE
    assert not any(p.skipped_from for p in found[1:])
    exactly = due("all", NOON, NOON + (MAX_CATCH_UP - 1) * MINUTE)
    assert (len(exactly), exactly[0].skipped_from) == (MAX_CATCH_UP, None)


def test_latest_does_the_newest_alone() -> None:
    [only] = due("latest", NOON, NOON + 90 * MINUTE + 5)
    assert only == Planned(
        at=NOON + 90 * MINUTE, missed=False, skipped_from=NOON, next_at=NOON + 91 * MINUTE
    )


def test_none_does_what_is_not_late() -> None:
    [late] = due("none", NOON, NOON + MISSED_AFTER + 1, "0 * * * *")
    assert (late.missed, late.skipped_from) == (True, None)
    [just] = due("none", NOON, NOON + MISSED_AFTER, "0 * * * *")
    assert not just.missed
    [newest] = due("none", NOON, NOON + 7 * MINUTE + 5)
    assert (newest.at, newest.missed) == (NOON + 7 * MINUTE, False)
    assert newest.skipped_from == NOON


@settings(max_examples=50, deadline=None)
@given(
    cron=st.sampled_from(["* * * * *", "*/7 * * * *", "0 6 * * *", "0 0 1 * *", "30 2 29 2 *"]),
    ticks_back=st.integers(0, 40),
    more=st.integers(0, 10**12),
    limit=st.integers(1, 30),
)
def test_the_newest_ticks_are_the_end_of_all(
    cron: str, ticks_back: int, more: int, limit: int
) -> None:
    table = Timetable(cron, BERLIN)
    every = [table.after(NOON) or 0]
    for _ in range(ticks_back):
        every.append(table.after(every[-1]) or 0)
    now = min(every[-1] + more, (table.after(every[-1]) or 0) - 1)
    assert table.newest(every[0], now, limit) == every[-limit:]
