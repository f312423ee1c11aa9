"""Every proof of the small trees against RFC 9162's own definition, and published vectors."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.ct_vectors import CT_CONSISTENCY, CT_INCLUSION, CT_LEAVES, CT_ROOTS, ct_node
from tests.transparency.transparency_helpers import (
    BIGGEST,
    LEAVES,
    mth,
    node,
    path,
    proof,
)

from federation_core.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from federation_core.transparency.tree import leaf_hash

LARGE = [131, 160, 191, 192, 193, 200, 223, 224, 225, 240, 251, 252, 253, 254, 255, 256]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_certificate_transparency_inclusion(index: int, size: int) -> None:
    published = CT_INCLUSION[index, size]
    assert inclusion_proof(index, size, ct_node) == published
    verify_inclusion(leaf_hash(CT_LEAVES[index]), index, size, published, CT_ROOTS[size])


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCY)
def test_certificate_transparency_consistency(old: int, new: int) -> None:
    published = CT_CONSISTENCY[old, new]
    assert consistency_proof(old, new, ct_node) == published
    verify_consistency(old, new, published, CT_ROOTS[old], CT_ROOTS[new])


def test_every_inclusion_proof_up_to_130_leaves() -> None:
    for size in range(1, 131):
        for index in range(size):
            made = inclusion_proof(index, size, node)
            assert made == path(index, 0, size)
            verify_inclusion(LEAVES[index], index, size, made, mth(0, size))


@pytest.mark.parametrize("size", LARGE)
def test_inclusion_proofs_up_to_256_leaves(size: int) -> None:
    edges = {0, 1, 63, 64, 127, 128, 129, 191, 192, 223, 224, 253, 254, 255}
    for index in {*edges, size - 2, size - 1, *range(3, size, 7)} & set(range(size)):
        made = inclusion_proof(index, size, node)
        assert made == path(index, 0, size)
        verify_inclusion(LEAVES[index], index, size, made, mth(0, size))


def test_every_consistency_proof_up_to_64_leaves() -> None:
    for new in range(1, 65):
        for old in range(1, new + 1):
            made = consistency_proof(old, new, node)
            assert made == proof(old, new)
            verify_consistency(old, new, made, mth(0, old), mth(0, new))


@pytest.mark.parametrize("new", LARGE)
def test_consistency_proofs_up_to_256_leaves(new: int) -> None:
    edges = {1, 2, 3, 63, 64, 65, 127, 128, 129, 191, 192, 193, 254, 255, 256}
    for old in {*edges, new - 1, new, *range(5, new, 11)} & set(range(1, new + 1)):
        made = consistency_proof(old, new, node)
        assert made == proof(old, new)
        verify_consistency(old, new, made, mth(0, old), mth(0, new))


@pytest.mark.parametrize("size", [1, 2, 7, 256])
def test_a_tree_is_consistent_with_itself_without_a_hash(size: int) -> None:
    assert consistency_proof(size, size, node) == []
    verify_consistency(size, size, [], mth(0, size), mth(0, size))


@given(st.data())
def test_any_tree_is_consistent_by_way_of_any_between(data: st.DataObject) -> None:
    sizes = sorted(data.draw(st.lists(st.integers(1, BIGGEST), min_size=2, max_size=5)))
    for old, new in pairwise(sizes):
        made = consistency_proof(old, new, node)
        verify_consistency(old, new, made, mth(0, old), mth(0, new))
        assert len(made) <= 2 * new.bit_length()
