"""Canonical bytes and hashes, with the standard library alone: the checks share no code with what
they check."""

import hashlib
import json
from typing import Any

__all__ = ["ZERO", "canonical", "digest", "leaf_hash", "sha256"]

ZERO = "0" * 64
"""What the first link of a chain links to."""


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a value that holds no fractions and whose keys are ASCII, as all of the
    proof's do. Raises `ValueError` for any other."""
    if not _is_plain(value):
        raise ValueError("only values with ASCII keys and no fractions are hashed here")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and k.isascii() and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | bool | int)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 over the RFC 8785 form: what receipts and payloads are hashed with."""
    return sha256(canonical(value))


def leaf_hash(body: bytes) -> str:
    """SHA-256(0x00 ‖ event bytes), RFC 9162 section 2.1.1: what events are hashed with."""
    return sha256(b"\0" + body)
