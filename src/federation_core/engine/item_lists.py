"""The lists that runs fan out over: kept as the bytes they are stored in, so that one item costs
the same in a list of ten and of 100,000."""

from array import array
from collections import OrderedDict
from typing import Any

import msgspec

from ..errors import IntegrityError

__all__ = ["MAX_LISTS", "ItemList", "ItemLists"]

MAX_LISTS = 64 * 1024 * 1024
"""Bytes of lists that all runs together keep at hand. What is dropped is loaded again."""

_raw = msgspec.json.Decoder(list[msgspec.Raw])


class ItemList:
    """A JSON list in its canonical form, which has no blanks: after each item stands one byte."""

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ends = array("I")
        end = 0
        for item in _raw.decode(data):
            end += 1 + memoryview(item).nbytes
            self._ends.append(end)
        if self._ends and end + 1 != len(data):
            raise IntegrityError("The list of items is not in its canonical form.")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        begin = self._ends[index - 1] if index else 0
        return msgspec.json.decode(memoryview(self._data)[begin + 1 : self._ends[index]])

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self._data) + self._ends.itemsize * len(self._ends)


class ItemLists:
    """(stream, hash) → list, of those that were used last."""

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[str, str], ItemList] = OrderedDict()
        self._size = 0

    def put(self, stream: str, digest: str, items: ItemList) -> None:
        self.drop(stream, digest)
        self._lists[stream, digest] = items
        self._size += items.size
        while self._size > MAX_LISTS:
            self.drop(*next(iter(self._lists)))

    def get(self, stream: str, digest: str) -> ItemList | None:
        found = self._lists.get((stream, digest))
        if found is not None:
            self._lists.move_to_end((stream, digest))
        return found

    def drop(self, stream: str, digest: str) -> None:
        """It is not needed any more."""
        found = self._lists.pop((stream, digest), None)
        if found is not None:
            self._size -= found.size
