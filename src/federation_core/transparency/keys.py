"""Verifier keys: whose signatures a reader of notes believes. C2SP signed-note.

    log.example/acme+1f2e3d4c+AQq7…        name + key hash + base64 of algorithm ‖ public key

Name and key hash together name the key on a signature line. The hash is short, an identifier and
no fingerprint: what is believed is the public key, which the reader has from elsewhere.
"""

import re
from hashlib import sha256

import msgspec

from .ed25519 import PUBLIC_SIZE, check_public
from .encoding import from_base64, to_base64
from .errors import KeyMalformed

__all__ = ["COSIGNATURE", "ED25519", "KEY_HASH_SIZE", "VerifierKey", "is_key_name", "key_hash"]

ED25519 = 0x01
"""Signs the text of a note as it stands."""
COSIGNATURE = 0x04
"""A witness: signs a checkpoint together with the time. C2SP tlog-cosignature."""

KEY_HASH_SIZE = 4
_REFUSED_IN_NAME = re.compile(r"[\x00-\x1f\s+\ud800-\udfff]")


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key with its name. `key_hash` is 4 bytes, `public` 32; raises `KeyMalformed` where
    they do not belong together, so that there is no such key."""

    name: str
    key_hash: bytes
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        check_public(self.public)
        if self.key_hash != key_hash(self.name, self.algorithm, self.public):
            raise KeyMalformed(f"The key hash of {self.name!r} is not that of its public key.")

    @classmethod
    def of(cls, name: str, public: bytes, algorithm: int = ED25519) -> "VerifierKey":
        """The key of this name, its hash computed. Raises `KeyMalformed`."""
        return cls(name, key_hash(name, algorithm, public), algorithm, public)

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Of all spellings the one that `text` gives. Raises `KeyMalformed`."""
        wrong = f"{text[:80]!r} is no verifier key; one is name+8 hex digits+base64."
        parts = text.split("+", 2)  # neither a name nor a hash has a plus, base64 may
        if len(parts) != 3 or not re.fullmatch("[0-9a-f]{8}", parts[1]):
            raise KeyMalformed(wrong)
        material = from_base64(parts[2])
        if material is None or len(material) != 1 + PUBLIC_SIZE:
            raise KeyMalformed(wrong)
        return cls(parts[0], bytes.fromhex(parts[1]), material[0], material[1:])

    @property
    def text(self) -> str:
        """`name+8 hex digits+base64`, as a file of trusted keys has it."""
        material = to_base64(bytes([self.algorithm]) + self.public)
        return f"{self.name}+{self.key_hash.hex()}+{material}"


def is_key_name(name: str) -> bool:
    """Whether a key may be called so: not empty; no space of any kind, plus or control."""
    return bool(name) and not _REFUSED_IN_NAME.search(name)


def key_hash(name: str, algorithm: int, public: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key). Raises `KeyMalformed`
    for a name that no key may have, and for an algorithm that is not known here."""
    if not is_key_name(name):
        raise KeyMalformed(f"{name[:80]!r} is no key name: not empty, no spaces and no plus.")
    if algorithm not in {ED25519, COSIGNATURE}:
        raise KeyMalformed("The key's algorithm must be 0x01, Ed25519, or 0x04, a cosignature.")
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:KEY_HASH_SIZE]
