"""The items of a step that fans out (`foreach`): each is a step of its own, with an id like
`act[0]`. Ids of steps in a file hold no bracket, so that the two are never confused."""

import re

import msgspec

__all__ = ["ITEM_NAMES", "MAX_CONCURRENCY", "MAX_ITEMS", "Fan", "item_id", "item_place"]

ITEM_NAMES = ("index", "item")
"""What an item's expressions know besides what all of them do: its place from 0, and its value."""

MAX_ITEMS = 100_000
MAX_CONCURRENCY = 1_000

_ITEM = re.compile(r"([^\[\]]+)\[(0|[1-9][0-9]{0,5})\]")


def item_id(step_id: str, index: int) -> str:
    """`act[3]`."""
    return f"{step_id}[{index}]"


def item_place(step_id: str) -> tuple[str, int] | None:
    """The step and the index that an item's id names; None for what is no such id."""
    match = _ITEM.fullmatch(step_id)
    return None if match is None else (match[1], int(match[2]))


class Fan(msgspec.Struct, frozen=True):
    """A fan-out as its event began it, and how many of its items have completed.

    Items are opened in their order: `concurrency` of them at first, and one more with each that
    completes. Item i has the step index `first_index + i`.
    """

    step_id: str
    items: int
    items_hash: str
    first_index: int
    concurrency: int
    done: int = 0

    @property
    def opened(self) -> int:
        """The items before this index may be put to policy."""
        return min(self.items, self.done + self.concurrency)

    @property
    def is_done(self) -> bool:
        return self.done == self.items
