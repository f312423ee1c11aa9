"""What each event of a step makes of it. A `Permit` is made in `step_decided` and nowhere else."""

from collections.abc import Callable
from typing import Any

import msgspec

from .children import child_run_id, is_child_step
from .envelope import Event
from .events import (
    PolicyEvaluated,
    StepCarried,
    StepCompleted,
    StepFailed,
    StepInDoubt,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
)
from .failures import is_error_type
from .fold_checks import instant, require, take_receipt
from .fold_fan_out import satisfied
from .receipts import OF_ITS_RUN, carried_receipt, receipt_hash, step_receipt
from .run import Doom, Run
from .steps import (
    Carried,
    Completed,
    Denied,
    Failed,
    Flagged,
    InDoubt,
    Pending,
    Permit,
    Permitted,
    Running,
    Skipped,
    Step,
    StepState,
    Waiting,
)

__all__ = ["STEP_HANDLERS", "step_decided"]

STEP_FAILED = "step_failed"


def _put(run: Run, step: Step, state: StepState) -> None:
    """The one place where a step's state is replaced, and the indexes beside it kept true."""
    changed = msgspec.structs.replace(step, state=state)
    run.steps[step.step_id] = changed
    if changed.in_flight:
        run.in_flight[step.step_id] = None
    else:
        run.in_flight.pop(step.step_id, None)
    if isinstance(state, Running) and is_child_step(run.spec_of(step.step_id)):
        run.joining[step.step_id] = None
    else:
        run.joining.pop(step.step_id, None)
    if not isinstance(state, (Waiting, InDoubt)):
        run.at_gate.pop(step.step_id, None)
    if isinstance(state, (Pending, Flagged)):
        if not run.unmet.get(step.step_id):
            run.ready[step.step_id] = None
    else:
        run.ready.pop(step.step_id, None)
    if changed.is_satisfied and not step.is_satisfied and run.is_managed:
        satisfied(run, changed)


def _known(run: Run, event: Event, step_id: str) -> Step:
    require(step_id in run.steps, event, f"there is no step {step_id!r}")
    return run.steps[step_id]


def step_decided(run: Run, event: Event, data: PolicyEvaluated) -> None:
    """A decision about a step: from undecided to permitted, flagged or denied."""
    step_id, attempt, subject = data.step_id or "", data.attempt or 0, data.subject_hash or ""
    require(run.status == "running", event, f"the run is {run.status}")
    require(run.doomed is None, event, "the run is failing")
    require(run.is_in_time(event.at), event, "the run is past its timeout")
    require(bool(subject), event, "a decision about a step names its input")
    spec = run.specs.get(step_id)
    require(spec is None or not spec.fans_out, event, "its items are decided about, not the step")
    step = run.steps.get(step_id)
    if step is None:
        require(not run.is_managed, event, f"the workflow has no step {step_id!r}")
        step = Step(step_id, data.step_type or "ACT", len(run.steps), Pending())
    state = step.state
    require(isinstance(state, (Pending, Flagged)), event, f"the step is {state.status}")
    require(step.attempt == attempt, event, f"the step is at attempt {step.attempt}")
    about = (data.step_type, data.action)
    own = (step.step_type, f"step.{step.step_type.lower()}")
    require(about == own, event, "the type or the action is another's")
    require(not run.unmet.get(step_id), event, "steps it needs have not ended")
    step = msgspec.structs.replace(step, decision=data, decided_at=event.at, input_hash=subject)
    match data.decision:
        case "allow":
            _put(run, step, Permitted(Permit(step_id, attempt, subject, event.hash)))
        case "flag":
            _put(run, step, Flagged(attempt, subject, event.hash))
        case "deny":
            _put(run, step, Denied(attempt, subject, event.hash))
            run.doomed = Doom("policy_denied", f"step {step_id} denied: {data.reason}", step_id)
    run.current_step, run.step_index = step_id, step.index


def _started(run: Run, event: Event, data: StepStarted) -> None:
    step = _known(run, event, data.step_id)
    state = step.state
    require(run.doomed is None, event, "the run is failing")
    require(run.is_in_time(event.at), event, "the run is past its timeout")
    if data.again:
        require(isinstance(state, Running), event, "only a running step is started again")
        spec = run.spec_of(step.step_id)
        require(spec is not None and spec.idempotent, event, "the step is not idempotent")
    else:
        require(run.status == "running", event, f"the run is {run.status}")
        require(isinstance(state, Permitted), event, "no decision allows it")
    permit = state.permit  # type: ignore[union-attr]
    same = (data.attempt, data.input_hash, data.decision_hash) == (
        permit.attempt,
        permit.input_hash,
        permit.decision_hash,
    )
    require(same, event, "it is not the attempt and input that were allowed")
    told = (data.step_type, data.step_index, data.idempotency_key)
    known = (step.step_type, step.index, permit.idempotency_key(run.run_id))
    require(told == known, event, "it is another step's type, index or key")
    started_at = state.started_at if isinstance(state, Running) else event.at
    child = None
    if is_child_step(run.spec_of(step.step_id)):
        require(not data.again, event, "a child run is not started again, but found")
        require(data.node is None, event, "what a child run executes, no node does")
        child = child_run_id(run.run_id, step.step_id, data.attempt, event.at)
    require(data.child_run_id == child, event, "it names another child run")
    _put(run, step, Running(permit, started_at, data.node))


