"""What a run costs does not grow with what it has behind it: counted in calls and in bytes."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.spine_helpers import (
    ALLOW,
    INPUT,
    LOG,
    OUTPUT,
    START,
    STARTER,
    TENANT,
    benign,
    birth,
    fan_step,
    step,
    workflow,
)

from federation_core.spine.actions import next_actions
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.commands import Command, CompleteStep, FanOutStep, StartRun
from federation_core.spine.definition import Workflow
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.turn import Turn
from federation_core.spine.workflow_file import parse_workflow


class Driven:
    """A run that nobody keeps the events of."""

    def __init__(self, definition: Workflow) -> None:
        self.run = Run(definition, "r1", TENANT)
        self.now = START
        self.do(birth(definition), STARTER)
        self.do(StartRun(decision=ALLOW))

    def do(self, command: Command, actor: Actor = SYSTEM) -> None:
        self.now += 1_000
        handle(Turn(self.run, actor=actor, now=self.now, new_id=lambda: "g", log=LOG), command)

    def turn(self) -> bool:
        """Everything that is under way ends, and everything that follows begins."""
        for step_id in list(self.run.in_flight):
            self.do(CompleteStep(step_id=step_id, output_hash=OUTPUT))
        commands = benign(self.run, self.now, set(self.run.in_flight))
        for command in commands:
            self.do(command)
        return not self.run.is_ended


def fanned(items: int, concurrency: int = 10) -> Driven:
    driven = Driven(workflow(fan_step("f", concurrency=concurrency), step("z", "f")))
    driven.do(FanOutStep(step_id="f", items=items, items_hash=INPUT))
    return driven


def graph(layers: int, width: int = 10) -> Workflow:
    """Steps of which each needs two of the layer before it."""
    steps = []
    for layer in range(layers):
        for i in range(width):
            needs = [f"s{layer - 1}_{(i + shift) % width}" for shift in (0, 1)] if layer else []
            steps.append(step(f"s{layer}_{i}", *needs))
    return workflow(*steps)


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called."""
    count = 0

    def see(_frame: FrameType, what: str, _argument: Any) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def completed(driven: Driven) -> None:
    while driven.turn():
        pass
    assert driven.run.status == "completed"


def test_a_fan_out_of_four_times_the_items_costs_four_times_as_much() -> None:
    few, many = (calls(lambda n=n: completed(fanned(n))) for n in (100, 400))  # type: ignore[misc]
    assert many < 4.2 * few


def test_a_graph_of_four_times_the_steps_costs_four_times_as_much() -> None:
    small, large = Driven(graph(8)), Driven(graph(32))
    assert calls(lambda: completed(large)) < 4.2 * calls(lambda: completed(small))


def test_a_turn_costs_the_same_whatever_is_behind_it_and_before() -> None:
    costs = []
    for items, behind in ((50, 2), (5_000, 2), (5_000, 60)):
        driven = fanned(items)
        for _ in range(behind):
            driven.turn()
        costs.append(calls(driven.turn))
    assert max(costs) < 1.02 * min(costs)


def test_what_is_to_be_done_of_a_hundred_thousand_items_is_what_may_be_at_a_time() -> None:
    driven = fanned(100_000)
    actions = next_actions(driven.run, driven.now, executing=frozenset()).actions
    assert len(actions) == 10
    assert calls(lambda: next_actions(driven.run, driven.now, executing=frozenset())) < 200


def test_a_completed_item_takes_few_bytes() -> None:
    driven = fanned(3_000, concurrency=100)
    for _ in range(4):
        driven.turn()
    done = driven.run.fans["f"].done
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(12):
            driven.turn()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    items = driven.run.fans["f"].done - done
    assert items == 1_200
    assert grown < 500 * items
    assert sum(1 for i in driven.run.steps if i.startswith("f[")) == done + items + 100


def file_of(count: int) -> str:
    """Steps that each need the one before it, and one long before that."""
    needs = ["", *(f"s{i - 1}" + (f", s{i // 2}" if i > 2 else "") for i in range(1, count))]
    keys = "type: ACT, run: expression, value: 1"
    lines = [f"- {{id: s{i}, {keys}, needs: [{need}]}}" for i, need in enumerate(needs)]
    return "\n".join(["workflow: wf", "version: 1.0.0", "steps:", *lines])


def test_a_step_costs_the_same_at_the_end_of_a_file_of_thousands() -> None:
    text = file_of(3_000)
    assert 200_000 < len(text) < 256 * 1024
    driven = Driven(parse_workflow(text))
    costs = []
    for left in (2_990, 20):
        while driven.run.unsatisfied > left:
            driven.turn()
        costs.append(calls(driven.turn))
    completed(driven)
    assert max(costs) < 1.05 * min(costs)
