"""Inclusion and consistency proofs: RFC 9162 sections 2.1.3 and 2.1.4.

Both are the way from one complete subtree up to the root, as the hashes of what stands beside it.

*Inclusion* begins at leaf `index`. The ways up from it and from the last leaf, `size − 1`, meet
after as many levels as their numbers differ in: `(index XOR (size−1)).bit_length()`. Below the
meeting (the *inner* part) every level has a neighbour, and bit l of the index says on which side.
From there on the way is the right border of the tree, where nothing stands to the right, and a
neighbour to the left only where the bit is one (the *border* part).

*Consistency* begins at the last complete subtree of the old tree, of level `s`, the number of
zeros at the end of `old`, and goes up in the new tree. What is on the left of the way, and the
beginning, make up the old tree; together with what is on the right they make up the new one: both
roots come out of one list. Where `old` is a power of two the beginning *is* the old tree, whose
root the verifier has, and is left out.

So the number of hashes follows from the sizes alone, and is checked before anything is hashed.
"""

from collections.abc import Callable, Sequence

from .errors import Inconsistent, IndexRange, ProofShape, RootMismatch
from .tree import check_hash, check_size, fold, node_hash, subtrees, told

__all__ = [
    "NodeReader",
    "consistency_proof",
    "inclusion_proof",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

NodeReader = Callable[[int, int], bytes]
"""(level, index) → the 32-byte hash of the complete subtree over [index·2ˡ, (index+1)·2ˡ)."""


def root_of(size: int, node: NodeReader) -> bytes:
    """The Merkle tree hash of [0, size). Raises `IndexRange` for a size that no tree has."""
    check_size(size)
    return _range_root(0, size, node)


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """PATH(index, D[0:size]) of section 2.1.3.1: from beside the leaf up to below the root.

    Raises `IndexRange` unless 0 ≤ index < size.
    """
    _check_index(index, size)
    proof = []
    low, high = 0, size
    while high - low > 1:  # the way from the root down to the leaf, which is always in [low, high)
        middle = _split(low, high)
        if index < middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """PROOF(old, D[0:new]) of section 2.1.4.1; nothing where old = new.

    Raises `IndexRange` unless 0 < old ≤ new: everything is consistent with an empty tree, so a
    proof from there would prove nothing.
    """
    _check_sizes(old, new)
    proof = []
    low, high = 0, new
    while high != old:  # down to the range that ends where the old tree ends: low < old ≤ high
        middle = _split(low, high)
        if old <= middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    if low:  # else that range is the whole old tree, and its root is known
        proof.append(_range_root(low, old, node))
    return proof[::-1]


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return where `leaf_hash` is leaf `index` of the tree of `size` leaves with this `root`.

    Raises `IndexRange` unless 0 ≤ index < size, `ProofShape` for another number of hashes than
    these take or one that is not 32 bytes, `RootMismatch` otherwise. Section 2.1.3.2.
    """
    _check_index(index, size)
    inner, border = _way_up(index, size - 1)
    _check_shape(proof, inner + border)
    for value in (leaf_hash, root):
        check_hash(value)
    found = leaf_hash
    for level, beside in enumerate(proof[:inner]):
        found = node_hash(beside, found) if index >> level & 1 else node_hash(found, beside)
    for beside in proof[inner:]:
        found = node_hash(beside, found)
    if found != root:
        raise RootMismatch(
            f"Leaf {index} of {size} and its proof lead to the root {found.hex()}; "
            f"it must be {root.hex()}."
        )


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Return where the tree of `new` leaves begins with the tree of `old` leaves.

    Raises `IndexRange` unless 0 < old ≤ new, `ProofShape` for another number of hashes than these
    take or one that is not 32 bytes, `Inconsistent` otherwise. Section 2.1.4.2.
    """
    _check_sizes(old, new)
    for value in (old_root, new_root):
        check_hash(value)
    if old == new:
        _check_shape(proof, 0)
        _check_root(new, old_root, new_root)
        return
    skipped = (old & -old).bit_length() - 1  # the level of the last complete subtree of old
    index = (old - 1) >> skipped
    inner, border = _way_up(index, (new - 1) >> skipped)
    is_known = old == 1 << skipped
    _check_shape(proof, inner + border + (not is_known))
    first, rest = (old_root, proof) if is_known else (proof[0], proof[1:])
    found_old = found_new = first
    for level, beside in enumerate(rest[:inner]):
        if index >> level & 1:
            found_old = node_hash(beside, found_old)
            found_new = node_hash(beside, found_new)
        else:
            found_new = node_hash(found_new, beside)
    for beside in rest[inner:]:
        found_old = node_hash(beside, found_old)
        found_new = node_hash(beside, found_new)
    _check_root(old, found_old, old_root)
    _check_root(new, found_new, new_root)


def _split(low: int, high: int) -> int:
    """low + the largest power of two below high − low."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _range_root(low: int, high: int, node: NodeReader) -> bytes:
    """MTH(D[low:high]) of a range that splitting [0, size) gives.

    Such a range begins at a multiple of the power of two that it does not exceed, so its complete
    subtrees are those of [0, high − low), moved by low.
    """
    return fold([node(level, index + (low >> level)) for level, index in subtrees(high - low)])


def _way_up(index: int, last: int) -> tuple[int, int]:
    """How many hashes stand beside the way up from node `index` where the last is `last`: in the
    inner part and at the border, as the head of this file tells."""
    inner = (index ^ last).bit_length()
    return inner, (index >> inner).bit_count()


def _check_index(index: int, size: int) -> None:
    check_size(size)
    if not 0 <= index < size:
        raise IndexRange(f"A tree of {size} leaves has none of index {told(index)}.")


def _check_sizes(old: int, new: int) -> None:
    check_size(new)
    if not 0 < old <= new:
        raise IndexRange(f"The old size must be between 1 and the new one, {new}, not {told(old)}.")


def _check_shape(proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise ProofShape(
            f"The proof has {len(proof)} hashes; for these sizes it must have {expected}."
        )
    for value in proof:
        check_hash(value)


def _check_root(size: int, found: bytes, expected: bytes) -> None:
    if found != expected:
        raise Inconsistent(
            f"At size {size} the proof leads to the root {found.hex()}; "
            f"it must be {expected.hex()}."
        )
