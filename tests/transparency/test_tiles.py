"""Which tiles a tree has, and that proofs out of tiles are the proofs of the tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.transparency_helpers import LEAVES, flipped, mth, node, path

from federation_core.errors import IntegrityError
from federation_core.transparency.errors import IndexRange, RootMismatch, TileShape
from federation_core.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from federation_core.transparency.tiles import Tile, TileNodes, tile_width, tiles_of
from federation_core.transparency.tree import (
    MAX_SIZE,
    CompactRange,
    leaf_hash,
    node_hash,
    subtrees,
)


class EqualLeaves:
    """A log of any size in which all leaves are the same, so that a subtree's hash depends on its
    level alone: trees of 2⁶² leaves at no cost, tile by tile. Counts what it was asked for."""

    def __init__(self) -> None:
        self.leaf = leaf_hash(b"the same")
        self.perfect = [self.leaf]
        for _ in range(63):
            self.perfect.append(node_hash(self.perfect[-1], self.perfect[-1]))
        self.loaded: list[Tile] = []

    def load(self, level: int, number: int, width: int) -> bytes:
        self.loaded.append(Tile(level, number, width))
        return self.perfect[8 * level] * width

    def root(self, size: int) -> bytes:
        return CompactRange(size, [self.perfect[level] for level, _ in subtrees(size)]).root()


def load(level: int, number: int, width: int) -> bytes:
    """The tiles of the small tree, from its definition."""
    first = number * 256
    return b"".join(node(8 * level, i) for i in range(first, first + width))


def test_the_tiles_of_seventy_thousand_leaves() -> None:
    """The example of C2SP tlog-tiles."""
    tiles = list(tiles_of(70_000))
    assert tiles == [
        *(Tile(0, n) for n in range(273)),
        Tile(0, 273, 112),
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (0, []),
        (1, [Tile(0, 0, 1)]),
        (255, [Tile(0, 0, 255)]),
        (256, [Tile(0, 0), Tile(1, 0, 1)]),
        (257, [Tile(0, 0), Tile(0, 1, 1), Tile(1, 0, 1)]),
    ],
    ids=str,
)
def test_the_tiles_of_a_small_tree(size: int, tiles: list[Tile]) -> None:
    assert list(tiles_of(size)) == tiles


@given(st.integers(0, 200_000))
def test_every_tile_has_the_width_that_the_formula_gives(size: int) -> None:
    """C2SP: the partial tile at level l has floor(s / 256^l) mod 256 entries, the others 256."""
    levels: dict[int, list[Tile]] = {}
    for tile in tiles_of(size):
        assert tile.width == tile_width(tile.level, tile.number, size) > 0
        levels.setdefault(tile.level, []).append(tile)
    for level, tiles in levels.items():
        assert [tile.number for tile in tiles] == list(range(len(tiles)))
        assert sum(tile.width for tile in tiles) == size // 256**level
        assert tiles[-1].width % 256 == size // 256**level % 256
        assert tile_width(level, len(tiles), size) == 0
    assert size // 256 ** len(levels) == 0


def test_sizes_and_tiles_that_are_not_there() -> None:
    for size in (-1, MAX_SIZE + 1):
        with pytest.raises(IndexRange):
            tiles_of(size)
        with pytest.raises(IndexRange):
            tile_width(0, 0, size)
        with pytest.raises(IndexRange):
            TileNodes(size, load)
    for level, number in [(-1, 0), (0, -1)]:
        with pytest.raises(IndexRange):
            tile_width(level, number, 5)
    assert tile_width(10**6, 0, MAX_SIZE) == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 100, 255, 256])
def test_every_node_and_the_root_from_tiles(size: int) -> None:
    reader = TileNodes(size, load)
    for level in range(9):
        for index in range(size >> level):
            assert reader(level, index) == node(level, index)
    assert root_of(size, reader) == mth(0, size)


@pytest.mark.parametrize("size", [1, 2, 13, 200, 255, 256])
def test_proofs_from_tiles_are_the_proofs_of_the_tree(size: int) -> None:
    reader = TileNodes(size, load)
    for index in range(size):
        assert inclusion_proof(index, size, reader) == path(index, 0, size)
    for old in range(1, size + 1):
        made = consistency_proof(old, size, reader)
        verify_consistency(old, size, made, mth(0, old), mth(0, size))


@pytest.mark.parametrize(
    ("level", "index"),
    [(0, 100), (0, -1), (1, 50), (7, 0), (8, 0), (-1, 0), (63, 0), (10**12, 0), (0, 10**5000)],
    ids=["end", "negative", "half", "7", "8", "level-under", "63", "level-huge", "index-huge"],
)
def test_nodes_that_are_not_there_are_not_loaded(level: int, index: int) -> None:
    log = EqualLeaves()
    with pytest.raises(IndexRange):
        TileNodes(100, log.load)(level, index)
    assert log.loaded == []


@pytest.mark.parametrize("more", [-3200, -32, -1, 1, 32], ids="{:+}".format)
def test_a_tile_of_another_length(more: int) -> None:
    def cut(level: int, number: int, width: int) -> bytes:
        right = load(level, number, width)
        return right[:more] if more < 0 else right + bytes(more)

    with pytest.raises(TileShape) as caught:
        TileNodes(100, cut)(0, 0)
    assert caught.value.code == "TILE_SHAPE"
    assert isinstance(caught.value, IntegrityError)
    assert caught.value.detail.startswith(f"The tile 0/000.p/100 has {3200 + more} bytes")


def test_a_changed_tile_gives_a_proof_that_is_refused() -> None:
    def changed(level: int, number: int, width: int) -> bytes:
        return flipped(load(level, number, width))  # the last leaf hash of the tile

    made = inclusion_proof(3, 100, TileNodes(100, changed))
    with pytest.raises(RootMismatch):
        verify_inclusion(LEAVES[3], 3, 100, made, mth(0, 100))


def test_a_proof_in_a_tree_of_a_trillion_loads_a_handful_of_tiles() -> None:
    log = EqualLeaves()
    size = 10**12 + 4711
    reader = TileNodes(size, log.load)
    for index in (0, 1, size // 3, size - 1):
        log.loaded.clear()
        made = inclusion_proof(index, size, reader)
        verify_inclusion(log.leaf, index, size, made, log.root(size))
        assert len(log.loaded) <= 10  # five levels, beside the leaf and along the right border
    assert all(tile.width == tile_width(tile.level, tile.number, size) for tile in log.loaded)


def test_a_tile_is_loaded_once() -> None:
    log = EqualLeaves()
    reader = TileNodes(1_000_000, log.load)
    for index in range(500_000, 500_256):
        inclusion_proof(index, 1_000_000, reader)
    assert len(log.loaded) == len(set(log.loaded)) <= 6


def test_the_largest_tree_there_can_be() -> None:
    log = EqualLeaves()
    reader = TileNodes(MAX_SIZE, log.load)
    assert root_of(MAX_SIZE, reader) == log.root(MAX_SIZE)
    made = inclusion_proof(MAX_SIZE - 1, MAX_SIZE, reader)
    verify_inclusion(log.leaf, MAX_SIZE - 1, MAX_SIZE, made, log.root(MAX_SIZE))


@given(st.lists(st.integers(1, MAX_SIZE), min_size=2, max_size=2).map(sorted), st.data())
def test_proofs_in_trees_of_any_size(sizes: list[int], data: st.DataObject) -> None:
    log = EqualLeaves()
    old, new = sizes
    index = data.draw(st.integers(0, new - 1))
    reader = TileNodes(new, log.load)
    verify_inclusion(log.leaf, index, new, inclusion_proof(index, new, reader), log.root(new))
    made = consistency_proof(old, new, reader)
    verify_consistency(old, new, made, log.root(old), log.root(new))