def _completed(run: Run, event: Event, data: StepCompleted) -> None:
    step = _known(run, event, data.step_id)
    state = step.state
    if not isinstance(state, (Running, Waiting, InDoubt)):
        require(False, event, f"the step is {state.status}")
        return
    require(state.permit.attempt == data.attempt, event, "it is another attempt")
    _gate_passed(run, event, state)
    facts = step_receipt(
        run,
        state.permit,
        status="completed",
        started_at=state.started_at,
        ended_at=event.at,
        output=data.output_hash,
    )
    take_receipt(run, event, data.receipt, data.receipt_hash, facts)
    done = Completed(
        state.permit,
        state.started_at,
        event.at,
        data.output_hash,
        data.receipt_hash,
        is_told=isinstance(state, InDoubt),
    )
    _put(run, step, done)


def _gate_passed(run: Run, event: Event, state: Running | Waiting | InDoubt) -> None:
    """What waits for people ends when they have let it."""
    if isinstance(state, Running):
        spec = run.spec_of(state.permit.step_id)
        require(spec is None or spec.gate is None, event, "its gate was never requested")
        return
    passed = state.gate_id is not None and run.gates[state.gate_id].is_passed
    require(passed, event, "its gate was not approved")


def _failed(run: Run, event: Event, data: StepFailed) -> None:
    step = _known(run, event, data.step_id)
    state = step.state
    if not isinstance(state, (Running, Waiting, InDoubt)):
        require(False, event, f"the step is {state.status}")
        return
    require(state.permit.attempt == data.attempt, event, "it is another attempt")
    require(is_error_type(data.error_type), event, "its error has no name for a type")
    if not isinstance(state, Running):
        _gate_passed(run, event, state)
    facts = step_receipt(
        run,
        state.permit,
        status="failed",
        started_at=state.started_at,
        ended_at=event.at,
        output=None,
    )
    take_receipt(run, event, data.receipt, data.receipt_hash, facts)
    failed = Failed(
        state.permit,
        state.started_at,
        event.at,
        data.error_type,
        data.error_hash,
        data.receipt_hash,
    )
    _put(run, step, failed)
    if run.is_managed and run.doomed is None:
        why = f"step {step.step_id} failed: {data.error_type}"
        run.doomed = Doom(STEP_FAILED, why, step.step_id, data.error_hash)


def _retry(run: Run, event: Event, data: StepRetryScheduled) -> None:
    step = _known(run, event, data.step_id)
    again = isinstance(step.state, (Failed, InDoubt))
    require(again, event, f"the step is {step.state.status}")
    require(data.attempt == step.attempt + 1, event, f"the next attempt is {step.attempt + 1}")
    if isinstance(step.state, InDoubt):
        gate_id = step.state.gate_id
        require(bool(gate_id and run.gates[gate_id].is_passed), event, "its gate is not approved")
    elif run.is_managed:
        cause = run.doomed and (run.doomed.code, run.doomed.step_id)
        alone = cause == (STEP_FAILED, step.step_id)
        require(alone, event, "the run is failing for another reason")
        run.doomed = None
    _put(run, step, Pending(data.attempt, instant(event, data.not_before)))


def _in_doubt(run: Run, event: Event, data: StepInDoubt) -> None:
    step = _known(run, event, data.step_id)
    state = step.state
    if not isinstance(state, Running):
        require(False, event, f"the step is {state.status}")
        return
    require(state.permit.attempt == data.attempt, event, "it is another attempt")
    _put(run, step, InDoubt(state.permit, state.started_at))


def _skipped(run: Run, event: Event, data: StepSkipped) -> None:
    step = _known(run, event, data.step_id)
    require(isinstance(step.state, Pending), event, f"the step is {step.state.status}")
    require(run.status == "running", event, f"the run is {run.status}")
    require(not run.unmet.get(step.step_id), event, "steps it needs have not ended")
    require(run.item(step.step_id) is None, event, "an item has no condition")
    _put(run, step, Skipped(data.reason))


def _carried(run: Run, event: Event, data: StepCarried) -> None:
    """A step that ended well in the run from which this one was restarted."""
    step = _known(run, event, data.step_id)
    require(run.restarted_from is not None, event, "the run is no restart of another")
    own = event.seq == 1 + run.carried
    require(own, event, "steps are carried over right after the run's creation")
    require(isinstance(step.state, Pending), event, f"the step is {step.state.status}")
    require(not run.unmet.get(step.step_id), event, "steps it needs are not carried over")
    run.carried += 1
    if data.receipt is None:
        hashes = (data.input_hash, data.output_hash, data.receipt_hash)
        bare = hashes == (None, None, None) and data.attempt == 0
        lawful = bare and run.specs[step.step_id].when is not None
        require(lawful and bool(data.reason), event, "it was neither completed nor skipped")
        _put(run, step, Skipped(data.reason or ""))
        return
    facts = carried_receipt(data, step.step_type)
    same = data.receipt.keys() == facts.keys() | OF_ITS_RUN and data.receipt == data.receipt | facts
    whole = None not in facts.values() and data.attempt >= 1 and data.reason is None
    require(not run.specs[step.step_id].fans_out, event, "a fan-out has no receipt to carry over")
    require(same and whole, event, "its receipt tells something else")
    require(receipt_hash(data.receipt) == data.receipt_hash, event, "its receipt has another hash")
    state = Carried(data.from_run, data.attempt, data.output_hash or "", data.receipt_hash or "")
    _put(run, msgspec.structs.replace(step, input_hash=data.input_hash), state)


STEP_HANDLERS: dict[type, Callable[[Run, Event, Any], None]] = {
    StepStarted: _started,
    StepCompleted: _completed,
    StepFailed: _failed,
    StepRetryScheduled: _retry,
    StepInDoubt: _in_doubt,
    StepSkipped: _skipped,
    StepCarried: _carried,
}
