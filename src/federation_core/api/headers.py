"""What a request says in its headers, read once and without trust."""

import re
from collections.abc import Iterable
from typing import Final

from ..errors import FieldError, InvalidInput
from ..spine.decision import PolicyMode

__all__ = ["MAX_WAIT_S", "Headers", "readable"]

MAX_WAIT_S: Final = 60.0
_MAX_CHARS = 200
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6}(?:\.\d{1,6})?)\"?(?=$|[,;\s])", re.I)
_MODES: dict[str, PolicyMode] = {"LOOSE": "loose", "STRICT": "strict"}


def readable(raw: bytes) -> str | None:
    """A header value as text; None where it is empty, over 200 characters, not UTF-8, or holds
    what cannot be shown in a line of a log."""
    try:
        text = raw.decode("utf-8").strip(" \t")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and 0 < len(text) <= _MAX_CHARS else None


class Headers:
    """The headers of a request by their lower-case names."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._found: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            self._found.setdefault(name.lower(), []).append(value)

    def one(self, name: str) -> bytes | None:
        """The value of a header that may be sent once. Raises `InvalidInput` where it was sent
        more often: two parties could each believe another one."""
        values = self._found.get(name.lower().encode(), [])
        if len(values) > 1:
            raise _refused(name, f"{name} was sent {len(values)} times; send it once.")
        return values[0] if values else None

    def text(self, name: str) -> str | None:
        """The same as text. Raises `InvalidInput` for what cannot be read as such."""
        raw = self.one(name)
        if raw is None:
            return None
        value = readable(raw)
        if value is None:
            raise _refused(name, f"{name} must be 1 to {_MAX_CHARS} printable characters.")
        return value

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without its parameters."""
        raw = self.one("Content-Type") or b""
        return raw.decode("latin-1").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int | None:
        """What the body's length is said to be."""
        raw = self.one("Content-Length")
        return int(raw) if raw is not None and raw.isdigit() and len(raw) < 20 else None

    @property
    def mode(self) -> PolicyMode | None:
        """The policy mode that the caller asks for. Raises `InvalidInput` for one there is not."""
        wanted = self.text("X-Policy-Mode")
        if wanted is None:
            return None
        if wanted.upper() not in _MODES:
            raise _refused("X-Policy-Mode", "X-Policy-Mode must be LOOSE or STRICT.")
        return _MODES[wanted.upper()]

    @property
    def wait(self) -> float | None:
        """Seconds of `Prefer: wait=…` (RFC 7240 section 4.3), at most `MAX_WAIT_S`. A preference
        that cannot be read is none (section 2)."""
        said = b",".join(self._found.get(b"prefer", [])).decode("latin-1")
        match = _WAIT.search(said)
        return min(float(match[1]), MAX_WAIT_S) if match else None


def _refused(name: str, detail: str) -> InvalidInput:
    return InvalidInput(
        detail, code="invalid_header", errors=[FieldError(f"/headers/{name}", detail)]
    )
