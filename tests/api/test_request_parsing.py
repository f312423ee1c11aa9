"""The parsers of requests, alone: one reading, or a refusal that says what is wrong."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.api.bodies import MAX_DRAIN_BYTES, Body, TooSlow, convert, read_query
from federation_core.api.headers import Headers, readable
from federation_core.api.limits import Room
from federation_core.api.runs import RunsQuery
from federation_core.errors import InvalidInput, TooLarge, TooManyRequests
from federation_core.service.requests import BypassRequest, RotateRequest


class Shape(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=3)]
    sizes: list[int] = []
    more: dict[str, Any] = {}


@given(st.binary(max_size=200))
def test_any_query_is_read_or_refused(raw: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(read_query(raw, RunsQuery, lenient=False), RunsQuery)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "sizes", "more", "x", "/~"]), _JSON))
def test_what_is_refused_is_named(value: dict[str, Any]) -> None:
    try:
        found = convert(value, Shape)
    except InvalidInput as e:
        named = {error.path.split("/")[1] for error in e.errors}
        assert named
        assert {key.replace("~", "~0").replace("/", "~1") for key in value} - {
            "name",
            "sizes",
            "more",
        } <= named
    else:
        assert set(value) <= {"name", "sizes", "more"}
        assert found.name == value["name"]


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (BypassRequest, {"reason": "fire"}, "/reason: expected at least 8 characters"),
        (Shape, {"name": "long"}, "/name: expected at most 3 characters"),
        (RotateRequest, {"reason": ""}, "/reason: expected at least 1 character"),
    ],
)
def test_lengths_are_told_in_characters(
    kind: type[msgspec.Struct], value: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        convert(value, kind)
    assert caught.value.detail == f"The body is refused: {told}."


def test_nothing_is_coerced() -> None:
    for value in ({"name": 1}, {"name": "a", "sizes": ["1"]}, {"name": "a", "sizes": [True]}):
        with pytest.raises(InvalidInput):
            convert(value, Shape)


def test_many_unknown_fields_are_named_and_counted() -> None:
    value = {f"x{n}": n for n in range(10)}
    with pytest.raises(InvalidInput) as caught:
        convert(value, Shape)
    assert [e.path for e in caught.value.errors] == [*(f"/x{n}" for n in range(10)), "/name"]
    assert "'x4' and 5 others; it knows name, sizes, more" in caught.value.detail


@given(st.lists(st.tuples(st.sampled_from([b"prefer", b"x-policy-mode", b"a"]), st.binary())))
def test_any_headers_are_read_or_refused(raw: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(raw)
    assert headers.wait is None or 0 <= headers.wait <= 60
    with suppress(InvalidInput):
        assert headers.mode in (None, "loose", "strict")
    with suppress(InvalidInput):
        assert headers.text("a") is None or headers.text("a")


@given(st.binary())
def test_what_is_readable_comes_back(raw: bytes) -> None:
    text = readable(raw)
    assert text is None or (text.isprintable() and text.encode() in raw)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("wait=10", 10),
        ("respond-async, wait=7", 7),
        ("WAIT = 3; foo", 3),
        ('wait="5"', 5),
        ("wait=0.5", 0.5),
        ("wait=9999", 60),
        ("wait=-1", None),
        ("wait=ten", None),
        ("await=5", None),
        ("wait=1e9", None),
        ("", None),
    ],
)
def test_preferences_to_wait(said: str, seconds: float | None) -> None:
    assert Headers([(b"Prefer", said.encode())]).wait == seconds


def body(*messages: dict[str, Any], seconds: float = 5, **headers: str) -> Body:
    """A body that comes in these pieces, and then no further."""
    pieces = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(pieces, None)
        if message is None:
            await asyncio.Event().wait()
        return {"type": "http.request", **(message or {})}

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Body(receive, Headers(sent), seconds=seconds)


def piece(size: int) -> dict[str, Any]:
    return {"body": b"a" * size, "more_body": True}


async def test_a_body_comes_in_pieces() -> None:
    found = body({"body": b'{"a": ', "more_body": True}, {"body": b"1}", "more_body": False})
    assert await found.json() == {"a": 1}


async def test_a_body_that_never_ends() -> None:
    with pytest.raises(TooSlow):
        await body(piece(5), seconds=0.001).json()


async def test_a_body_is_not_kept_further_than_it_may_be() -> None:
    """What is over the limit is not asked for: nothing more comes, and it would wait for ever."""
    with pytest.raises(TooLarge):
        await body(piece(600_000), piece(600_000), content_length="10").json()
    with pytest.raises(TooLarge):
        await body(content_length="1048577").json()


async def test_half_a_body_is_none_though_it_is_json() -> None:
    found = body({"body": b"{}", "more_body": True}, {"type": "http.disconnect"})
    with pytest.raises(InvalidInput, match="connection ended"):
        await found.json()


async def test_what_is_drained_has_an_end() -> None:
    await body(*[piece(MAX_DRAIN_BYTES // 4)] * 4).drain()
    await body(piece(1), {"type": "http.disconnect"}).drain()
    read = body({"body": b"1", "more_body": False})
    await read.json()
    await read.drain()


def test_a_room_has_so_many_places() -> None:
    room = Room(2, "guests")
    with room.place(), room.place():
        with pytest.raises(TooManyRequests, match="busy with 2 guests"), room.place():
            pass
        assert room.taken == 2
    assert room.taken == 0
