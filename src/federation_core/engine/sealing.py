"""From a value to the payload that is stored of it."""

import secrets
from typing import Any

from ..errors import TooLarge
from ..ledger import Payload
from ..spine.canonical import canonical, salted_hash, sha256

__all__ = ["MAX_PAYLOAD_BYTES", "seal_payload"]

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""What comes in is smaller; this bounds what expressions put together out of it."""


def seal_payload(value: Any, *, sensitive: bool = False, salt: str | None = None) -> Payload:
    """RFC 8785 bytes and their hash, salted where `sensitive`.

    `salt` (64 hex digits) is the one this value was hashed with before, so that the same input
    has the same hash when it is asked about again. Raises `InvalidInput` for what is not JSON,
    `TooLarge` for what would not fit a ledger that many share.
    """
    data = canonical(value)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise TooLarge(
            f"A value of {len(data)} bytes was computed; at most {MAX_PAYLOAD_BYTES} are stored."
        )
    if not sensitive:
        return Payload(sha256(data), data)
    salt = salt or secrets.token_hex(32)
    return Payload(salted_hash(data, bytes.fromhex(salt)), data, salt)
