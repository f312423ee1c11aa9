"""Instants as text and back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.spine.times import from_rfc3339, to_rfc3339

LAST = 253_402_300_799_999_999
instants = st.integers(-62_135_596_800_000_000, LAST)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_795_435_200_000_000, "2026-11-23T12:00:00.000000Z"),
        (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
        (LAST + 1, "9999-12-31T23:59:59.999999Z"),
        (10**30, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_instants_as_text(us: int, text: str) -> None:
    assert to_rfc3339(us) == text


@given(instants)
def test_there_and_back(us: int) -> None:
    assert from_rfc3339(to_rfc3339(us)) == us


@given(instants, instants)
def test_text_sorts_as_time_does(one: int, other: int) -> None:
    assert (to_rfc3339(one) < to_rfc3339(other)) == (one < other)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_calendar_agrees(instant: datetime) -> None:
    text = instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert to_rfc3339(from_rfc3339(text)) == text


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
    ],
)
def test_short_forms(text: str, us: int) -> None:
    assert from_rfc3339(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23 12:00:00Z",
        "2026-11-23T12:00Z",
        "20261123T120000Z",
        "2026-W48-1T12:00:00Z",
        "2026-11-23T12:00:00z",
        "2026-11-23T12:00:00+00:00",
        "2026-11-23T12:00:00+01:00",
        "2026-11-23T12:00:00.Z",
        "2026-11-23T12:00:00.1234567Z",
        "2026-11-23T12:00:00,5Z",
        "2026-02-29T12:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T12:00:60Z",
        "0000-01-01T00:00:00Z",
        "2026-11-23T12:00:00Z\n",
        " 2026-11-23T12:00:00Z",
        "٢٠٢٦-11-23T12:00:00Z",
    ],
)
def test_what_is_no_such_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not an RFC 3339 time in UTC"):
        from_rfc3339(text)
