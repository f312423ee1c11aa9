"""Signed notes: a text, a blank line, and a line for each signature. C2SP signed-note.

    If you think cryptography is the answer to your problem,
    then you don't know what your problem is.

    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqd…

The text may have blank lines of its own; the last one of the note ends it. Nothing in a text is to
be believed before `verify_note` has named a key that signed it.
"""

from collections.abc import Iterable

import msgspec

from .cosignature import verify_cosignature
from .ed25519 import SigningKey, verify
from .encoding import text_bytes
from .errors import BadSignature, KeyMalformed, NoteMalformed
from .keys import COSIGNATURE, ED25519, VerifierKey, key_hash
from .signatures import NoteSignature

__all__ = [
    "MAX_NOTE_BYTES",
    "MAX_SIGNATURES",
    "Note",
    "NoteSignature",
    "VerifierKey",
    "parse_note",
    "sign_note",
    "verify_note",
]

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100


class Note(msgspec.Struct, frozen=True):
    """A text, its last newline included, and who is said to have signed it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The bytes that `parse_note` reads back. Raises `NoteMalformed` where it would refuse
        them."""
        count = len(self.signatures)
        if not 1 <= count <= MAX_SIGNATURES:
            raise NoteMalformed(f"A note has 1 to {MAX_SIGNATURES} signatures, and not {count}.")
        lines = "".join(f"{signature.line}\n" for signature in self.signatures)
        data = b"%b\n%b" % (text_bytes(self.text), lines.encode())
        _check_length(data)
        return data


def parse_note(data: bytes) -> Note:
    """The note of these bytes, of which nothing is verified yet. Raises `NoteMalformed`."""
    _check_length(data)
    try:
        whole = data.decode()
    except UnicodeDecodeError as e:
        raise NoteMalformed(f"The note is not UTF-8: {e.reason} at byte {e.start}.") from e
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteMalformed(
            "A note is a text, a blank line, and signature lines that each end with a newline."
        )
    if tail.count("\n") > MAX_SIGNATURES:
        raise NoteMalformed(f"The note has more than {MAX_SIGNATURES} signatures.")
    note = Note(head + "\n", tuple(NoteSignature.parse(line) for line in tail[:-1].split("\n")))
    if note.encode() != data:
        raise NoteMalformed("The note is not spelled as its own text and signatures are.")
    return note


def sign_note(text: str, name: str, key: SigningKey) -> NoteSignature:
    """The line of the key called `name` under this text, with plain Ed25519 (algorithm 0x01).

    Raises `NoteMalformed` for what is no note's text, `KeyMalformed` for what is no key's name.
    """
    signature = key.sign(text_bytes(text))
    return NoteSignature(name, key_hash(name, ED25519, key.public), signature)


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Which of `keys` signed, in the order of their lines. **None of them is an empty list**, and
    then the note is to be rejected.

    Signatures of unknown keys are passed over; one that has a known key's name and hash must be
    that key's. Raises `BadSignature` where it is not, `NoteMalformed` where a known key signed
    twice, `KeyMalformed` where two of `keys` cannot be told apart on a line.
    """
    known = _by_line(keys)
    signed: list[VerifierKey] = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_hash))
        if key is None:
            continue
        if key in signed:
            raise NoteMalformed(f"The key {key.name} signed twice; each may sign once.")
        _check_signature(note.text, signature, key)
        signed.append(key)
    return signed


def _by_line(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_hash), key) != key:
            raise KeyMalformed(f"Two keys are called {key.name} and have the same key hash.")
    return known


def _check_signature(text: str, signature: NoteSignature, key: VerifierKey) -> None:
    if key.algorithm == COSIGNATURE:
        verify_cosignature(text, signature, key)
    elif not verify(key.public, text_bytes(text), signature.signature):
        raise BadSignature(f"The signature of {key.name} is not that key's over this text.")


def _check_length(data: bytes) -> None:
    if len(data) > MAX_NOTE_BYTES:
        raise NoteMalformed(f"The note has {len(data)} bytes; at most {MAX_NOTE_BYTES} may be.")
