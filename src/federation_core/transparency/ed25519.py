"""Ed25519 (RFC 8032) with one answer for every input.

RFC 8032 leaves open what to do with encodings and points that no honest signer makes, and
libraries differ there (Chalkias, Garillot, Nikolaenko: *Taming the many EdDSAs*, 2020). Here they
are refused before the library is asked:

- a scalar S ≥ L: S + L would be a second signature of the same message;
- a public key or R whose y is not below p, or x = 0 with the sign bit set: a second spelling;
- a public key or R of low order (its order divides 8): under such a key anybody can sign.

p = 2²⁵⁵ − 19, L = 2²⁵² + 27742317777372353535851937790883648493, section 5.1.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from .errors import KeyMalformed

__all__ = ["PUBLIC_SIZE", "SEED_SIZE", "SIGNATURE_SIZE", "SigningKey", "check_public", "verify"]

SEED_SIZE = 32
PUBLIC_SIZE = 32
SIGNATURE_SIZE = 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493

# The curve is −x² + y² = 1 + d·x²·y². Its eight points of low order are
#   order 1: (0, 1)       order 2: (0, −1)       order 4: (±√−1, 0)
#   order 8: four points (±x, ±y) that double to order 4, so that x² = −y² and d·y⁴ + 2·y² = 1.
# So y alone tells them. With y = ±1, x is 0: the spelling of 0 with a sign bit is among them.
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_LOW_ORDER = frozenset({1, _P - 1, 0, _Y8, _P - _Y8})


class SigningKey:
    """A private key. Signing is deterministic: no randomness is asked for. Does not show itself."""

    __slots__ = ("_key", "_public", "_seed")

    def __init__(self, seed: bytes) -> None:
        """From the 32 bytes that RFC 8032 calls the private key. Raises `KeyMalformed`."""
        if len(seed) != SEED_SIZE:
            raise KeyMalformed(f"A seed is {SEED_SIZE} bytes; one of {len(seed)} was given.")
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """The key of these 32 bytes. Raises `KeyMalformed`."""
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes that the key was made from."""
        return self._seed

    @property
    def public(self) -> bytes:
        """The public key: 32 bytes, section 5.1.5."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """64 bytes: R ‖ S, section 5.1.6."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<SigningKey of {self._public.hex()}>"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is this key's over `message`, section 5.1.7. Never raises:
    what is of the wrong length, not canonical or of low order is not a signature."""
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    r, s = signature[:32], signature[32:]
    if int.from_bytes(s, "little") >= _L or not (_is_strict(public) and _is_strict(r)):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: a y that is on no point of the curve
        return False
    return True


def check_public(public: bytes) -> None:
    """Raises `KeyMalformed` for bytes under which `verify` accepts nothing: not 32 of them, not
    canonically encoded, or of low order."""
    if len(public) != PUBLIC_SIZE:
        raise KeyMalformed(f"A public key is {PUBLIC_SIZE} bytes; one of {len(public)} was given.")
    if not _is_strict(public):
        raise KeyMalformed("The public key is of low order, or not canonically encoded.")


def _is_strict(point: bytes) -> bool:
    """Of an encoded point: y below p, and not of low order. Section 5.1.2: y is the lower 255
    bits, little-endian; the highest is the sign of x."""
    y = int.from_bytes(point, "little") & (1 << 255) - 1
    return y < _P and y not in _LOW_ORDER
