"""RFC 9162 section 2.1 as it is written, recursive and slow; and ways to spoil a proof."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from federation_core.transparency.tree import leaf_hash

BIGGEST = 256
"""The largest tree that is looked at whole."""

DATA = [b"leaf %d" % i for i in range(BIGGEST)]
LEAVES = [leaf_hash(data) for data in DATA]


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end]), section 2.1.1."""
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return sha256(b"\x00" + DATA[start]).digest()
    middle = start + split(end - start)
    return sha256(b"\x01" + mth(start, middle) + mth(middle, end)).digest()


def path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]), section 2.1.3.1; m counts from start."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def proof(m: int, n: int) -> list[bytes]:
    """PROOF(m, D[0:n]), section 2.1.4.1."""
    return subproof(m, 0, n, known=True)


def subproof(m: int, start: int, end: int, *, known: bool) -> list[bytes]:
    """SUBPROOF(m, D[start:end], b), section 2.1.4.1; m counts from start."""
    if m == end - start:
        return [] if known else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, known=known), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, known=False), mth(start, start + k)]


def node(level: int, index: int) -> bytes:
    """A `NodeReader` that knows every complete subtree of the largest tree, and no other node."""
    start, end = index << level, (index + 1) << level
    assert 0 <= start < end <= BIGGEST, f"there is no complete subtree ({level}, {index})"
    return mth(start, end)


def flipped(value: bytes, bit: int = 0) -> bytes:
    """The bytes with one bit changed."""
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


def hashes(*texts: str) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def spoiled(right: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Every way that one hash of a proof can be wrong: what was done → the proof after it."""
    wrong = {}
    for i, value in enumerate(right):
        wrong[f"hash {i} corrupted"] = [*right[:i], flipped(value, 7 * i % 256), *right[i + 1 :]]
        wrong[f"hash {i} dropped"] = [*right[:i], *right[i + 1 :]]
        wrong[f"hash {i} doubled"] = [*right[: i + 1], *right[i:]]
        wrong[f"hash {i} cut short"] = [*right[:i], value[:-1], *right[i + 1 :]]
        wrong[f"hash {i} too long"] = [*right[:i], value + b"\x00", *right[i + 1 :]]
        wrong[f"hash {i} empty"] = [*right[:i], b"", *right[i + 1 :]]
        if i and right[i - 1] != value:
            wrong[f"hash {i} swapped"] = [*right[: i - 1], value, right[i - 1], *right[i + 1 :]]
    wrong["surplus in front"] = [LEAVES[0], *right]
    wrong["surplus at the end"] = [*right, LEAVES[0]]
    return wrong
