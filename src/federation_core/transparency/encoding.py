"""The small texts that the C2SP formats are made of, each with one spelling."""

import re
from base64 import b64decode, b64encode

from .errors import NoteMalformed
from .tree import MAX_SIZE

__all__ = ["from_base64", "from_decimal", "text_bytes", "to_base64"]

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def to_base64(data: bytes) -> str:
    """RFC 4648 section 4, with padding."""
    return b64encode(data).decode()


def from_base64(text: str) -> bytes | None:
    """The bytes that `to_base64` writes so; None for any other text."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if to_base64(data) == text else None


def from_decimal(text: str) -> int | None:
    """0 … 2⁶³−1 without leading zeros; None for any other text."""
    if not _DECIMAL.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_SIZE else None


def text_bytes(text: str) -> bytes:
    """A note's text as it is signed: UTF-8, no control character below U+0020 but newlines, and a
    newline at the end. Raises `NoteMalformed`."""
    if not text.endswith("\n"):
        raise NoteMalformed("A note's text must end with a newline.")
    if control := _CONTROL.search(text):
        raise NoteMalformed(f"A note's text must not hold the control character {control[0]!r}.")
    try:
        return text.encode()
    except UnicodeEncodeError as e:
        raise NoteMalformed("A note's text must not hold lone surrogates.") from e
