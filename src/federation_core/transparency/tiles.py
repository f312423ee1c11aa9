"""Tiles: the tree in files of up to 256 hashes. C2SP tlog-tiles, height 8.

Tile n of level l holds the hashes of the complete subtrees of height 8·l from number 256·n on;
those of level 0 are the leaves. A *full* tile has 256 of them, and the hash over it is one hash of
a tile of the next level; the last tile of a level may be *partial*. What lies between is hashed
anew when it is needed: of a tree of 2⁴⁰ leaves five tiles answer for any leaf.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

from .errors import IndexRange, TileShape
from .tile_paths import (
    MAX_LEVEL,
    TILE_WIDTH,
    EntryBundle,
    Tile,
    entries_path,
    parse_entries_path,
    parse_tile_path,
    tile_path,
)
from .tree import HASH_SIZE, check_size, node_hash

__all__ = [
    "MAX_LEVEL",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "EntryBundle",
    "Tile",
    "TileLoader",
    "TileNodes",
    "entries_path",
    "parse_entries_path",
    "parse_tile_path",
    "tile_path",
    "tile_width",
    "tiles_of",
]

TILE_HEIGHT = 8
_CACHED_TILES = 1024  # 8 KiB of hashes each, and at most as much again of what is hashed from them

TileLoader = Callable[[int, int, int], bytes]
"""(level, number, width) → the tile's hashes, one after the other: 32·width bytes."""


def tile_width(level: int, number: int, size: int) -> int:
    """How many hashes this tile has in a tree of `size` leaves: 0 … 256, 0 where there is none.

    A level has size ÷ 256ˡ hashes, rounded down, over all its tiles. Raises `IndexRange`.
    """
    check_size(size)
    if level < 0 or number < 0:
        raise IndexRange("The level and the number of a tile are at least 0.")
    hashes = size >> TILE_HEIGHT * level
    return min(max(hashes - number * TILE_WIDTH, 0), TILE_WIDTH)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree of `size` leaves, level by level from the leaves up, in order of number.

    One at a time, for a large tree has many. 70,000 leaves: 273 full ones and one of 112 at level
    0, one full one and one of 17 at level 1, one of 1 at level 2. Raises `IndexRange`.
    """
    check_size(size)
    return _tiles(size)


class TileNodes:
    """A `NodeReader` over the tiles of a tree of `size` leaves.

    `load` is asked for a tile at the width that it has at this size, and its answers are kept,
    the last 1,024 of them. Whether they are *true* is not known here: a proof that is made from a
    changed tile leads to another root. To be used by one thread at a time.
    """

    def __init__(self, size: int, load: TileLoader) -> None:
        """Loads nothing yet. Raises `IndexRange` for a size that no tree has."""
        check_size(size)
        self._size = size
        self._load = load
        self._tile = lru_cache(_CACHED_TILES)(self._open)

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises `IndexRange` where the tree has no such subtree,
        `TileShape` where the loaded tile is not of the length that it must have."""
        if level < 0 or not 0 <= index < self._size >> level:
            raise IndexRange(f"A tree of {self._size} leaves has no complete subtree there.")
        tile_level, height = divmod(level, TILE_HEIGHT)
        # Each node of this height stands over 2ʰ hashes, so a tile has 256 ÷ 2ʰ of them.
        number, place = divmod(index, TILE_WIDTH >> height)
        return self._tile(tile_level, number).node(height, place)

    def _open(self, level: int, number: int) -> "_Hashes":
        width = tile_width(level, number, self._size)
        data = self._load(level, number, width)
        if len(data) != width * HASH_SIZE:
            raise TileShape(
                f"The tile {tile_path(level, number, width)} has {len(data)} bytes; "
                f"it must have {width * HASH_SIZE}."
            )
        return _Hashes(data)


class _Hashes:
    """The hashes of one tile, and of what stands above them up to the top of the tile.

    Row h has the complete subtrees of height h over the tile's hashes, side by side as the tile
    has them, and is made when it is first asked for.
    """

    __slots__ = ("_rows",)

    def __init__(self, data: bytes) -> None:
        self._rows = [data]

    def node(self, height: int, place: int) -> bytes:
        while len(self._rows) <= height:
            self._rows.append(_above(self._rows[-1]))
        return _hash_at(self._rows[height], place)


def _above(row: bytes) -> bytes:
    # An odd one out is under no complete subtree.
    middles = range(HASH_SIZE, len(row), 2 * HASH_SIZE)
    return b"".join(node_hash(row[m - HASH_SIZE : m], row[m : m + HASH_SIZE]) for m in middles)


def _hash_at(row: bytes, place: int) -> bytes:
    return row[place * HASH_SIZE : (place + 1) * HASH_SIZE]


def _tiles(size: int) -> Iterator[Tile]:
    level = 0
    while hashes := size >> TILE_HEIGHT * level:
        full, rest = divmod(hashes, TILE_WIDTH)
        for number in range(full):
            yield Tile(level, number)
        if rest:
            yield Tile(level, full, rest)
        level += 1
