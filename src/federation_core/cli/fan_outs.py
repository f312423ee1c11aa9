"""Fan-outs on a terminal: of ten thousand items, a line that counts them and those that matter."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["MOST_ITEMS", "Items", "item_of", "without_completed"]

Json = dict[str, Any]

MOST_ITEMS = 20
"""Items of a step that are shown one by one."""


def item_of(step_id: str) -> str | None:
    """The step that an item's id (`act[3]`) is of; None for any other id."""
    name, bracket, index = step_id.partition("[")
    return name if bracket and index.endswith("]") and index[:-1].isdigit() else None


class Items(msgspec.Struct):
    """What became of a step's items, `of` how many in all (None where nobody said)."""

    of: int | None = None
    counts: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def text(self) -> str:
        """`10,000 items: 9,990 completed, 10 running`."""
        begun = sum(self.counts.values())
        counts = dict(sorted(self.counts.items()))
        if self.of is not None and self.of > begun:
            counts["not begun"] = self.of - begun
        told = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
        total = begun if self.of is None else self.of
        return f"{total:,} item{'' if total == 1 else 's'}{': ' if told else ''}{told}"


def without_completed(
    steps: Iterable[Json], sizes: dict[str, int]
) -> tuple[list[Json], dict[str, Items]]:
    """The steps to show, in order, and what became of the items of each that fans out: those that
    completed are left out, and of the others all but the first ones. `sizes` says how many items
    a step has."""
    shown: list[Json] = []
    items = {step_id: Items(of=size) for step_id, size in sizes.items()}
    listed: Counter[str] = Counter()
    for step in steps:
        parent = item_of(step["step_id"])
        if parent is None or parent not in items:
            shown.append(step)
            continue
        items[parent].counts[step["status"]] += 1
        if step["status"] != "completed" and listed[parent] < MOST_ITEMS:
            listed[parent] += 1
            shown.append(step)
    return shown, items
