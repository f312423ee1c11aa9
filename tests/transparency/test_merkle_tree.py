"""The tree against RFC 9162's own definition, and the range that grows against the tree."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.transparency.ct_vectors import CT_LEAVES, CT_ROOTS
from tests.transparency.transparency_helpers import BIGGEST, LEAVES, mth, node

from federation_core.errors import IntegrityError, InvalidInput
from federation_core.transparency.errors import IndexRange, ProofShape
from federation_core.transparency.proofs import root_of
from federation_core.transparency.tree import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_SIZE,
    CompactRange,
    leaf_hash,
    node_hash,
    subtrees,
)


def grown(leaves: list[bytes]) -> CompactRange:
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree


def test_certificate_transparency_roots() -> None:
    tree = CompactRange()
    roots = [tree.root()]
    for leaf in CT_LEAVES:
        tree.append(leaf_hash(leaf))
        roots.append(tree.root())
    assert roots == CT_ROOTS


def test_empty_tree() -> None:
    assert EMPTY_ROOT == sha256(b"").digest() == CompactRange().root() == root_of(0, node)
    assert subtrees(0) == []


def test_leaves_and_nodes_are_hashed_apart() -> None:
    left, right = LEAVES[:2]
    assert node_hash(left, right) == sha256(b"\x01" + left + right).digest()
    assert node_hash(left, right) != leaf_hash(left + right)
    assert leaf_hash(b"") == CT_ROOTS[1]


def test_every_tree_up_to_256_leaves() -> None:
    tree = CompactRange()
    for size in range(BIGGEST + 1):
        assert tree.size == size
        assert tree.root() == mth(0, size) == root_of(size, node)
        assert tree.nodes == tuple(node(level, index) for level, index in subtrees(size))
        if size < BIGGEST:
            tree.append(LEAVES[size])


@given(st.integers(0, MAX_SIZE))
def test_subtrees_cover_the_range_once_and_shrink(size: int) -> None:
    end, last = 0, 64
    for level, index in subtrees(size):
        assert level < last
        assert index << level == end
        end, last = (index + 1) << level, level
    assert end == size


def test_subtrees_of_eleven() -> None:
    assert subtrees(11) == [(3, 0), (1, 4), (0, 10)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100, 255, 256])
def test_a_range_is_taken_up_again(size: int) -> None:
    before = grown(LEAVES[: size // 2])
    again = CompactRange(before.size, before.nodes)
    for leaf in LEAVES[size // 2 : size]:
        again.append(leaf)
    assert again.root() == mth(0, size)
    assert before.root() == mth(0, size // 2)


def test_a_copy_grows_apart() -> None:
    tree = grown(LEAVES[:5])
    copy = tree.copy()
    copy.append(LEAVES[5])
    assert (tree.size, tree.root()) == (5, mth(0, 5))
    assert (copy.size, copy.root()) == (6, mth(0, 6))


def test_nodes_cannot_be_changed_from_outside() -> None:
    nodes = list(grown(LEAVES[:3]).nodes)
    tree = CompactRange(3, nodes)
    nodes.clear()
    assert tree.root() == mth(0, 3)


@pytest.mark.parametrize(
    "size",
    [-1, MAX_SIZE + 1, -(10**5000), 10**5000],
    ids=lambda s: f"{s:.0e}" if abs(s) < 10**20 else "huge",
)
def test_sizes_that_no_tree_has(size: int) -> None:
    for ask in (subtrees, CompactRange, lambda n: root_of(n, node)):
        with pytest.raises(IndexRange) as caught:
            ask(size)
        assert caught.value.code == "INDEX_RANGE"
        assert isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize(
    ("size", "nodes"),
    [
        (0, [LEAVES[0]]),
        (1, []),
        (3, [LEAVES[0]]),
        (4, LEAVES[:4]),
        (1, [LEAVES[0][:-1]]),
        (3, [LEAVES[0], LEAVES[1] + b"\x00"]),
    ],
    ids=["surplus", "none", "too-few", "leaves-for-a-subtree", "short", "long"],
)
def test_nodes_that_do_not_fit_the_size(size: int, nodes: list[bytes]) -> None:
    with pytest.raises(ProofShape) as caught:
        CompactRange(size, nodes)
    assert caught.value.code == "PROOF_SHAPE"
    assert isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize("leaf", [b"", b"x" * 31, b"x" * 33])
def test_an_append_that_is_no_hash_leaves_the_tree_alone(leaf: bytes) -> None:
    tree = grown(LEAVES[:3])
    with pytest.raises(ProofShape):
        tree.append(leaf)
    assert (tree.size, tree.root()) == (3, mth(0, 3))


class Growing(RuleBasedStateMachine):
    """Appends, restarts and copies in any order: the range is always the tree of its leaves."""

    @initialize()
    def begin(self) -> None:
        self.leaves: list[bytes] = []
        self.tree = CompactRange()

    @rule(data=st.binary(max_size=40))
    def append(self, data: bytes) -> None:
        self.leaves.append(leaf_hash(data))
        self.tree.append(leaf_hash(data))

    @rule(data=st.lists(st.binary(max_size=4), max_size=40))
    def append_many(self, data: list[bytes]) -> None:
        for item in data:
            self.append(item)

    @rule()
    def restart(self) -> None:
        self.tree = CompactRange(self.tree.size, self.tree.nodes)

    @rule()
    def copy(self) -> None:
        old, self.tree = self.tree, self.tree.copy()
        old.append(LEAVES[0])

    @invariant()
    def is_the_tree_of_its_leaves(self) -> None:
        def node(level: int, index: int) -> bytes:
            if level == 0:
                return self.leaves[index]
            return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

        assert self.tree.size == len(self.leaves)
        assert self.tree.root() == root_of(len(self.leaves), node)
        assert all(len(node) == HASH_SIZE for node in self.tree.nodes)


TestGrowing = Growing.TestCase
