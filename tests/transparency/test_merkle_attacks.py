"""What a forged, broken or misused proof is refused with: one named test for each attack."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.transparency_helpers import (
    LEAVES,
    flipped,
    mth,
    node,
    path,
    proof,
    spoiled,
)

from federation_core.errors import IntegrityError, InvalidInput
from federation_core.transparency.errors import (
    Inconsistent,
    IndexRange,
    ProofShape,
    RootMismatch,
    TransparencyError,
)
from federation_core.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from federation_core.transparency.tree import EMPTY_ROOT, MAX_SIZE, node_hash

SIZES = [*range(1, 18), 31, 32, 33, 100, 255, 256]
PROOF_CODES = {"INDEX_RANGE", "PROOF_SHAPE", "ROOT_MISMATCH", "INCONSISTENT"}


def inclusion_code(
    leaf: bytes, index: int, size: int, hashes: Sequence[bytes], root: bytes
) -> str | None:
    try:
        verify_inclusion(leaf, index, size, hashes, root)
    except TransparencyError as e:
        return e.code
    return None


def consistency_code(
    old: int, new: int, hashes: Sequence[bytes], old_root: bytes, new_root: bytes
) -> str | None:
    try:
        verify_consistency(old, new, hashes, old_root, new_root)
    except TransparencyError as e:
        return e.code
    return None


def expected(what: str, mismatch: str) -> str:
    return mismatch if "corrupted" in what or "swapped" in what else "PROOF_SHAPE"


@pytest.mark.parametrize("size", SIZES)
def test_each_hash_of_each_inclusion_proof_spoiled(size: int) -> None:
    root = mth(0, size)
    for index in range(size) if size <= 33 else {0, 1, size // 3, size // 2, size - 2, size - 1}:
        right = path(index, 0, size)
        for what, wrong in spoiled(right).items():
            code = inclusion_code(LEAVES[index], index, size, wrong, root)
            assert code == expected(what, "ROOT_MISMATCH"), (index, what)


@pytest.mark.parametrize("new", SIZES)
def test_each_hash_of_each_consistency_proof_spoiled(new: int) -> None:
    roots = mth(0, new)
    for old in range(1, new + 1) if new <= 33 else {1, 2, new // 3, new // 2, new - 1, new}:
        right = proof(old, new)
        for what, wrong in spoiled(right).items():
            code = consistency_code(old, new, wrong, mth(0, old), roots)
            assert code == expected(what, "INCONSISTENT"), (old, what)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 13])
def test_a_leaf_is_at_its_own_place_alone(size: int) -> None:
    for index in range(size):
        for other in range(size):
            if other != index:
                assert inclusion_code(
                    LEAVES[index], other, size, path(index, 0, size), mth(0, size)
                ) in {"ROOT_MISMATCH", "PROOF_SHAPE"}
                assert (
                    inclusion_code(LEAVES[other], index, size, path(index, 0, size), mth(0, size))
                    == "ROOT_MISMATCH"
                )


def test_a_proof_for_another_size() -> None:
    for size in range(2, 34):
        for other in range(1, 34):
            if other != size:
                code = inclusion_code(LEAVES[0], 0, other, path(0, 0, size), mth(0, other))
                assert code is not None


def test_an_inner_node_passed_off_as_a_leaf() -> None:
    """The root of D[0:2] with what stands beside it. It would be leaf 0 of a tree of two with this
    root; that the tree has four leaves is what the signed checkpoint says."""
    inner, above = mth(0, 2), [mth(2, 4)]
    assert inclusion_code(inner, 0, 4, above, mth(0, 4)) == "PROOF_SHAPE"
    assert inclusion_code(inner, 0, 4, [mth(2, 3), *above], mth(0, 4)) == "ROOT_MISMATCH"


def test_history_rewritten_under_the_old_size() -> None:
    """The new tree has another leaf 2: neither it nor its honest proof fit the old root."""
    forged = [*LEAVES[:2], LEAVES[9], *LEAVES[3:8]]

    def forged_node(level: int, index: int) -> bytes:
        if level == 0:
            return forged[index]
        return node_hash(forged_node(level - 1, 2 * index), forged_node(level - 1, 2 * index + 1))

    for old in range(3, 8):
        made = consistency_proof(old, 8, forged_node)
        code = consistency_code(old, 8, made, mth(0, old), forged_node(3, 0))
        assert code == "INCONSISTENT"


def test_a_log_rolled_back_to_a_smaller_one() -> None:
    assert consistency_code(8, 5, proof(5, 8), mth(0, 8), mth(0, 5)) == "INDEX_RANGE"


def test_the_same_size_with_two_roots_is_a_fork() -> None:
    with pytest.raises(Inconsistent) as caught:
        verify_consistency(5, 5, [], mth(0, 5), mth(1, 6))
    assert caught.value.code == "INCONSISTENT"
    assert isinstance(caught.value, IntegrityError)


def test_old_and_new_roots_exchanged() -> None:
    for old, new in [(1, 2), (3, 7), (4, 8), (6, 8)]:
        assert consistency_code(old, new, proof(old, new), mth(0, new), mth(0, old)) == (
            "INCONSISTENT"
        )


def test_only_the_new_root_or_only_the_old_one_is_right() -> None:
    for old, new in [(1, 2), (3, 7), (4, 8), (6, 8), (7, 8)]:
        right = proof(old, new)
        for roots in ((flipped(mth(0, old)), mth(0, new)), (mth(0, old), flipped(mth(0, new)))):
            assert consistency_code(old, new, right, *roots) == "INCONSISTENT"


def test_a_surplus_hash_where_none_belongs() -> None:
    assert consistency_code(5, 5, [LEAVES[0]], mth(0, 5), mth(0, 5)) == "PROOF_SHAPE"
    assert inclusion_code(LEAVES[0], 0, 1, [LEAVES[0]], mth(0, 1)) == "PROOF_SHAPE"


def test_consistency_from_the_empty_tree_proves_nothing() -> None:
    with pytest.raises(IndexRange):
        consistency_proof(0, 5, node)
    assert consistency_code(0, 5, [], EMPTY_ROOT, mth(0, 5)) == "INDEX_RANGE"
    assert consistency_code(0, 0, [], EMPTY_ROOT, EMPTY_ROOT) == "INDEX_RANGE"


@pytest.mark.parametrize(
    ("index", "size"),
    [(0, 0), (-1, 5), (5, 5), (6, 5), (0, -1), (0, MAX_SIZE + 1), (10**5000, 5), (0, 10**5000)],
    ids=["empty", "negative", "end", "beyond", "no-size", "size-over", "index-huge", "size-huge"],
)
def test_leaves_that_are_not_there(index: int, size: int) -> None:
    with pytest.raises(IndexRange) as caught:
        inclusion_proof(index, size, node)
    assert isinstance(caught.value, InvalidInput)
    assert inclusion_code(LEAVES[0], index, size, [], mth(0, 5)) == "INDEX_RANGE"


@pytest.mark.parametrize(
    ("old", "new"),
    [(-1, 5), (6, 5), (1, 0), (1, MAX_SIZE + 1), (10**5000, 5), (5, 10**5000)],
    ids=["negative", "old-over-new", "new-empty", "new-over", "old-huge", "new-huge"],
)
def test_sizes_that_do_not_follow_each_other(old: int, new: int) -> None:
    with pytest.raises(IndexRange):
        consistency_proof(old, new, node)
    assert consistency_code(old, new, [], mth(0, 5), mth(0, 5)) == "INDEX_RANGE"


@pytest.mark.parametrize("bad", [b"", b"x" * 31, b"x" * 33], ids=["empty", "short", "long"])
def test_leaf_and_roots_that_are_no_hashes(bad: bytes) -> None:
    right = path(2, 0, 5)
    assert inclusion_code(bad, 2, 5, right, mth(0, 5)) == "PROOF_SHAPE"
    assert inclusion_code(LEAVES[2], 2, 5, right, bad) == "PROOF_SHAPE"
    assert consistency_code(3, 5, proof(3, 5), bad, mth(0, 5)) == "PROOF_SHAPE"
    assert consistency_code(3, 5, proof(3, 5), mth(0, 3), bad) == "PROOF_SHAPE"
    assert consistency_code(5, 5, [], bad, bad) == "PROOF_SHAPE"


def test_a_proof_as_long_as_memory_is_refused_by_its_length() -> None:
    with pytest.raises(ProofShape) as caught:
        verify_inclusion(LEAVES[0], 0, 2, [LEAVES[1]] * 100_000, mth(0, 2))
    assert "100000 hashes" in caught.value.detail
    assert "must have 1" in caught.value.detail


def test_the_detail_says_both_roots() -> None:
    with pytest.raises(RootMismatch) as caught:
        verify_inclusion(LEAVES[0], 0, 2, [LEAVES[1]], mth(0, 3))
    assert mth(0, 2).hex() in caught.value.detail
    assert mth(0, 3).hex() in caught.value.detail


any_hash = st.binary(min_size=32, max_size=32) | st.binary(max_size=40)
any_size = st.integers(-2, 300) | st.integers(0, 2**64)


@given(any_hash, any_size, any_size, st.lists(any_hash, max_size=10), any_hash)
def test_any_inclusion_proof_is_refused_with_a_code(
    leaf: bytes, index: int, size: int, hashes: list[bytes], root: bytes
) -> None:
    code = inclusion_code(leaf, index, size, hashes, root)
    assert code in PROOF_CODES or (size == 1 and leaf == root and not hashes)


@given(any_size, any_size, st.lists(any_hash, max_size=10), any_hash, any_hash)
def test_any_consistency_proof_is_refused_with_a_code(
    old: int, new: int, hashes: list[bytes], old_root: bytes, new_root: bytes
) -> None:
    code = consistency_code(old, new, hashes, old_root, new_root)
    assert code in PROOF_CODES or (old == new and old_root == new_root and not hashes)
