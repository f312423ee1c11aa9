"""What a proof or a signed text can be refused for. `code` is the cause, as the verifier says it.

A number, a path or a key that somebody asked with is the asker's (`InvalidInput`). Hashes and
signatures that do not hold mean that something is not what was written (`IntegrityError`).
"""

from typing import ClassVar

from ..errors import FederationError, IntegrityError, InvalidInput

__all__ = [
    "BadSignature",
    "Inconsistent",
    "IndexRange",
    "KeyMalformed",
    "NoteMalformed",
    "OriginMismatch",
    "ProofShape",
    "RootMismatch",
    "TilePathMalformed",
    "TileShape",
    "TransparencyError",
    "UnknownKey",
]


class TransparencyError(FederationError):
    """Base of all that this package raises."""

    code: ClassVar[str] = "TRANSPARENCY"


class IndexRange(TransparencyError, InvalidInput):
    """An index or a size that the tree does not have."""

    code = "INDEX_RANGE"


class TilePathMalformed(TransparencyError, InvalidInput):
    """Not the one path that C2SP tlog-tiles gives a tile."""

    code = "TILE_PATH"


class KeyMalformed(TransparencyError, InvalidInput):
    """A key, its name or its seed that cannot be used."""

    code = "KEY_MALFORMED"


class ProofShape(TransparencyError, IntegrityError):
    """Too few hashes for these sizes, too many, or one that is not 32 bytes."""

    code = "PROOF_SHAPE"


class RootMismatch(TransparencyError, IntegrityError):
    """The leaf and the proof lead to another root: it is not in that tree at that place."""

    code = "ROOT_MISMATCH"


class Inconsistent(TransparencyError, IntegrityError):
    """The old tree is not the beginning of the new one: history was rewritten, or forked."""

    code = "INCONSISTENT"


class TileShape(TransparencyError, IntegrityError):
    """A stored tile that is not as long as the size of the tree says."""

    code = "TILE_SHAPE"


class NoteMalformed(TransparencyError, IntegrityError):
    """Not a signed note, a checkpoint or a signature line as C2SP writes it."""

    code = "NOTE_MALFORMED"


class OriginMismatch(TransparencyError, IntegrityError):
    """A checkpoint of another log than the one that its key stands for."""

    code = "ORIGIN"


class UnknownKey(TransparencyError, IntegrityError):
    """Nobody known signed it."""

    code = "UNKNOWN_KEY"


class BadSignature(TransparencyError, IntegrityError):
    """A known key's name stands on a signature that is not that key's."""

    code = "BAD_SIGNATURE"
