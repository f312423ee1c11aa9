"""The steps of a run by their ids, of which completed items of a fan-out are kept packed."""

from collections.abc import Iterator, MutableMapping

from .items import Fan, item_id, item_place
from .packed_items import PackedItems
from .steps import Completed, Step

__all__ = ["StepTable"]


class StepTable(MutableMapping[str, Step]):
    """Step id → `Step`. Nothing is ever removed from it."""

    __slots__ = ("_packed", "_whole")

    def __init__(self) -> None:
        self._whole: dict[str, Step] = {}
        self._packed: dict[str, PackedItems] = {}

    def expect(self, fan: Fan, step_type: str) -> None:
        """From now on completed items of `fan` are packed."""
        self._packed[fan.step_id] = PackedItems(fan, step_type)

    def get(self, key: str, default: None = None) -> Step | None:  # type: ignore[override]
        step = self._whole.get(key, default)
        return self._unpacked(key) if step is None and self._packed else step

    def _unpacked(self, key: str) -> Step | None:
        place = item_place(key)
        packed = self._packed.get(place[0]) if place else None
        return packed.get(place[1]) if packed is not None and place else None

    def __getitem__(self, key: str) -> Step:
        step = self.get(key)
        if step is None:
            raise KeyError(key)
        return step

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __setitem__(self, key: str, step: Step) -> None:
        if self._packed and isinstance(step.state, Completed) and (place := item_place(key)):
            packed = self._packed.get(place[0])
            if packed is not None and packed.put(place[1], step):
                self._whole.pop(key, None)
                return
        self._whole[key] = step

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"Step {key} cannot be removed from its run.")

    def __iter__(self) -> Iterator[str]:
        yield from self._whole
        for step_id, packed in self._packed.items():
            yield from (item_id(step_id, index) for index in packed)

    def __len__(self) -> int:
        return len(self._whole) + sum(len(packed) for packed in self._packed.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StepTable):
            return NotImplemented
        return self._whole == other._whole and self._packed == other._packed

    def __repr__(self) -> str:
        return f"StepTable({dict(self)!r})"

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> "StepTable":
        """One that goes its own way."""
        other = StepTable()
        other._whole = self._whole.copy()
        other._packed = {step_id: packed.copy() for step_id, packed in self._packed.items()}
        return other
