"""Tables that can be read at 80 columns. Every text that goes in is made safe to show."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from .text import clean

__all__ = [
    "age",
    "cell",
    "clock",
    "colored",
    "facts",
    "fixed",
    "folded",
    "moment",
    "short",
    "table",
]

_STYLES = {
    **dict.fromkeys(("completed", "approved", "allow", "active", "permit", "created"), "green"),
    **dict.fromkeys(("running", "pending"), "cyan"),
    **dict.fromkeys(("paused", "waiting", "flag", "in_doubt", "retrying"), "yellow"),
    **dict.fromkeys(
        ("failed", "denied", "deny", "rejected", "refused", "expired", "bypassed", "forbid"),
        "bold red",
    ),
    **dict.fromkeys(("cancelled", "skipped", "missed"), "dim"),
}
_NOTHING = Text("–", style="dim")


def fixed(header: str, *, right: bool = False) -> Column:
    """A column whose values are never broken: ids, times, numbers."""
    if right:
        return Column(header, no_wrap=True, justify="right")
    return Column(header, no_wrap=True, overflow="ignore")


def folded(header: str, *, ratio: int | None = None) -> Column:
    """A column that takes the room that is left; what is longer goes on in the next line."""
    return Column(header, overflow="fold", ratio=ratio, min_width=len(header))


def table(columns: Iterable[Column], rows: Iterable[Iterable[Any]]) -> Table:
    """Values of any kind; None shows as a dash."""
    made = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values; those without a value are left out."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "":
            made.add_row(name, cell(value))
    return made


def cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    return _NOTHING if value is None or value == "" else Text(clean(value))


def colored(word: str | None, suffix: str = "") -> Text:
    """A status or a decision in its colour."""
    if word is None:
        return _NOTHING
    return Text(clean(word + suffix), style=_STYLES.get(word, ""))


def short(digest: str | None) -> str | None:
    """Enough of a hash to recognise it by; `--json` has it whole."""
    return None if digest is None else digest[:8]


def clock(timestamp: str | None) -> str | None:
    """`HH:MM:SS` (UTC) of an RFC 3339 time."""
    return None if timestamp is None else timestamp[11:19]


def moment(timestamp: str | None) -> str | None:
    """Date and time of an RFC 3339 time, to the second."""
    return None if timestamp is None else f"{timestamp[:10]} {timestamp[11:19]} UTC"


def age(timestamp: str | None) -> str | None:
    """How long ago an RFC 3339 time was: `12s`, `5m`, `3h`, `2d`."""
    if timestamp is None:
        return None
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
