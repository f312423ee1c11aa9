"""Somebody who makes a whole pack anew: a tree of their own, and a key under the log's name.

For trees see RFC 9162 section 2.1, for notes and keys C2SP signed-note and tlog-checkpoint, for
envelopes DSSE v1.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .hashing import canonical

__all__ = ["Forger", "Tree", "note_text"]

_TYPE = "application/vnd.federation-core.workflow-receipt.v1+json"
_ED25519 = b"\x01"


class Tree:
    """A tree of `size` leaves, of which those in `leaves` (index → hash) are known and the others
    are all the same made-up hash: what beside them hangs in the log does not matter here."""

    def __init__(self, leaves: Mapping[int, bytes], size: int) -> None:
        self._leaves, self.size = leaves, size
        self._known: dict[tuple[int, int], bytes] = {}
        self._blank: dict[int, bytes] = {1: hashlib.sha256(b"\0made up").digest()}

    @property
    def root(self) -> bytes:
        return self._over(0, self.size)

    def path(self, index: int) -> list[str]:
        """The inclusion proof of a leaf, in base64."""
        found, low, high = [], 0, self.size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                found.append(self._over(middle, high))
                high = middle
            else:
                found.append(self._over(low, middle))
                low = middle
        return [_base64(node) for node in reversed(found)]

    def _over(self, low: int, high: int) -> bytes:
        if not any(low <= index < high for index in self._leaves):
            return self._empty(high - low)
        if high - low == 1:
            return self._leaves[low]
        if (low, high) not in self._known:
            middle = low + _split(high - low)
            self._known[low, high] = _node(self._over(low, middle), self._over(middle, high))
        return self._known[low, high]

    def _empty(self, width: int) -> bytes:
        if width not in self._blank:
            left = _split(width)
            self._blank[width] = _node(self._empty(left), self._empty(width - left))
        return self._blank[width]


class Forger:
    """Has a key of their own, which has the name of the log that they pass for."""

    def __init__(self, log: str) -> None:
        self.log = log
        self._key = Ed25519PrivateKey.generate()
        material = _ED25519 + self._key.public_key().public_bytes_raw()
        self._hash = hashlib.sha256(log.encode() + b"\n" + material).digest()[:4]
        self._keyid = f"{log}+{self._hash.hex()}"
        self.key = f"{self._keyid}+{_base64(material)}"

    @property
    def trust(self) -> str:
        """The trust file of somebody who believes the forger."""
        return f"log {self.key}\nissuer {self.key}\n"

    @property
    def history(self) -> bytes:
        """The history of keys, as if there had never been another."""
        return canonical({"from": 0, "key": self.key, "to": None}) + b"\n"

    def checkpoint(self, tree: Tree) -> bytes:
        """A signed note over the tree."""
        text = note_text(self.log, tree)
        line = f"— {self.log} {_base64(self._hash + self._key.sign(text.encode()))}\n"
        return f"{text}\n{line}".encode()

    def envelope(self, receipt: bytes) -> bytes:
        """The workflow receipt, signed."""
        message = b"DSSEv1 %d %b %d %b" % (len(_TYPE), _TYPE.encode(), len(receipt), receipt)
        signature = {"keyid": self._keyid, "sig": _base64(self._key.sign(message))}
        return canonical(
            {"payload": _base64(receipt), "payloadType": _TYPE, "signatures": [signature]}
        )


def note_text(log: str, tree: Tree) -> str:
    """What is signed of a checkpoint."""
    return f"{log}\n{tree.size}\n{_base64(tree.root)}\n"


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
