"""How a run ends, and what follows by itself from every change: `settle`."""

from .events import GateBypassed, RunEnded, RunStatus, RunStatusChanged, StepFailed
from .failures import RUN_ENDED
from .receipts import receipt_hash, step_receipt, workflow_receipt
from .run import Doom
from .steps import InDoubt, Running, Waiting
from .turn import Turn

__all__ = ["end_run", "fail_doomed", "fail_step", "settle"]


def settle(turn: Turn) -> None:
    """Draw the consequences: a doomed run fails once nothing is in flight, a pending gate pauses a
    running run, and the last gate to pass lets it go on unless an operator holds it."""
    run = turn.run
    if run.is_ended:
        return
    if run.doomed is not None and not (run.is_managed and run.is_working):
        fail_doomed(turn, run.doomed)
    elif run.open_gates and run.status == "running":
        names = ", ".join(run.gates[g].gate_name for g in run.open_gates)
        _change(turn, "paused", f"waiting at gate {names}")
    elif run.status == "paused" and not (run.open_gates or run.held or run.doomed):
        _change(turn, "running", _why_on(turn))


def _why_on(turn: Turn) -> str:
    """A bypass is no approval, and is not told of as one."""
    for event in turn.events:
        if isinstance(event.data, GateBypassed):
            return f"gate {event.data.gate_name} was bypassed, and no gate is open any more"
    return "no gate is open any more"


def _change(turn: Turn, status: RunStatus, reason: str) -> None:
    turn.emit(RunStatusChanged(previous_status=turn.run.status, new_status=status, reason=reason))


def fail_doomed(turn: Turn, doom: Doom) -> None:
    """The run fails for what has doomed it."""
    end_run(turn, "failed", code=doom.code, reason=doom.reason, error_hash=doom.error_hash)


def end_run(
    turn: Turn,
    status: RunStatus,
    *,
    reason: str | None = None,
    code: str | None = None,
    error_hash: str | None = None,
    output_hash: str | None = None,
    current_step: str | None = None,
    step_index: int | None = None,
) -> None:
    """End the run with its workflow receipt. Steps still in flight are recorded as cut off:
    whatever they report later is not part of the run any more."""
    run = turn.run
    for step_id in list(run.in_flight):
        fail_step(turn, step_id, RUN_ENDED)
    turn.emit(
        RunEnded(
            previous_status=run.status,
            new_status=status,
            reason=reason,
            error_code=code,
            error_hash=error_hash,
            output_hash=output_hash,
            current_step=current_step,
            step_index=step_index,
            workflow_receipt_hash=receipt_hash(workflow_receipt(run, status)),
        )
    )


def fail_step(turn: Turn, step_id: str, error_type: str, error_hash: str | None = None) -> None:
    """Record the end of a started attempt that did not succeed, with its receipt."""
    run = turn.run
    state = run.steps[step_id].state
    assert isinstance(state, (Running, Waiting, InDoubt))
    receipt = step_receipt(
        run,
        state.permit,
        status="failed",
        started_at=state.started_at,
        ended_at=turn.now,
        output=None,
    )
    turn.emit(
        StepFailed(
            step_id=step_id,
            attempt=state.permit.attempt,
            error_type=error_type,
            error_hash=error_hash,
            duration_ms=(turn.now - state.started_at) // 1000,
            receipt=receipt,
            receipt_hash=receipt_hash(receipt),
        )
    )
