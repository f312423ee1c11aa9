"""`next_actions`: what a managed run is waiting for its driver to do."""

import msgspec

from .children import child_run_id
from .run import Run
from .steps import Flagged, InDoubt, Pending, Running, Waiting

__all__ = [
    "Action",
    "Ask",
    "AskRun",
    "CloseGateStep",
    "Expire",
    "FanOut",
    "Finish",
    "Join",
    "Next",
    "Recover",
    "ResolveDoubt",
    "TimeOut",
    "next_actions",
]


class AskRun(msgspec.Struct, frozen=True):
    """Put the start of the run to policy."""


class Ask(msgspec.Struct, frozen=True):
    """Evaluate the step's condition and input, and put it to policy."""

    step_id: str
    attempt: int


class FanOut(msgspec.Struct, frozen=True):
    """Evaluate the step's condition and its list, and record how many items it has."""

    step_id: str


class TimeOut(msgspec.Struct, frozen=True):
    """The run has taken longer than its workflow gives it."""


class Recover(msgspec.Struct, frozen=True):
    """The step is running and none of this driver's executions is it."""

    step_id: str


class CloseGateStep(msgspec.Struct, frozen=True):
    """A GATE step's own gate has passed: its output is what people said."""

    step_id: str
    gate_id: str


class ResolveDoubt(msgspec.Struct, frozen=True):
    """A person said what happened to a step in doubt."""

    step_id: str
    gate_id: str


class Expire(msgspec.Struct, frozen=True):
    gate_id: str


class Finish(msgspec.Struct, frozen=True):
    """Every step has ended well: compute the output, and put the end to policy."""


Action = AskRun | Ask | FanOut | Recover | CloseGateStep | ResolveDoubt | Expire | Finish | TimeOut


class Join(msgspec.Struct, frozen=True):
    """The step waits for its child run: see whether that has ended, and create it where there is
    none. `deadline` (microseconds) is when the step stops waiting, None for never."""

    step_id: str
    attempt: int
    child_run_id: str
    input_hash: str
    deadline: int | None


class Next(msgspec.Struct, frozen=True):
    """`actions` to take now; `wake_at` (microseconds) the next moment when time alone brings more,
    None where only people, executions under way, or child runs do. `joins` are the steps that wait
    for child runs: no actions, for most of the time there is nothing to do about them."""

    actions: tuple[Action, ...]
    wake_at: int | None
    joins: tuple[Join, ...] = ()


def next_actions(
    run: Run, now: int, *, executing: frozenset[str] | set[str], set_back: bool = False
) -> Next:
    """What to do at `now`. `executing` are the steps whose execution the asking driver holds.

    `set_back` says that the clock was set back since the run's last event. How long a retry has
    waited is not known then, and it does not wait any longer: a pause between two attempts is a
    courtesy, and an hour of it none. A gate's expiry waits for the clock.

    Nothing here lets a step run: `Ask` leads to a decision, and only that to a permit.
    """
    if run.is_ended:
        return Next((), None)
    actions: list[Action] = []
    timers: list[int] = []
    deadline = run.deadline
    if deadline is not None:
        if now >= deadline:
            return Next((TimeOut(),), None)
        timers.append(deadline)
    for gate_id in run.open_gates:
        expires_at = run.gates[gate_id].expires_at
        if expires_at is not None:
            if now >= expires_at:
                actions.append(Expire(gate_id))
            else:
                timers.append(expires_at)
    if run.is_managed:
        mine = run.joining.keys() | executing
        actions.extend(Recover(step_id) for step_id in run.in_flight if step_id not in mine)
        if run.doomed is None:
            _managed(run, now, actions, timers, set_back=set_back)
    joins = tuple(_join(run, step_id) for step_id in run.joining)
    timers.extend(join.deadline for join in joins if join.deadline is not None)
    return Next(tuple(actions), min(timers, default=None), joins)


def _join(run: Run, step_id: str) -> Join:
    state = run.steps[step_id].state
    assert isinstance(state, Running)
    permit, spec = state.permit, run.spec_of(step_id)
    timeout_ms = spec.timeout_ms if spec is not None else 0
    return Join(
        step_id,
        permit.attempt,
        child_run_id(run.run_id, step_id, permit.attempt, state.started_at),
        permit.input_hash,
        state.started_at + timeout_ms * 1000 if timeout_ms else None,
    )


def _managed(
    run: Run, now: int, actions: list[Action], timers: list[int], *, set_back: bool
) -> None:
    if run.status == "pending" and not run.open_gates:
        actions.append(AskRun())
    if run.status != "running":
        return
    for step_id in run.ready:
        state = run.steps[step_id].state
        not_before = state.not_before if isinstance(state, Pending) else None
        if step_id in run.specs and run.specs[step_id].fans_out:
            actions.append(FanOut(step_id))
        elif not_before and not_before > now and not set_back:
            timers.append(not_before)
        elif isinstance(state, (Pending, Flagged)):
            actions.append(Ask(step_id, state.attempt))
    actions.extend(_answered(run))
    if not run.unsatisfied:
        actions.append(Finish())


def _answered(run: Run) -> list[Action]:
    """Steps that wait at a gate of their own which people have passed."""
    answered: list[Action] = []
    for step_id in run.at_gate:
        state = run.steps[step_id].state
        if isinstance(state, (Waiting, InDoubt)) and state.gate_id:
            kind = CloseGateStep if isinstance(state, Waiting) else ResolveDoubt
            if run.gates[state.gate_id].is_passed:
                answered.append(kind(step_id, state.gate_id))
    return answered
