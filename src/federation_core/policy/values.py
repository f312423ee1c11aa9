"""JSON as Cedar's JSON: every value is converted by one rule, or refused; none is guessed.

| JSON | Cedar |
| --- | --- |
| string, true, false | the same |
| integer, and number without fraction (`2.0`) | Long, within ±(2⁵³−1) |
| number with a fraction | `decimal`, where at most four digits write it; else refused |
| null in an object | the attribute is absent |
| null in an array, or alone | refused |
| array | Set: order and repetition are lost |
| object | record; the keys `__entity`, `__extn`, `__expr` are refused |
"""

import math
from decimal import Decimal
from typing import Any, Final

from ..errors import FieldError, InvalidInput
from ..spine.canonical import MAX_DEPTH, MAX_INT

__all__ = ["to_cedar"]

_LEVELS: Final = MAX_DEPTH + 2  # a payload of MAX_DEPTH levels stands at context.outputs.<step>
_ESCAPES: Final = frozenset({"__entity", "__extn", "__expr"})
_DIGITS: Final = 4
_MAX_UNITS: Final = 2**63 - 1  # a Cedar decimal is a 64-bit count of ten-thousandths


class _Unreadable(Exception):
    """Carries the keys and indexes down to the value, innermost first: they are gathered on the
    way out, so that a value which converts pays nothing for them."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.keys: list[str | int] = []


def to_cedar(value: Any) -> Any:
    """`value` (JSON) in Cedar's JSON form. Raises `InvalidInput` that names the place as a JSON
    pointer (RFC 6901)."""
    try:
        return _convert(value, 0)
    except _Unreadable as e:
        path = "".join(f"/{_pointer(key)}" for key in reversed(e.keys))
        raise InvalidInput(
            f"The policy cannot read the value at {path or '/'}: {e}.",
            errors=[FieldError(path, str(e))],
        ) from None


def _pointer(key: str | int) -> str:
    text = str(key).encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _convert(value: Any, depth: int) -> Any:
    """`depth` is how many arrays and objects the value stands in."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _long(int(value))
    if isinstance(value, float):
        return _number(value)
    if value is None:
        raise _Unreadable("null stands for nothing here; leave it out")
    if depth >= _LEVELS:
        raise _Unreadable(f"values may be nested at most {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return _record(value, depth + 1)
    if isinstance(value, list | tuple):
        return _set(value, depth + 1)
    raise _Unreadable(f"{type(value).__name__} is not a JSON type")


def _record(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Unreadable(f"keys must be strings, not {type(key).__name__}")
        if key in _ESCAPES:
            raise _Unreadable(f"the key {key!r} means something else to Cedar; rename it")
        _text(key)
        if item is not None:
            try:
                record[key] = _convert(item, depth)
            except _Unreadable as e:
                e.keys.append(key)
                raise
    return record


def _set(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    items: list[Any] = []
    for item in value:
        try:
            items.append(_convert(item, depth))
        except _Unreadable as e:
            e.keys.append(len(items))
            raise
    return items


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise _Unreadable("text must not hold lone surrogates") from e
    return value


def _long(value: int) -> int:
    if not -MAX_INT <= value <= MAX_INT:
        raise _Unreadable("integers must be within ±(2⁵³−1); send larger ones as strings")
    return value


def _number(value: float) -> Any:
    if not math.isfinite(value):
        raise _Unreadable("numbers must be finite")
    if value.is_integer():
        return _long(int(value))
    exact = Decimal(repr(value))  # the shortest text that reads back as this number
    digits, exponent = exact.as_tuple()[1:]
    if not isinstance(exponent, int) or exponent < -_DIGITS:
        raise _Unreadable("a fraction may have four digits; send amounts as whole minor units")
    if int("".join(map(str, digits))) * 10 ** (exponent + _DIGITS) > _MAX_UNITS:
        raise _Unreadable("a number with a fraction must be within ±922337203685477.5807")
    return {"__extn": {"fn": "decimal", "arg": f"{exact:f}"}}
