"""What runs keep in memory: as much as fits, and everything is found again that did not."""

from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import begin, core, open_gates, py
from tests.core_steps import Stage

from federation_core.engine import item_lists, values
from federation_core.engine.item_lists import ItemList, ItemLists
from federation_core.engine.values import MAX_AT_HAND, Values
from federation_core.errors import IntegrityError
from federation_core.spine.canonical import canonical


@pytest.mark.parametrize(
    "items",
    [[], [1], ["a", {"b": [1, 2]}, None, 1.5, "", [], "é,]", {}], list(range(1_000))],
    ids=["none", "one", "of all kinds", "many"],
)
def test_items_are_read_one_by_one(items: list[Any]) -> None:
    found = ItemList(canonical(items))
    assert len(found) == len(items)
    assert [found[i] for i in range(len(items))] == items
    assert found.size < len(canonical(items)) + 4 * len(items) + 1


def test_a_list_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(IntegrityError):
        ItemList(b"[1, 2]")


def test_lists_at_hand_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_lists, "MAX_LISTS", 3 * ItemList(b"[1,2]").size)
    lists = ItemLists()
    for name in "abcd":
        if name == "d":
            assert lists.get("run:1", "a") is not None
        lists.put("run:1", name, ItemList(b"[1,2]"))
    assert [name for name in "abcd" if lists.get("run:1", name)] == ["a", "c", "d"]
    assert lists.get("run:2", "a") is None
    lists.drop("run:1", "a")
    assert lists.get("run:1", "a") is None


def test_values_at_hand_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_AT_HAND", 3 * 612)
    kept = Values()
    for name in "abcd":
        kept.put(name, name, 100)
    kept.put("a", "another", 100)  # is there already
    assert kept["a"] == "a"
    assert kept.among([*"abcd", None, "x"]) == dict(zip("abcd", "abcd", strict=True))
    kept.trim()
    assert [name for name in "abcd" if name in kept] == ["b", "c", "d"]
    assert kept.size == 3 * 612
    assert kept.size_of("b") == 100


async def test_a_run_keeps_no_more_however_many_items_it_has(tmp_path: Path, stage: Stage) -> None:
    step = py("f", with_={"name": "${item.text}"}, foreach="input.list", concurrency=100)
    given = {"list": [{"text": f"{n} " + "x" * 2_000} for n in range(600)]}
    last = {"id": "ask", "type": "GATE", "gate": {"name": "ask"}}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, step, last, given=given)
        await open_gates(fc, run_id)
        async with fc._parts.runs.hold(run_id) as live:
            assert live.values.size <= MAX_AT_HAND
            assert not live._lists._lists
            assert len(live.run.steps._whole) == 2
    assert len(stage.effects) == 600
