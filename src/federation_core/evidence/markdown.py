"""Pieces of Markdown, and how a text from outside is put into it without becoming part of it."""

import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["counted", "plain", "quoted", "section", "table"]

# Controls, surrogates, marks that reorder or hide text, and the separators that end a line.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\uffff\U000e0000-\U000e0fff]"
)
_SPACE = re.compile(r"[\t\n\r\u2028\u2029 ]+")
_ACTIVE = str.maketrans({"`": "'", "|": "¦"})
"""A backtick would end the quotation, and a bar the cell of a table, whatever stands before it."""


def plain(value: object, limit: int = 120) -> str:
    """A text from outside on one line, of at most `limit` characters: what cannot be seen shows as
    �, and what ends a quotation is replaced by what looks like it."""
    text = _UNSEEN.sub("�", _SPACE.sub(" ", str(value)[: 4 * limit])).strip().translate(_ACTIVE)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def quoted(value: object, limit: int = 120) -> str:
    """A text from outside as a code span, in which nothing is Markdown, HTML or a link; – for
    none."""
    text = plain("" if value is None else value, limit)
    return f"`{text}`" if text else "–"


def counted(count: int, one: str, many: str) -> str:
    """`1 step was`, `1,000 steps were`: the number, and the words for one or for many."""
    return f"{count:,} {one if count == 1 else many}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, and an empty one. What is from outside must be `quoted` already."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def section(depth: int, title: str) -> Iterator[str]:
    """A heading, and an empty line."""
    yield f"{'#' * depth} {title}"
    yield ""
