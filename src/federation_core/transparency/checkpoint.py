"""Checkpoints: what a log says that it holds, signed. C2SP tlog-checkpoint.

    example.com/behind-the-sofa                      the origin: which log
    20852163                                         how many leaves
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=     the Merkle tree hash over them

That is the text of a note. The specification allows further lines, which no one can audit; here
there are exactly three. The log's key has the origin as its name.
"""

import msgspec

from .ed25519 import SigningKey
from .encoding import from_base64, from_decimal, text_bytes, to_base64
from .errors import KeyMalformed, NoteMalformed, OriginMismatch, RootMismatch, UnknownKey
from .keys import ED25519
from .note import Note, VerifierKey, parse_note, sign_note, verify_note
from .tree import EMPTY_ROOT, HASH_SIZE, check_hash, check_size

__all__ = ["Checkpoint", "open_checkpoint", "parse_checkpoint", "sign_checkpoint"]


class Checkpoint(msgspec.Struct, frozen=True):
    """The first `size` leaves of the log `origin` have this 32-byte `root`.

    Raises `NoteMalformed` for an origin that is not one line, `IndexRange` for a size that no tree
    has, `ProofShape` for a root that is no hash, `RootMismatch` for an empty tree with a root that
    is not the empty one's: no consistency proof begins there, so nothing else would find it.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise NoteMalformed("A checkpoint's origin is one line that is not empty.")
        text_bytes(f"{self.origin}\n")
        check_size(self.size)
        check_hash(self.root)
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise RootMismatch(f"The root of the empty tree is {EMPTY_ROOT.hex()}.")

    def text(self) -> str:
        """The text of the note: three lines, a newline after each."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint of a note's text, in the one spelling of `Checkpoint.text`.

    Raises `NoteMalformed`, and `RootMismatch` for an empty tree that has another root.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NoteMalformed("A checkpoint has three lines: its origin, its size and its root.")
    size, root = from_decimal(lines[1]), from_base64(lines[2])
    if size is None:
        raise NoteMalformed("A checkpoint's size is decimal, below 2⁶³ and without leading zeros.")
    if root is None or len(root) != HASH_SIZE:
        raise NoteMalformed("A checkpoint's root is a hash of 32 bytes in base64.")
    return Checkpoint(lines[0], size, root)


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """The checkpoint as a note, signed by the log: the key's name is the origin.

    Raises `KeyMalformed` where that can be no key's name. Whoever signs two checkpoints that are
    not consistent has forked the log; this cannot know.
    """
    text = checkpoint.text()
    return Note(text, (sign_note(text, checkpoint.origin, key),))


def open_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that the log's key has signed, whoever signed besides.

    Raises what `parse_note`, `verify_note` and `parse_checkpoint` raise, `KeyMalformed` where the
    key is a witness's, `UnknownKey` where this key did not sign, and `OriginMismatch` where the
    origin is not the key's name.
    """
    if key.algorithm != ED25519:
        raise KeyMalformed(f"The key {key.name} is no log's; that has algorithm 0x01.")
    note = parse_note(data)
    if not verify_note(note, [key]):
        raise UnknownKey(f"The checkpoint is not signed by {key.name}.")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise OriginMismatch(
            f"The checkpoint is of the log {checkpoint.origin[:80]!r}; it must be {key.name}."
        )
    return checkpoint
