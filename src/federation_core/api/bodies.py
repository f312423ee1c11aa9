"""Bodies and query strings: strict, or refused with the place of everything that is wrong."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from ..errors import CallerError, FieldError, InvalidInput, TooLarge
from ..spine.canonical import parse
from .headers import Headers

__all__ = [
    "MAX_BODY_BYTES",
    "Body",
    "Nothing",
    "TooSlow",
    "UnsupportedMedia",
    "convert",
    "read_query",
]

MAX_BODY_BYTES = 1_048_576
MAX_BODY_S = 30.0
MAX_DRAIN_BYTES = 16 * MAX_BODY_BYTES
MAX_DRAIN_S = 2.0
_LENGTH = re.compile(r"str of length (<=|>=) (\d+)")
_PLACE = re.compile(r" - at `(?:key` in `)?\$?(.*)`\Z")
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")

T = TypeVar("T", bound=msgspec.Struct)
Receive = Callable[[], Awaitable[Any]]


class TooSlow(CallerError):
    """A body that does not come to its end."""

    code = "too_slow"


class UnsupportedMedia(InvalidInput):
    """A body that says that it is not JSON."""

    code = "unsupported_media_type"


class Nothing(msgspec.Struct, frozen=True):
    """What an operation takes that has no query, or no body."""


class Body:
    """The body of a request, as it comes in."""

    def __init__(self, receive: Receive, headers: Headers, *, seconds: float = MAX_BODY_S) -> None:
        self._receive = receive
        self._headers = headers
        self._seconds = seconds
        self._ended = False

    async def json(self) -> Any:
        """Its JSON value (see `spine.canonical.parse` for what is refused).

        Reading stops where it grows over `MAX_BODY_BYTES`, whatever its length was said to be, and
        after some seconds.
        """
        self._must_be_json()
        data = await self._read()
        if not data.strip():
            raise InvalidInput("The body is empty; send a JSON object.")
        return parse(data)

    async def nothing(self) -> None:
        """Read a body that says nothing: none, or an object without fields. Raises what `json`
        does, and `InvalidInput` for what the caller would wrongly believe to be heeded."""
        data = await self._read()
        if data.strip():
            self._must_be_json()
            convert(parse(data), Nothing)

    def _must_be_json(self) -> None:
        kind = self._headers.content_type
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise UnsupportedMedia(
                f"The body is said to be {kind[:100]!a}; send JSON, as Content-Type: "
                "application/json."
            )

    async def _read(self) -> bytes:
        length = self._headers.content_length
        if length is not None and length > MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._all()
        except TimeoutError as e:
            raise TooSlow(
                f"The body had not come after {self._seconds:g} seconds; send it again."
            ) from e

    async def drain(self) -> None:
        """Throw away what is still to come, within limits: to somebody who is still sending when
        the connection is closed, the answer is lost."""
        left = MAX_DRAIN_BYTES
        with suppress(TimeoutError, InvalidInput):
            async with asyncio.timeout(MAX_DRAIN_S):
                while not self._ended and left > 0:
                    left -= len(await self._next())

    async def _all(self) -> bytes:
        data = bytearray()
        while not self._ended:
            data += await self._next()
            if len(data) > MAX_BODY_BYTES:
                raise _too_large()
        return bytes(data)

    async def _next(self) -> bytes:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        if message["type"] == "http.disconnect":  # half a body may well be JSON
            raise InvalidInput("The connection ended before the body did.")
        chunk: bytes = message.get("body", b"")
        return chunk


def read_query(raw: bytes, kind: type[T], *, lenient: bool) -> T:
    """The query string as `kind`. An empty value counts as not given."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), errors="strict", max_num_fields=64)
    except (UnicodeDecodeError, ValueError) as e:
        raise InvalidInput("The query cannot be read; percent-encode it as UTF-8.") from e
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(
            f"The query names {twice[:100]!a} twice; each name may stand once.",
            errors=[FieldError(_pointer(twice), "stands twice")],
        )
    return convert(values, kind, strict=False, lenient=lenient, what="The query")


def convert(
    value: Any,
    kind: type[T],
    *,
    strict: bool = True,
    lenient: bool = False,
    what: str = "The body",
) -> T:
    """`value` as the struct `kind`. Raises `InvalidInput` that names every field which is unknown
    (unless `lenient`), missing or wrong."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} must be a JSON object.")
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    unknown = [] if lenient else [name for name in value if name not in known]
    if not unknown:
        try:
            return msgspec.convert(value, kind, strict=strict)
        except msgspec.ValidationError:
            pass  # what the first error hides is looked for below
    errors = [FieldError(_pointer(name), "unknown") for name in unknown]
    errors += _wrong(value, kind, strict=strict)
    raise InvalidInput(f"{what} is refused: {_told(errors, unknown, known)}.", errors=errors)


def _told(errors: list[FieldError], unknown: list[str], known: list[str]) -> str:
    if not unknown:
        return f"{errors[0].path}: {errors[0].message}"
    names = ", ".join(f"{name[:50]!a}" for name in unknown[:5])
    others = f" and {len(unknown) - 5} others" if len(unknown) > 5 else ""
    return f"it does not know {names}{others}; it knows {', '.join(known) or 'no field'}"


def _wrong(
    value: Mapping[str, Any], kind: type[msgspec.Struct], *, strict: bool
) -> list[FieldError]:
    errors = []
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name not in value:
            if field.required:
                errors.append(FieldError(_pointer(name), "required"))
            continue
        try:
            msgspec.convert(value[name], field.type, strict=strict)
        except msgspec.ValidationError as e:
            errors.append(_field_error(name, str(e)))
    return errors


def _field_error(name: str, said: str) -> FieldError:
    """msgspec's "Expected `str`, got `int` - at `$[0]`" as a path and a message."""
    place = _PLACE.search(said)
    inside = _INDEX.sub(r"/\1", place[1]).replace(".", "/") if place else ""
    message = _LENGTH.sub(_characters, _PLACE.sub("", said).replace("`", ""))
    return FieldError(_pointer(name) + inside, message[:1].lower() + message[1:])


def _characters(said: re.Match[str]) -> str:
    """msgspec's "str of length >= 8" for people."""
    bound = "at least" if said[1] == ">=" else "at most"
    return f"{bound} {said[2]} character{'' if said[2] == '1' else 's'}"


def _pointer(name: str) -> str:
    """RFC 6901, shortened where somebody sends a name without end."""
    return "/" + name[:200].replace("~", "~0").replace("/", "~1")


def _too_large() -> TooLarge:
    return TooLarge(
        f"The body is over {MAX_BODY_BYTES} bytes; send less, or a reference to where it lies."
    )
