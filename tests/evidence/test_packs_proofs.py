"""The files that prove that a pack's events stand in the log."""

import json
from array import array
from base64 import b64decode
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.evidence.proof_files import (
    MAX_PROOFS,
    index_chunks,
    proof_chunks,
    proof_members,
    tiles_for,
)
from federation_core.spine.canonical import canonical
from federation_core.transparency import (
    Tile,
    TileNodes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parse_tile_path,
    root_of,
    verify_inclusion,
)

MOST = 70_000
LEAVES = [leaf_hash(b"%d" % n) for n in range(MOST)]


def _levels() -> list[list[bytes]]:
    levels = [LEAVES]
    while len(levels[-1]) > 1:
        row = levels[-1]
        levels.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
    return levels


LEVELS = _levels()


def load(level: int, number: int, width: int) -> bytes:
    return b"".join(LEVELS[8 * level][256 * number : 256 * number + width])


def check(indexes: list[int], size: int) -> None:
    """The tiles are enough for a proof of each index; what more there is stands on the right edge
    of the tree, which the verifier folds into the root."""
    tiles = tiles_for(indexes, size)
    files = {(t.level, t.number, t.width): load(t.level, t.number, t.width) for t in tiles}
    used: set[tuple[int, int, int]] = set()

    def found(level: int, number: int, width: int) -> bytes:
        used.add((level, number, width))
        return files[level, number, width]

    nodes = TileNodes(size, found)
    root = root_of(size, TileNodes(size, load))
    for index in indexes:
        verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, nodes), root)
    leaves = {(0, i // 256) for i in indexes}
    for level, number, width in {t for t in files if t[:2] not in leaves} - used:
        assert width < 256
        assert number == size >> 8 * (level + 1)


@pytest.mark.parametrize(
    "size", [1, 2, 255, 256, 257, 511, 512, 513, 767, 65_535, 65_536, 65_537, 66_000, MOST]
)
def test_the_tiles_are_enough_and_no_more(size: int) -> None:
    edges = {0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, size // 2, size - 2, size - 1}
    there = sorted(i for i in edges if 0 <= i < size)
    for index in there:
        check([index], size)
    for pair in combinations(there, 2):
        check(list(pair), size)
    check(there, size)


@given(st.data())
def test_the_tiles_of_any_pack_are_enough(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, MOST))
    indexes = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=20))
    check(sorted(indexes), size)


def test_many_neighbours_need_each_tile_once() -> None:
    assert tiles_for(range(600), 600) == [Tile(0, 0), Tile(0, 1), Tile(0, 2, 88), Tile(1, 0, 2)]


def test_proofs_are_canonical_though_numbers_are_sorted_as_text() -> None:
    indexes = array("q", [2, 10, 9, 100])
    data = b"".join(proof_chunks(indexes, 300, TileNodes(300, load)))
    proofs = json.loads(data)
    assert canonical(proofs) == data
    assert list(proofs) == ["10", "100", "2", "9"]
    root = root_of(300, TileNodes(300, load))
    for index, hashes in proofs.items():
        proof = [b64decode(value) for value in hashes]
        verify_inclusion(LEAVES[int(index)], int(index), 300, proof, root)


@pytest.mark.parametrize("count", [1, MAX_PROOFS, MAX_PROOFS + 1])
def test_beyond_a_thousand_events_there_are_tiles(count: int) -> None:
    members = proof_members(range(count), MOST, TileNodes(MOST, load), load)
    if count <= MAX_PROOFS:
        [member] = members
        assert len(json.loads(b"".join(member.chunks()))) == count
        return
    for member in members:
        tile = parse_tile_path(member.path.removeprefix("log/tile/"))
        assert b"".join(member.chunks()) == load(tile.level, tile.number, tile.width)


@given(st.dictionaries(st.text("abz:/-_", max_size=9), st.lists(st.integers(0, 2**40), max_size=9)))
def test_the_index_is_canonical(streams: dict[str, list[int]]) -> None:
    data = b"".join(index_chunks({name: array("q", of) for name, of in streams.items()}))
    assert json.loads(data) == streams
    assert canonical(streams) == data


def test_a_long_index_comes_in_pieces() -> None:
    positions = list(range(5_000))
    pieces = list(index_chunks({"run:r": array("q", positions)}))
    assert max(map(len, pieces)) < 10_000
    assert json.loads(b"".join(pieces)) == {"run:r": positions}
