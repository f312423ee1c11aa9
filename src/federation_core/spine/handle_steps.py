"""Commands about steps."""

from ..errors import Conflict, NotFound
from .children import child_run_id, is_child_step
from .commands import (
    CompleteStep,
    FailStep,
    FanOutStep,
    ProposeStep,
    RecoverStep,
    RetryStep,
    SkipStep,
)
from .definition import GateSpec, StepSpec
from .endings import fail_step
from .events import (
    StepCompleted,
    StepFannedOut,
    StepInDoubt,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
)
from .failures import LOST
from .gate_requests import IN_DOUBT_SCHEMA, ask_for_flags, request_gate
from .items import MAX_ITEMS
from .receipts import receipt_hash, step_receipt
from .steps import (
    Completed,
    Failed,
    Flagged,
    InDoubt,
    Pending,
    Permit,
    Permitted,
    Running,
    Step,
    Waiting,
)
from .times import to_rfc3339
from .turn import Turn

__all__ = ["complete", "fail", "fan_out", "propose", "recover", "retry", "skip"]


def propose(turn: Turn, command: ProposeStep) -> None:
    """Decide about a step. allow: it starts. flag: gates are requested. deny: the run is doomed."""
    run = turn.run
    _must_run(turn)
    step = run.steps.get(command.step_id)
    if step is not None and isinstance(step.state, Failed) and not run.is_managed:
        _schedule(turn, step, turn.now)
        step = run.steps[command.step_id]
    if run.is_managed:
        _must_be_ready(turn, command.step_id)
        if command.step_id in run.specs and run.specs[command.step_id].fans_out:
            raise Conflict(
                f"Step {command.step_id} fans out; its items are put to policy.",
                code="step_fans_out",
            )
    if step is not None and not isinstance(step.state, (Pending, Flagged)):
        raise Conflict(
            f"Step {command.step_id} is {step.state.status}; it cannot be started.",
            code="step_not_pending",
        )
    step_type = step.step_type if step else command.step_type
    action = f"step.{step_type.lower()}"
    effect, _ = turn.decide(
        command.decision,
        action,
        step_id=command.step_id,
        step_type=step_type,
        attempt=step.attempt if step else 1,
        subject_hash=command.input_hash,
    )
    if effect == "flag":
        ask_for_flags(turn, command.decision.flags, action, command.step_id, command.input_hash)
    elif effect == "allow":
        state = run.steps[command.step_id].state
        assert isinstance(state, Permitted)
        permit = _start(turn, state.permit)
        spec = run.spec_of(command.step_id)
        if spec is not None and spec.work is None:
            _open_gate_step(turn, permit, spec)
        elif not is_child_step(spec):  # else a run of its own executes it: see `actions.Join`
            turn.permits.append(permit)


def fan_out(turn: Turn, command: FanOutStep) -> None:
    """Record how many items a step has; each of them is a step of its own from now on."""
    _must_run(turn)
    _must_be_ready(turn, command.step_id)
    spec, state = turn.run.specs.get(command.step_id), turn.run.steps[command.step_id].state
    if spec is None or not spec.fans_out:
        raise Conflict(f"Step {command.step_id} does not fan out.", code="step_without_items")
    if not isinstance(state, Pending):
        raise Conflict(
            f"Step {command.step_id} is {state.status}; it fans out once.", code="step_not_pending"
        )
    if not 0 <= command.items <= MAX_ITEMS:
        raise Conflict(
            f"A fan-out has at most {MAX_ITEMS:,} items, not {command.items:,}.",
            code="too_many_items",
        )
    turn.emit(
        StepFannedOut(step_id=command.step_id, items=command.items, items_hash=command.items_hash)
    )


def _must_be_ready(turn: Turn, step_id: str) -> None:
    if step_id not in turn.run.steps:
        raise NotFound(f"The workflow has no step {step_id}.", code="step_not_found")
    if turn.run.unmet.get(step_id):
        raise Conflict(f"Steps that {step_id} needs have not ended.", code="step_not_ready")


def _must_run(turn: Turn) -> None:
    run = turn.run
    if run.status != "running" or run.doomed is not None:
        gates = ", ".join(run.open_gates)
        waiting = f", waiting at gate {gates}" if gates else " and failing" if run.doomed else ""
        raise Conflict(
            f"The run is {run.status}{waiting}; steps start only while it is running.",
            code="run_not_running",
        )
    if not run.is_in_time(turn.now):
        raise Conflict("The run is past its timeout; no step starts.", code="run_timeout")


def _start(turn: Turn, permit: Permit, *, again: bool = False) -> Permit:
    step, child = turn.run.steps[permit.step_id], _child(turn, permit)
    turn.emit(
        StepStarted(
            step_id=permit.step_id,
            step_type=step.step_type,
            step_index=step.index,
            attempt=permit.attempt,
            input_hash=permit.input_hash,
            decision_hash=permit.decision_hash,
            idempotency_key=permit.idempotency_key(turn.run.run_id),
            node=turn.node if child is None else None,
            again=again,
            child_run_id=child,
        )
    )
    return permit


def _child(turn: Turn, permit: Permit) -> str | None:
    """The run that executes it, which any node may look after."""
    if not is_child_step(turn.run.spec_of(permit.step_id)):
        return None
    return child_run_id(turn.run.run_id, permit.step_id, permit.attempt, turn.now)


def _open_gate_step(turn: Turn, permit: Permit, spec: StepSpec) -> None:
    """A GATE step asks people where it names a gate; else policy has already let it through."""
    if spec.gate is not None:
        _ask(turn, permit.step_id, spec.gate)
        return
    passed = [g for g in turn.run.gates.values() if g.step_id == permit.step_id and g.is_passed]
    output = {
        "approved": True,
        "approved_by": [a.actor_id for g in passed for a in g.approvals],
        "input": None,
    }
    _finish(turn, permit.step_id, turn.keep(output))


