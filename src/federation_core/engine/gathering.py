"""The values of a fan-out: what each item is given, and the list of what came of all of them.
Neither is held longer than it is looked at."""

from typing import Any

import msgspec

from ..errors import TooLarge
from ..spine.items import item_id
from ..spine.run import Run
from ..spine.steps import Carried, Completed, Gathered
from .live import LiveRun, ValueMissing
from .sealing import MAX_PAYLOAD_BYTES

__all__ = ["gathered", "item_names", "output_hashes"]

_PAGE = 500


async def item_names(live: LiveRun, step_id: str) -> dict[str, Any]:
    """`item` and `index` of an item's expressions; nothing for any other step. Raises
    `ValueMissing`."""
    place = live.run.item(step_id)
    if place is None:
        return {}
    fan, index = place
    items = await live.items(fan.items_hash)
    if items is None:
        raise ValueMissing(f"The items of step {fan.step_id} were erased, and are needed.")
    return {"item": items[index], "index": index}


async def gathered(live: LiveRun, step_id: str) -> list[Any] | None:
    """The outputs of a fan-out's items in their order; None for any other step, or one that goes
    on. Raises `ValueMissing`, and `TooLarge` where they are too much to look at together."""
    step = live.run.steps.get(step_id)
    if step is None or not isinstance(step.state, Gathered):
        return None
    hashes = output_hashes(live.run, step_id)
    key = f"{step_id}[]"
    if key in live.values:
        known: list[Any] = live.values[key]
        return known
    outputs: list[Any] = []
    size = 0
    for begin in range(0, len(hashes), _PAGE):
        page = hashes[begin : begin + _PAGE]
        found = await _page(live, step_id, page)
        size += sum(found[digest][1] + 1 for digest in page)
        if size > MAX_PAYLOAD_BYTES:
            raise TooLarge(
                f"The outputs of the {len(hashes):,} items of step {step_id} are more than "
                f"{MAX_PAYLOAD_BYTES} bytes together, too much for one list."
            )
        outputs.extend(found[digest][0] for digest in page)
    live.values.put(key, outputs, size)
    return outputs


async def _page(live: LiveRun, step_id: str, hashes: list[str]) -> dict[str, tuple[Any, int]]:
    """Hash → value and its size. What this very turn made is at hand, and nowhere else."""
    at_hand = {h: (live.values[h], live.values.size_of(h)) for h in hashes if h in live.values}
    elsewhere = [h for h in dict.fromkeys(hashes) if h not in at_hand]
    stored = await live.payloads(elsewhere) if elsewhere else {}
    for digest, payload in stored.items():
        at_hand[digest] = (msgspec.json.decode(payload.value), len(payload.value))
    if missing := next((h for h in hashes if h not in at_hand), None):
        raise ValueMissing(f"The output {missing} of step {step_id} was erased, and is needed.")
    return at_hand


def output_hashes(run: Run, step_id: str) -> list[str]:
    """What has come of a step: its output, or of one that fans out those of its items in order."""
    fan = run.fans.get(step_id)
    ids = [step_id] if fan is None else (item_id(step_id, i) for i in range(fan.items))
    steps = (run.steps.get(one) for one in ids)
    states = (step.state for step in steps if step is not None)
    return [state.output_hash for state in states if isinstance(state, (Completed, Carried))]
