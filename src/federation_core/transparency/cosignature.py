"""Cosignatures: a witness says that it saw this checkpoint, consistent, at this time.

C2SP tlog-cosignature, the Ed25519 form (algorithm 0x04). Signed is

    cosignature/v1
    time 1679315147
    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

with a newline after each line; the signature is the time again, as 8 bytes big-endian, and then
64 bytes of Ed25519. What keeps a log from showing one history to one reader and another to the
next is that witnesses saw both, so a witness signs nothing before it has verified the consistency
with what it signed last.
"""

from .ed25519 import SIGNATURE_SIZE, SigningKey, verify
from .encoding import text_bytes
from .errors import BadSignature, KeyMalformed, NoteMalformed, UnknownKey
from .keys import COSIGNATURE, VerifierKey, key_hash
from .signatures import NoteSignature
from .tree import MAX_SIZE, told

__all__ = ["cosign", "verify_cosignature"]

_TIME_SIZE = 8
_MAX_SECONDS = MAX_SIZE


def cosign(
    checkpoint_text: str, witness_name: str, key: SigningKey, at_seconds: int
) -> NoteSignature:
    """The witness's line under a checkpoint's text, at so many seconds since the epoch.

    The caller has parsed the text and verified its consistency. Raises `NoteMalformed` for a text
    or a time (0 … 2⁶³−1) that cannot be signed, `KeyMalformed` for a name that no key may have.
    """
    if not 0 <= at_seconds <= _MAX_SECONDS:
        raise NoteMalformed(f"A time is between 0 and 2⁶³−1 seconds, and not {told(at_seconds)}.")
    signature = key.sign(_message(checkpoint_text, at_seconds))
    name_hash = key_hash(witness_name, COSIGNATURE, key.public)
    return NoteSignature(
        witness_name, name_hash, at_seconds.to_bytes(_TIME_SIZE, "big") + signature
    )


def verify_cosignature(checkpoint_text: str, signature: NoteSignature, key: VerifierKey) -> int:
    """The seconds since the epoch at which this witness saw the checkpoint.

    Raises `KeyMalformed` where the key is none of a witness, `UnknownKey` where the line is
    another key's, `BadSignature` where the signature is not this key's over this text.
    """
    if key.algorithm != COSIGNATURE:
        raise KeyMalformed(f"The key {key.name} is no witness's; that has algorithm 0x04.")
    if (signature.name, signature.key_hash) != (key.name, key.key_hash):
        raise UnknownKey(f"The signature is by {signature.name}, and not by {key.name}.")
    data = signature.signature
    if len(data) != _TIME_SIZE + SIGNATURE_SIZE:
        raise BadSignature(f"A cosignature has 72 bytes; the one of {key.name} has {len(data)}.")
    at_seconds = int.from_bytes(data[:_TIME_SIZE], "big")
    if at_seconds > _MAX_SECONDS:
        raise BadSignature(f"The time of the cosignature of {key.name} is beyond 2⁶³−1 seconds.")
    if not verify(key.public, _message(checkpoint_text, at_seconds), data[_TIME_SIZE:]):
        raise BadSignature(f"The cosignature of {key.name} is not that key's over this text.")
    return at_seconds


def _message(checkpoint_text: str, at_seconds: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % at_seconds + text_bytes(checkpoint_text)
