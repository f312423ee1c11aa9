"""JSON as bytes that are always the same: RFC 8785, and the stricter profile of events.

A value from outside is parsed strictly (`parse`): one reading or a refusal, never a guess.
Its hash is SHA-256 over its RFC 8785 form (`value_hash`), salted where the step is sensitive.
"""

import hashlib
import json
import math
from collections import Counter
from typing import Any, NoReturn

import msgspec
import rfc8785

from ..errors import FieldError, InvalidInput

__all__ = [
    "MAX_DEPTH",
    "MAX_INT",
    "ZERO_HASH",
    "canonical",
    "check_value",
    "parse",
    "salted_hash",
    "sha256",
    "sorted_json",
    "value_hash",
]

MAX_DEPTH = 32
MAX_INT = 2**53 - 1
ZERO_HASH = "0" * 64
_SALT_PREFIX = b"fc/payload/v1\0"

_encoder = msgspec.json.Encoder(order="sorted")
sorted_json = _encoder.encode
"""Encode with sorted keys. Equal to RFC 8785 where keys are ASCII and there are no fractions."""


def sha256(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value made of dict, list, str, int, float, bool and None.

    The fast encoder serves the values for which it provably gives the same bytes; RFC 8785 sorts
    by UTF-16 code units and writes fractions as ECMAScript does, which it does not.
    """
    try:
        return _encoder.encode(value) if _is_plain(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as e:
        raise InvalidInput(f"The value has no RFC 8785 form: {e}.") from e


def value_hash(value: Any) -> str:
    """SHA-256 of the RFC 8785 form."""
    return sha256(canonical(value))


def salted_hash(value_bytes: bytes, salt: bytes) -> str:
    """Hash of a sensitive payload: SHA-256(`"fc/payload/v1\\0" ‖ salt ‖ RFC 8785 form`).

    The 32-byte salt keeps a short or guessable value from being found by trying.
    """
    return sha256(_SALT_PREFIX + salt + value_bytes)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-MAX_INT <= value <= MAX_INT)
    if kind is dict:
        return all(type(k) is str and k.isascii() and _is_plain(v) for k, v in value.items())
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return False


def parse(data: bytes | str) -> Any:
    """Strict JSON: refuses duplicate keys, NaN and Infinity, lone surrogates, integers beyond
    ±(2⁵³−1), more than 32 levels, and bytes that are not UTF-8. Raises `InvalidInput`."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as e:
        raise InvalidInput(f"The body is not UTF-8: {e.reason} at byte {e.start}.") from e
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        raise InvalidInput(
            f"The body is not JSON: {e.msg} at line {e.lineno} column {e.colno}."
        ) from e
    except RecursionError as e:
        raise InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels.") from e
    except ValueError as e:  # an integer with more digits than Python converts
        raise InvalidInput(f"The body holds a number that cannot be read: {e}.") from e
    check_value(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(k for k, times in Counter(k for k, _ in pairs).items() if times > 1)
        raise InvalidInput(
            f"The key {twice!r} stands twice in one object; each key may stand once.",
            errors=[FieldError("", f"duplicate key {twice!r}")],
        )
    return result


def _no_constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not JSON; numbers must be finite.")


def check_value(value: Any, path: str = "", depth: int = 0) -> None:
    """Refuse, with the path, what a ledger payload cannot hold. Raises `InvalidInput`."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            _refuse(path, "integers must be within ±(2⁵³−1); send larger ones as strings")
    elif isinstance(value, float):
        if not math.isfinite(value):
            _refuse(path, "numbers must be finite")
        if value.is_integer() and abs(value) > MAX_INT:
            _refuse(path, "whole numbers must be within ±(2⁵³−1)")
    elif isinstance(value, (dict, list)):
        if depth >= MAX_DEPTH:
            _refuse(path, f"values may be nested at most {MAX_DEPTH} levels deep")
        _check_container(value, path, depth + 1)
    else:
        _refuse(path, f"{type(value).__name__} is not a JSON type")


def _check_container(value: dict[Any, Any] | list[Any], path: str, depth: int) -> None:
    if isinstance(value, list):
        for i, item in enumerate(value):
            check_value(item, f"{path}/{i}", depth)
        return
    for key, item in value.items():
        if not isinstance(key, str):
            _refuse(path, f"keys must be strings, not {type(key).__name__}")
        _check_text(key, path)
        check_value(item, f"{path}/{key}", depth)


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(path, "text must not hold lone surrogates")


def _refuse(path: str, message: str) -> NoReturn:
    path = path.encode("utf-8", "replace").decode()
    raise InvalidInput(
        f"The value at {path or '/'} is refused: {message}.", errors=[FieldError(path, message)]
    )
