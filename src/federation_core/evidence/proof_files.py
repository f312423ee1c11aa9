"""How a pack proves that its events stand in the log: a proof for each, or the tree's tiles."""

from array import array
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ..spine.canonical import sorted_json
from ..transparency import NodeReader, Tile, inclusion_proof, tile_path
from ..transparency.tiles import TILE_HEIGHT, TILE_WIDTH, tile_width
from ..transparency.tree import subtrees
from .pack import Member

__all__ = ["MAX_PROOFS", "index_chunks", "proof_chunks", "proof_members", "tiles_for"]

MAX_PROOFS = 1_000
"""A pack with more events holds tiles instead."""


def proof_members(
    indexes: Sequence[int], size: int, node: NodeReader, load: Callable[[int, int, int], bytes]
) -> list[Member]:
    """The members that prove the leaves `indexes` in the tree of `size` leaves; `load` reads the
    hashes of a tile."""
    if len(indexes) <= MAX_PROOFS:
        return [Member("log/proofs.json", partial(proof_chunks, indexes, size, node))]
    return [
        Member(f"log/tile/{tile_path(t.level, t.number, t.width)}", partial(_tile_chunks, load, t))
        for t in tiles_for(indexes, size)
    ]


def proof_chunks(indexes: Iterable[int], size: int, node: NodeReader) -> Iterator[bytes]:
    """`{leaf index: [base64 hash…]}`, keys sorted as text, for that is their RFC 8785 order."""
    yield b"{"
    for number, index in enumerate(sorted(indexes, key=str)):
        proof = [b64encode(h).decode() for h in inclusion_proof(index, size, node)]
        yield b'%b"%d":%b' % (b"," if number else b"", index, sorted_json(proof))
    yield b"}"


def _tile_chunks(load: Callable[[int, int, int], bytes], tile: Tile) -> Iterator[bytes]:
    yield load(tile.level, tile.number, tile.width)


def tiles_for(indexes: Iterable[int], size: int) -> list[Tile]:
    """The tiles from which an inclusion proof for each of `indexes` follows.

    The way from a leaf up to the root goes through one tile a level, where the hashes beside it
    stand too, as two neighbours are never in two tiles. What remains are the complete subtrees
    along the right edge of the tree.
    """
    found = {_tile_of(level, index) for level, index in subtrees(size)}
    last: tuple[int, int] | None = None
    for index in indexes:
        level, number = 0, index // TILE_WIDTH
        if (level, number) == last:
            continue
        last = (level, number)
        while (level, number) not in found and tile_width(level, number, size):
            found.add((level, number))
            level, number = level + 1, number // TILE_WIDTH
    return [Tile(level, n, tile_width(level, n, size)) for level, n in sorted(found)]


def _tile_of(level: int, index: int) -> tuple[int, int]:
    """The tile that has the complete subtree `(level, index)` in it, as its hash or above it."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    return tile_level, index // (TILE_WIDTH >> height)


def index_chunks(streams: dict[str, "array[int]"]) -> Iterator[bytes]:
    """`index.json`: `{stream: [leaf index of each event]}`."""
    yield b"{"
    for number, stream in enumerate(sorted(streams)):
        yield b"%b%b:[" % (b"," if number else b"", sorted_json(stream))
        positions = streams[stream]
        for start in range(0, len(positions), 1_000):
            part = ",".join(map(str, positions[start : start + 1_000]))
            yield (b"," if start else b"") + part.encode()
        yield b"]"
    yield b"}"
