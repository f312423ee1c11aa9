"""Pieces of Markdown."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["clock", "code", "short", "table", "text"]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text(cell) for cell in row)} |"
    yield ""


def text(value: Any) -> str:
    """In one line of a table, whatever the server said."""
    return " ".join(str(value).split()).replace("|", "\\|")


def code(value: Any) -> str:
    """A value as JSON on one line."""
    return f"`{text(json.dumps(value, ensure_ascii=False, sort_keys=True))}`"


def clock(time: str | None) -> str:
    """The time of day of an RFC 3339 time."""
    return time[11:26] if time else "–"


def short(digest: str | None) -> str:
    """The beginning of a hash."""
    return f"`{digest[:12]}`" if digest else "–"
