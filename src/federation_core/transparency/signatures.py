"""A signature line of a note: `— <name> base64(key hash ‖ signature)`. C2SP signed-note."""

import msgspec

from .encoding import from_base64, to_base64
from .errors import NoteMalformed
from .keys import KEY_HASH_SIZE, is_key_name

__all__ = ["NoteSignature"]

_DASH = "— "


class NoteSignature(msgspec.Struct, frozen=True):
    """Who signed, as name and key hash (4 bytes), and the signature, whose form the key's
    algorithm gives. Raises `NoteMalformed` for what no line can hold."""

    name: str
    key_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise NoteMalformed(f"{self.name[:80]!r} is no key name: no spaces and no plus.")
        if len(self.key_hash) != KEY_HASH_SIZE or not self.signature:
            raise NoteMalformed("A signature needs 4 bytes of key hash, and at least one more.")

    @classmethod
    def parse(cls, line: str) -> "NoteSignature":
        """A line without its newline, in the one spelling of `line`. Raises `NoteMalformed`."""
        name, space, text = line.removeprefix(_DASH).partition(" ")
        data = from_base64(text)
        if not line.startswith(_DASH) or not space or data is None:
            raise NoteMalformed(f"{line[:80]!r} is no signature line; one is — <name> <base64>.")
        return cls(name, data[:KEY_HASH_SIZE], data[KEY_HASH_SIZE:])

    @property
    def line(self) -> str:
        """The line as it stands in a note, without its newline."""
        return f"{_DASH}{self.name} {to_base64(self.key_hash + self.signature)}"
