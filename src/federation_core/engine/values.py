"""The values of a run that are at hand: its payloads by hash, as many as fit in memory."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["MAX_AT_HAND", "Values"]

MAX_AT_HAND = 1024 * 1024
"""Bytes that a run keeps between two turns. What it drops it loads again."""

_OVERHEAD = 512
"""What a small value costs in memory besides its bytes as JSON."""


class Values:
    """Hash → value. It takes what it is given; `trim` drops what was not used for longest. So
    trim between turns alone, when everything that a turn made is durable."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of what is at hand."""
        return self._size

    def put(self, digest: str, value: Any, size: int) -> None:
        """`size` is that of the value as JSON, in bytes."""
        if digest not in self._values:
            self._values[digest] = (value, size)
            self._size += size + _OVERHEAD

    def take(self, made: dict[str, Any]) -> None:
        """Values that a turn of the spine made."""
        for digest, value in made.items():
            if digest not in self._values:
                self.put(digest, value, len(msgspec.json.encode(value)))

    def __contains__(self, digest: str) -> bool:
        return digest in self._values

    def __getitem__(self, digest: str) -> Any:
        self._values.move_to_end(digest)
        return self._values[digest][0]

    def size_of(self, digest: str) -> int:
        """Bytes of one of them as JSON."""
        return self._values[digest][1]

    def among(self, digests: Iterable[str | None]) -> dict[str, Any]:
        """Those of `digests` that are at hand."""
        return {digest: self[digest] for digest in digests if digest and digest in self}

    def trim(self) -> None:
        while self._size > MAX_AT_HAND:
            _, (_, size) = self._values.popitem(last=False)
            self._size -= size + _OVERHEAD