def _ask(turn: Turn, step_id: str, gate: GateSpec) -> None:
    request_gate(
        turn,
        step_id=step_id,
        gate_type="human_approval",
        name=gate.name,
        description=gate.description,
        approvers=gate.approvers,
        quorum=gate.quorum,
        expires_s=gate.expires_s,
        schema_hash=turn.keep(gate.input_schema) if gate.input_schema is not None else None,
    )


def complete(turn: Turn, command: CompleteStep) -> None:
    """A started attempt succeeded."""
    _started(turn, command.step_id)
    _finish(turn, command.step_id, command.output_hash)


def _finish(turn: Turn, step_id: str, output_hash: str) -> None:
    run = turn.run
    state = run.steps[step_id].state
    assert isinstance(state, (Running, Waiting, InDoubt))
    receipt = step_receipt(
        run,
        state.permit,
        status="completed",
        started_at=state.started_at,
        ended_at=turn.now,
        output=output_hash,
    )
    turn.emit(
        StepCompleted(
            step_id=step_id,
            attempt=state.permit.attempt,
            output_hash=output_hash,
            duration_ms=0 if isinstance(state, InDoubt) else (turn.now - state.started_at) // 1000,
            receipt=receipt,
            receipt_hash=receipt_hash(receipt),
        )
    )


def fail(turn: Turn, command: FailStep) -> None:
    """A started attempt failed. A managed step that may try again is scheduled to."""
    run = turn.run
    step = _started(turn, command.step_id)
    alone = run.doomed is None
    fail_step(turn, command.step_id, command.error_type, command.error_hash)
    spec = run.spec_of(command.step_id)
    if spec and command.retriable and alone and step.attempt < spec.retry.max_attempts:
        delay_us = spec.retry.delay_ms(step.attempt) * 1000
        _schedule(turn, run.steps[command.step_id], turn.now + delay_us)


def retry(turn: Turn, command: RetryStep) -> None:
    """A person said that a step in doubt did not happen: try it anew, with a new decision."""
    step = turn.run.steps.get(command.step_id)
    if turn.run.is_ended or step is None or not isinstance(step.state, InDoubt):
        raise Conflict(f"Step {command.step_id} is not in doubt.", code="step_not_in_doubt")
    _must_have_passed(turn, step.state)
    _schedule(turn, step, turn.now)


def _schedule(turn: Turn, step: Step, not_before: int) -> None:
    turn.emit(
        StepRetryScheduled(
            step_id=step.step_id, attempt=step.attempt + 1, not_before=to_rfc3339(not_before)
        )
    )


def skip(turn: Turn, command: SkipStep) -> None:
    """The condition of a step is false."""
    _must_run(turn)
    _must_be_ready(turn, command.step_id)
    state = turn.run.steps[command.step_id].state
    if turn.run.item(command.step_id) is not None:
        raise Conflict("An item has no condition; it cannot be skipped.", code="step_is_item")
    if not isinstance(state, Pending):
        raise Conflict(
            f"Step {command.step_id} is {state.status}; only an undecided one can be skipped.",
            code="step_not_pending",
        )
    turn.emit(StepSkipped(step_id=command.step_id, reason=command.reason))


def recover(turn: Turn, command: RecoverStep) -> None:
    """Nobody knows how this attempt ended. Idempotent: once more, with the same key. Otherwise a
    person has to say."""
    run = turn.run
    step = run.steps.get(command.step_id)
    if step is None or not isinstance(step.state, Running):
        raise Conflict(f"Step {command.step_id} is not running.", code="step_not_running")
    permit = step.state.permit
    if not run.is_managed:
        raise Conflict("Its client executes this run, not the server.", code="external_run")
    if is_child_step(run.spec_of(command.step_id)):
        raise Conflict(f"Step {command.step_id} waits for its child run.", code="step_waiting")
    if run.doomed is not None:
        fail_step(turn, command.step_id, LOST)
        return
    spec = run.spec_of(command.step_id)
    if spec is not None and spec.idempotent:
        turn.permits.append(_start(turn, permit, again=True))
        return
    turn.emit(StepInDoubt(step_id=command.step_id, attempt=permit.attempt))
    request_gate(
        turn,
        step_id=command.step_id,
        gate_type="in_doubt",
        name=f"What happened to step {command.step_id}?",
        description=(
            "The step was started and its end was never seen. Look outside (its idempotency key is "
            f"{permit.idempotency_key(run.run_id)}), then approve with "
            '{"happened": true, "output": …}, null where it has none, or {"happened": false} to '
            "run it again; or reject to give up."
        ),
        schema_hash=turn.keep(IN_DOUBT_SCHEMA),
    )


def _started(turn: Turn, step_id: str) -> Step:
    step = turn.run.steps.get(step_id)
    if turn.run.is_ended:
        raise Conflict(f"The run is {turn.run.status}; its steps have ended.", code="run_ended")
    if step is None or not isinstance(step.state, (Running, Waiting, InDoubt)):
        known = "has not been started" if step is None else f"is {step.state.status}"
        already = " already" if step and isinstance(step.state, Completed) else ""
        raise Conflict(
            f"Step {step_id} {known}{already}; report it as running first, and execute it only "
            "when the decision is allow.",
            code="step_not_running",
        )
    _must_have_passed(turn, step.state)
    return step


def _must_have_passed(turn: Turn, state: Running | Waiting | InDoubt) -> None:
    if isinstance(state, Running):
        return
    gate = turn.run.gates.get(state.gate_id or "")
    if gate is None or not gate.is_passed:
        raise Conflict(f"Step {state.permit.step_id} waits at a gate.", code="gate_pending")
