"""The Merkle tree of RFC 9162 section 2.1, with SHA-256, as a range that only grows.

Leaves are numbered from 0; ranges are half-open. `MTH(D[a:b])` is the hash of leaves a … b−1:

    MTH of no leaf    = SHA-256()
    MTH of one leaf   = SHA-256(0x00 ‖ leaf)
    MTH of n > 1      = SHA-256(0x01 ‖ MTH(D[0:k]) ‖ MTH(D[k:n])),  k the largest power of two < n

The prefixes keep a node from being passed off as a leaf, and a leaf as a node.

A subtree is *complete* where it spans [i·2ˡ, (i+1)·2ˡ) and every leaf of it is there; `(level l,
index i)` names it. Its hash never changes again, whatever is appended. A tree of n leaves is a row
of complete subtrees, one for each bit that is set in n, largest first: 11 = 8 + 2 + 1 is
[0,8) [8,10) [10,11). Their roots are all that has to be kept to go on appending, and the root of
the whole is folded from them from the right: H(m₈, H(m₂, m₁)), because k above splits off
exactly the largest of them.
"""

from collections.abc import Iterable
from hashlib import sha256

from .errors import IndexRange, ProofShape

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "MAX_SIZE",
    "CompactRange",
    "leaf_hash",
    "node_hash",
    "subtrees",
]

HASH_SIZE = 32
EMPTY_ROOT = sha256().digest()
MAX_SIZE = 2**63 - 1
"""A tree has at most this many leaves: what fits a signed 64-bit integer anywhere."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data), 32 bytes. RFC 9162 section 2.1.1."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes, of two 32-byte hashes. RFC 9162 section 2.1.1."""
    return sha256(b"\x01" + left + right).digest()


def subtrees(size: int) -> list[tuple[int, int]]:
    """(level, index) of the complete subtrees that make up [0, size), largest first.

    11 gives [(3, 0), (1, 4), (0, 10)]. Raises `IndexRange` for a size that no tree has.
    """
    check_size(size)
    # The subtree of bit l begins where the higher bits of size end; in units of its own width
    # that is size >> l with the lowest bit, which is its own, taken off.
    return [
        (level, (size >> level) - 1)
        for level in range(size.bit_length() - 1, -1, -1)
        if size >> level & 1
    ]


class CompactRange:
    """The leaves [0, size) by the roots of their complete subtrees: at most 63 hashes.

    To append is to add one in binary. The new leaf is a subtree of level 0; where one of its level
    stands at the end already they become one of the next level, as a carry. So n appends cost
    fewer than n node hashes, and one costs at most 63.
    """

    __slots__ = ("_nodes", "_size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        """Take up a range again from its `size` and `nodes`. Raises `IndexRange`, and `ProofShape`
        where the nodes are not one 32-byte hash for each bit that is set in `size`."""
        check_size(size)
        self._size = size
        self._nodes = list(nodes)
        if len(self._nodes) != size.bit_count():
            raise ProofShape(
                f"{len(self._nodes)} hashes were given for a tree of {size} leaves; "
                f"it has {size.bit_count()} complete subtrees."
            )
        for node in self._nodes:
            check_hash(node)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The roots of `subtrees(size)`, in that order: largest first."""
        return tuple(self._nodes)

    def append(self, leaf_hash: bytes) -> None:
        """Add a leaf by its hash. Raises `ProofShape` where that is not 32 bytes."""
        if len(leaf_hash) != HASH_SIZE:
            check_hash(leaf_hash)
        nodes, carry, rest = self._nodes, leaf_hash, self._size
        while rest & 1:
            carry = node_hash(nodes.pop(), carry)
            rest >>= 1
        nodes.append(carry)
        self._size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves, 32 bytes."""
        return fold(self._nodes)

    def copy(self) -> "CompactRange":
        """The same range, to be appended to apart from this one."""
        return CompactRange(self._size, self._nodes)


def fold(nodes: list[bytes]) -> bytes:
    """The root over adjacent complete subtrees, given largest first."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for left in nodes[-2::-1]:
        root = node_hash(left, root)
    return root


def check_size(size: int) -> None:
    """Raises `IndexRange` for a number that no tree has as its size."""
    if not 0 <= size <= MAX_SIZE:
        raise IndexRange(f"A tree has between 0 and 2⁶³−1 leaves, and not {told(size)}.")


def check_hash(value: bytes) -> None:
    """Raises `ProofShape` for what is not as long as a SHA-256 hash."""
    if len(value) != HASH_SIZE:
        raise ProofShape(f"A hash is {HASH_SIZE} bytes; one of {len(value)} was given.")


def told(number: int) -> str:
    """A number as a message says it, for Python does not write out one that is very long."""
    return str(number) if abs(number) <= MAX_SIZE else f"a number of {number.bit_length()} bits"
