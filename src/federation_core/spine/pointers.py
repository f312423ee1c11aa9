"""JSON pointers (RFC 6901): `/steps/0/with`, with `~0` for `~` and `~1` for `/`."""

from collections.abc import Iterable

__all__ = ["join", "split"]


def join(parts: Iterable[str | int]) -> str:
    """The pointer of keys and indexes; empty for the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def split(pointer: str) -> list[str]:
    """The inverse of `join`, indexes as text."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
