"""From a value to the payload that is stored of it."""

import secrets
from typing import Any

from ..ledger import Payload
from ..spine.canonical import canonical, salted_hash, sha256

__all__ = ["seal_payload"]


def seal_payload(value: Any, *, sensitive: bool = False, salt: str | None = None) -> Payload:
    """RFC 8785 bytes and their hash, salted where `sensitive`.

    `salt` (64 hex digits) is the one this value was hashed with before, so that the same input
    has the same hash when it is asked about again. Raises `InvalidInput` for what is not JSON.
    """
    data = canonical(value)
    if not sensitive:
        return Payload(sha256(data), data)
    salt = salt or secrets.token_hex(32)
    return Payload(salted_hash(data, bytes.fromhex(salt)), data, salt)
