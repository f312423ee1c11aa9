"""What a fan-out makes of a run: its items are steps of their own, opened a few at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .envelope import Event
from .events import RunEnded, StepCompleted, StepFannedOut
from .fold_checks import require
from .items import MAX_ITEMS, Fan, item_id
from .run import Run
from .steps import Completed, CutOff, FannedOut, Gathered, Pending, Step, StepState

__all__ = ["FAN_OUT_HANDLERS", "also_changed", "cut_off", "satisfied"]


def _fanned_out(run: Run, event: Event, data: StepFannedOut) -> None:
    step, spec = run.steps.get(data.step_id), run.specs.get(data.step_id)
    if step is None or spec is None or not isinstance(spec.concurrency, int):
        require(False, event, f"{data.step_id!r} is no step that fans out")
        return
    require(run.status == "running", event, f"the run is {run.status}")
    require(run.doomed is None, event, "the run is failing")
    require(run.is_in_time(event.at), event, "the run is past its timeout")
    require(isinstance(step.state, Pending), event, f"the step is {step.state.status}")
    require(not run.unmet.get(step.step_id), event, "steps it needs have not ended")
    require(0 <= data.items <= MAX_ITEMS, event, f"a fan-out has at most {MAX_ITEMS} items")
    fan = Fan(step.step_id, data.items, data.items_hash, run.next_index, spec.concurrency)
    run.fans[fan.step_id] = fan
    run.next_index += fan.items
    run.steps.expect(fan, step.step_type)
    run.ready.pop(step.step_id, None)
    _replace(run, fan, FannedOut(event.at))
    run.current_step, run.step_index = step.step_id, step.index
    for index in range(fan.opened):
        _open(run, fan, index)
    _gather(run, fan, event.at)


def _replace(run: Run, fan: Fan, state: StepState) -> None:
    step = run.steps[fan.step_id]
    run.steps[fan.step_id] = msgspec.structs.replace(step, state=state)


def _open(run: Run, fan: Fan, index: int) -> None:
    """The item may be put to policy from now on."""
    step_id, kind = item_id(fan.step_id, index), run.steps[fan.step_id].step_type
    run.steps[step_id] = Step(step_id, kind, fan.first_index + index, Pending())
    run.ready[step_id] = None


def _gather(run: Run, fan: Fan, at: int) -> None:
    state = run.steps[fan.step_id].state
    if fan.is_done and isinstance(state, FannedOut):
        _replace(run, fan, Gathered(state.started_at, at))
        satisfied(run, run.steps[fan.step_id])


def satisfied(run: Run, step: Step) -> None:
    """A step of a managed run has just ended well: what waits for it may go on, and where it is an
    item, the next one is opened."""
    item = run.item(step.step_id)
    if item is None:
        run.unsatisfied -= 1
        for dependant in run.dependants.get(step.step_id, ()):
            run.unmet[dependant] -= 1
            if not run.unmet[dependant]:
                run.ready[dependant] = None
        return
    before = item[0]
    fan = run.fans[before.step_id] = msgspec.structs.replace(before, done=before.done + 1)
    for index in range(before.opened, fan.opened):
        _open(run, fan, index)
    if isinstance(step.state, Completed):
        _gather(run, fan, step.state.ended_at)


def cut_off(run: Run, at: int) -> None:
    """The run has ended: so have its fan-outs, done or not."""
    for fan in run.fans.values():
        state = run.steps[fan.step_id].state
        if isinstance(state, FannedOut):
            _replace(run, fan, CutOff(state.started_at, at))


def also_changed(run: Run, data: Any) -> Iterator[str]:
    """The steps that an event which was just folded has changed besides the one it names."""
    match data:
        case StepFannedOut(step_id=step_id):
            yield from (item_id(step_id, i) for i in range(run.fans[step_id].opened))
        case StepCompleted(step_id=step_id) if item := run.item(step_id):
            yield item_id(item[0].step_id, item[0].opened - 1)
            yield item[0].step_id
        case RunEnded():
            yield from run.fans


FAN_OUT_HANDLERS: dict[type, Callable[[Run, Event, Any], None]] = {StepFannedOut: _fanned_out}
