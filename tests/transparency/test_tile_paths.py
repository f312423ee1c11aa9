"""The paths of C2SP tlog-tiles: each tile has one, and nothing else is one."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.transparency.errors import TilePathMalformed
from federation_core.transparency.tiles import (
    EntryBundle,
    Tile,
    entries_path,
    parse_entries_path,
    parse_tile_path,
    tile_path,
)
from federation_core.transparency.tree import MAX_SIZE

PATHS = {
    "0/x001/x234/067": Tile(0, 1234067),  # the example of the specification
    "0/000": Tile(0, 0),
    "0/999": Tile(0, 999),
    "0/x001/000": Tile(0, 1000),
    "63/000": Tile(63, 0),
    "10/x123/456": Tile(10, 123456),
    "0/000.p/1": Tile(0, 0, 1),
    "1/000.p/17": Tile(1, 0, 17),
    "0/x001/x234/067.p/255": Tile(0, 1234067, 255),
    "0/x009/x223/x372/x036/x854/x775/807": Tile(0, MAX_SIZE),
}
NO_NUMBERS = {
    "empty": "",
    "no-digits": "x",
    "one-digit": "7",
    "two-digits": "67",
    "four-digits": "1067",
    "leading-element": "x000/067",
    "no-x": "001/234/067",
    "x-at-the-end": "x001/x067",
    "upper-case": "X001/067",
    "negative": "-01",
    "trailing-slash": "067/",
    "double-slash": "x001//067",
    "newline": "067\n",
    "space": " 067",
    "other-digits": "٠٦٧",
    "width-0": "067.p/0",
    "width-256": "067.p/256",
    "width-999": "067.p/999",
    "width-leading-zero": "067.p/07",
    "width-empty": "067.p/",
    "width-negative": "067.p/-1",
    "width-newline": "067.p/7\n",
    "no-p": "067/7",
    "percent": "067%2ep/7",
    "climbing": "../067",
    "beyond": "x009/x223/x372/x036/x854/x775/808",
    "far-beyond": "x001/" * 7 + "001",
    "very-long": "x001/" * 5000 + "001",
}
NO_LEVELS = ["", "00", "01", "64", "100", "-1", "+1", " 0", "x0", "٣", "9" * 5000]
T = TypeVar("T")


@pytest.mark.parametrize(("path", "tile"), PATHS.items(), ids=PATHS)
def test_a_tile_and_its_path(path: str, tile: Tile) -> None:
    assert tile_path(tile.level, tile.number, tile.width) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    ("path", "bundle"),
    [
        ("entries/x001/x234/067", EntryBundle(1234067)),
        ("entries/000", EntryBundle(0)),
        ("entries/000.p/5", EntryBundle(0, 5)),
    ],
)
def test_entries_and_their_path(path: str, bundle: EntryBundle) -> None:
    assert entries_path(bundle.number, bundle.width) == path
    assert parse_entries_path(path) == bundle


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number(number: str) -> None:
    for parse, head in ((parse_tile_path, "0/"), (parse_entries_path, "entries/")):
        with pytest.raises(TilePathMalformed) as caught:
            parse(head + number)
        assert caught.value.code == "TILE_PATH"
        assert isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize("level", NO_LEVELS, ids=lambda level: level[:3] or "empty")
def test_what_is_no_level(level: str) -> None:
    with pytest.raises(TilePathMalformed):
        parse_tile_path(f"{level}/000")


def test_tiles_and_entries_are_not_each_other() -> None:
    with pytest.raises(TilePathMalformed):
        parse_tile_path("entries/000")
    with pytest.raises(TilePathMalformed):
        parse_entries_path("0/000")
    with pytest.raises(TilePathMalformed):
        parse_tile_path("tile/0/000")


@pytest.mark.parametrize(
    ("level", "number", "width"),
    [
        (-1, 0, 256),
        (64, 0, 256),
        (0, -1, 256),
        (0, MAX_SIZE + 1, 256),
        (0, 0, 0),
        (0, 0, 257),
        (0, 0, -1),
        (10**5000, 0, 256),
        (0, 10**5000, 256),
        (0, 0, 10**5000),
    ],
    ids=[
        "level-under",
        "level-over",
        "number-under",
        "number-over",
        "width-0",
        "width-over",
        "width-under",
        "level-huge",
        "number-huge",
        "width-huge",
    ],
)
def test_tiles_that_have_no_path(level: int, number: int, width: int) -> None:
    with pytest.raises(TilePathMalformed):
        tile_path(level, number, width)
    if level == 0:
        with pytest.raises(TilePathMalformed):
            entries_path(number, width)


@given(st.integers(0, 63), st.integers(0, MAX_SIZE) | st.integers(0, 10**7), st.integers(1, 256))
def test_every_tile_comes_back(level: int, number: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, number, width)) == Tile(level, number, width)
    assert parse_entries_path(entries_path(number, width)) == EntryBundle(number, width)


alphabet = st.text("0123456789x/.p", max_size=24) | st.text(max_size=12)


@given(st.sampled_from(["", "0/", "entries/"]), alphabet)
def test_any_text_is_refused_or_the_only_spelling(head: str, tail: str) -> None:
    text = head + tail
    if tile := parsed(parse_tile_path, text):
        assert tile_path(tile.level, tile.number, tile.width) == text
    if bundle := parsed(parse_entries_path, text):
        assert entries_path(bundle.number, bundle.width) == text


def parsed(parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except TilePathMalformed:
        return None
