"""Where a tile and its entries are found: the paths of C2SP tlog-tiles.

0/x001/x234/067            tile 1,234,067 of level 0, full
1/000.p/17                 the first tile of level 1 while it has 17 hashes
entries/x001/x234/067      the entries under that first tile
"""

import re

import msgspec

from .errors import TilePathMalformed
from .tree import MAX_SIZE, told

__all__ = [
    "MAX_LEVEL",
    "TILE_WIDTH",
    "EntryBundle",
    "Tile",
    "entries_path",
    "parse_entries_path",
    "parse_tile_path",
    "tile_path",
]

TILE_WIDTH = 256
MAX_LEVEL = 63

_NUMBER = r"((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?"
_TILE = re.compile(r"([0-9]{1,2})/" + _NUMBER)
_ENTRIES = re.compile(r"entries/" + _NUMBER)


class Tile(msgspec.Struct, frozen=True):
    """One tile: its level, its number within the level, and how many hashes are in it, 1 … 256."""

    level: int
    number: int
    width: int = TILE_WIDTH


class EntryBundle(msgspec.Struct, frozen=True):
    """The entries under one tile of level 0: its number, and how many they are, 1 … 256."""

    number: int
    width: int = TILE_WIDTH


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """`0/x001/x234/067`, with `.p/<width>` where it is partial. Raises `TilePathMalformed`."""
    if not 0 <= level <= MAX_LEVEL:
        raise TilePathMalformed(
            f"A tile's level is between 0 and {MAX_LEVEL}, and not {told(level)}."
        )
    return f"{level}/{_number_path(number, width)}"


def entries_path(number: int, width: int = TILE_WIDTH) -> str:
    """`entries/x001/x234/067`, with `.p/<width>` where partial. Raises `TilePathMalformed`."""
    return f"entries/{_number_path(number, width)}"


def parse_tile_path(text: str) -> Tile:
    """The tile of this path, which must be as `tile_path` spells it. Raises `TilePathMalformed`."""
    if match := _TILE.fullmatch(text):
        tile = Tile(int(match[1]), _number(match[2]), _width(match[3]))
        if tile_path(tile.level, tile.number, tile.width) == text:
            return tile
    raise TilePathMalformed(
        f"{text[:80]!r} is no tile's path; one is 0/x001/x234/067 or 0/000.p/7."
    )


def parse_entries_path(text: str) -> EntryBundle:
    """The bundle of this path, which must be as `entries_path` spells it. Raises
    `TilePathMalformed`."""
    if match := _ENTRIES.fullmatch(text):
        bundle = EntryBundle(_number(match[1]), _width(match[2]))
        if entries_path(bundle.number, bundle.width) == text:
            return bundle
    raise TilePathMalformed(f"{text[:80]!r} is no path of entries; one is entries/x001/x234/067.")


def _number_path(number: int, width: int) -> str:
    if not 0 <= number <= MAX_SIZE:
        raise TilePathMalformed(f"A tile's number is between 0 and 2⁶³−1, and not {told(number)}.")
    if not 1 <= width <= TILE_WIDTH:
        raise TilePathMalformed(f"A tile has 1 to {TILE_WIDTH} hashes, and not {told(width)}.")
    # Three digits an element; all but the last begin with x, so that no file is called as a
    # folder is.
    number, last = divmod(number, 1000)
    path = f"{last:03}"
    while number:
        number, part = divmod(number, 1000)
        path = f"x{part:03}/{path}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _number(path: str) -> int:
    return int(path.replace("x", "").replace("/", ""))


def _width(text: str | None) -> int:
    return TILE_WIDTH if text is None else int(text)
