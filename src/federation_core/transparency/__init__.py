"""Transparency: the mathematics of a log that cannot be changed behind a reader's back.

`tree` and `proofs` are RFC 9162's Merkle tree, `tiles` how it is stored and served (C2SP
tlog-tiles). `note`, `checkpoint` and `cosignature` are the signed texts of C2SP signed-note,
tlog-checkpoint and tlog-cosignature, over a strict Ed25519. Neither half knows the other.

Pure: bytes in, verdict out. No file, clock, network or randomness; a key comes from a seed that
the caller brings, a tile from a function that the caller gives. Verifiers return nothing, or
what was proved, and raise a `TransparencyError`, whose `code` tells the cause, for all else.
"""

from .checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from .cosignature import cosign, verify_cosignature
from .ed25519 import SigningKey
from .errors import TransparencyError
from .note import Note, NoteSignature, VerifierKey, parse_note, sign_note, verify_note
from .proofs import (
    NodeReader,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from .tiles import Tile, TileNodes, parse_tile_path, tile_path, tiles_of
from .tree import EMPTY_ROOT, HASH_SIZE, CompactRange, leaf_hash, node_hash

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "Checkpoint",
    "CompactRange",
    "NodeReader",
    "Note",
    "NoteSignature",
    "SigningKey",
    "Tile",
    "TileNodes",
    "TransparencyError",
    "VerifierKey",
    "consistency_proof",
    "cosign",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "open_checkpoint",
    "parse_checkpoint",
    "parse_note",
    "parse_tile_path",
    "root_of",
    "sign_checkpoint",
    "sign_note",
    "tile_path",
    "tiles_of",
    "verify_consistency",
    "verify_cosignature",
    "verify_inclusion",
    "verify_note",
]
