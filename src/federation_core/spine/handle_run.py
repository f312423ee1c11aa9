"""Commands about a run as a whole: its birth, its changes of status, its end."""

from collections.abc import Sequence

from ..errors import Conflict, Forbidden
from .children import PARENT_ENDED
from .commands import (
    AbandonRun,
    ChangeStatus,
    CompleteRun,
    CreateRun,
    FailRun,
    RecordRefusal,
    StartRun,
    TimeOutRun,
)
from .decision import Decision
from .endings import end_run, fail_doomed
from .events import AttemptRefused, RunCreated, RunStatus, RunStatusChanged
from .fold import is_fatal
from .gate_requests import ask_for_flags
from .run import RUN_TIMEOUT, Run
from .turn import Turn

__all__ = [
    "TRANSITIONS",
    "abandon",
    "action_for",
    "change_status",
    "complete",
    "create",
    "fail",
    "refuse",
    "start",
    "time_out",
]

TRANSITIONS = {
    "pending": {"running": "run.start", "cancelled": "run.cancel", "failed": "run.fail"},
    "running": {
        "running": "run.resume",
        "paused": "run.pause",
        "completed": "run.complete",
        "failed": "run.fail",
        "cancelled": "run.cancel",
    },
    "paused": {"running": "run.resume", "failed": "run.fail", "cancelled": "run.cancel"},
}
"""Status → status it may change to → the action that policy is asked about."""

MAX_REFUSALS = 1_000
"""Refused attempts that a run records; after that a stranger cannot make it grow."""


def create(turn: Turn, command: CreateRun) -> None:
    """A run is born pending. A denied birth is recorded, and is a failed run."""
    turn.emit(
        RunCreated(
            run_id=command.run_id,
            workflow_id=command.workflow_id,
            workflow_version=command.workflow_version,
            definition_hash=command.definition_hash,
            execution=command.execution,
            policy_mode=command.policy_mode,
            actor_kind=turn.actor.kind,
            actor_roles=turn.actor.roles,
            input_hash=command.input_hash,
            metadata_hash=command.metadata_hash,
            tags=command.tags,
            parent_run_id=command.parent_run_id,
            parent_step=command.parent_step,
            parent_attempt=command.parent_attempt,
            restarted_from=command.restarted_from,
            sensitive=command.sensitive,
            correlation_id=command.correlation_id,
        )
    )
    for carried in command.carried:
        turn.emit(carried)
    _decide(turn, command.decision, "run.create", command.input_hash)


def start(turn: Turn, command: StartRun) -> None:
    """A managed run begins."""
    _must_be(turn, "pending")
    if _decide(turn, command.decision, "run.start", turn.run.input_hash) == "allow":
        turn.emit(RunStatusChanged(previous_status="pending", new_status="running"))


def complete(turn: Turn, command: CompleteRun) -> None:
    """A managed run has reached its end."""
    _must_be(turn, "running")
    if turn.run.unsatisfied:
        raise Conflict("Steps of the run have not ended; it cannot complete.", code="step_pending")
    if not turn.run.is_in_time(turn.now):
        raise Conflict("The run is past its timeout; it cannot complete.", code="run_timeout")
    if _decide(turn, command.decision, "run.complete", command.output_hash) == "allow":
        end_run(turn, "completed", output_hash=command.output_hash)


def fail(turn: Turn, command: FailRun) -> None:
    """A managed run cannot go on."""
    if not turn.run.is_managed:
        raise Conflict("Its client executes this run, not the server.", code="external_run")
    if turn.run.is_ended:
        raise Conflict(f"The run is {turn.run.status} already.", code="run_ended")
    end_run(turn, "failed", code=command.code, reason=command.reason, error_hash=command.error_hash)


def time_out(turn: Turn, _command: TimeOutRun) -> None:
    """A managed run is past its timeout: it fails, and what is under way is cut off. Where it was
    failing already, that is why it failed."""
    run = turn.run
    if run.is_ended:
        raise Conflict(f"The run is {run.status} already.", code="run_ended")
    if run.is_in_time(turn.now):
        raise Conflict("The run has time still.", code="run_not_due")
    if run.doomed is not None:
        fail_doomed(turn, run.doomed)
        return
    seconds = ((run.deadline or 0) - (run.started_at or 0)) / 1_000_000
    reason = f"the run did not end within its timeout of {seconds:,.15g} s"
    end_run(turn, "failed", code=RUN_TIMEOUT, reason=reason)


def abandon(turn: Turn, _command: AbandonRun) -> None:
    """Nobody waits for this child run any more."""
    run = turn.run
    if run.parent_step is None:
        raise Conflict("No step of another run started this one.", code="not_a_child")
    if run.is_ended:
        raise Conflict(f"The run is {run.status} already.", code="run_ended")
    why = f"step {run.parent_step} of run {run.parent_run_id} does not wait for it any more"
    end_run(turn, "cancelled", code=PARENT_ENDED, reason=why)


def _must_be(turn: Turn, status: RunStatus) -> None:
    run = turn.run
    if not run.is_managed:
        raise Conflict("Its client executes this run, not the server.", code="external_run")
    if run.status != status or run.open_gates or run.doomed:
        gates = f" and waits at gate {', '.join(run.open_gates)}" if run.open_gates else ""
        failing = f" and is failing: {run.doomed.reason}" if run.doomed else ""
        raise Conflict(
            f"The run is {run.status}{gates}{failing}; it should be {status} and not waiting.",
            code="invalid_transition",
        )


def _decide(turn: Turn, decision: Decision, action: str, subject_hash: str | None) -> str:
    effect, _ = turn.decide(decision, action, subject_hash=subject_hash)
    if effect == "flag":
        ask_for_flags(turn, decision.flags, action, None, subject_hash)
    return effect


def change_status(turn: Turn, command: ChangeStatus) -> None:
    """A client changes the status. A transition that policy denies is refused and changes nothing;
    one that it flags waits at a gate, and is asked for again once that has passed."""
    facts = {
        "current_step": command.current_step,
        "step_index": command.step_index,
        "output_payload": command.output_hash,
        "error_details": command.error_hash,
    }
    reported = [name for name, value in facts.items() if value is not None]
    action = action_for(turn.run, command.status, command.current_step, reported=reported)
    if command.decision.decision == "deny":
        raise Forbidden(f"Policy refuses it: {command.decision.reason}", code="policy_denied")
    if _decide(turn, command.decision, action, command.output_hash) != "allow":
        return
    if command.status in ("completed", "failed", "cancelled"):
        end_run(
            turn,
            command.status,
            reason=command.reason,
            code=command.error_code,
            error_hash=command.error_hash,
            output_hash=command.output_hash,
            current_step=command.current_step,
            step_index=command.step_index,
        )
        return
    turn.emit(
        RunStatusChanged(
            previous_status=turn.run.status,
            new_status=command.status,
            reason=command.reason,
            hold=command.status == "paused",
            current_step=command.current_step,
            step_index=command.step_index,
            output_hash=command.output_hash,
        )
    )


def action_for(
    run: Run,
    wanted: RunStatus,
    current_step: str | None = None,
    *,
    reported: Sequence[str] = (),
) -> str:
    """The action that a requested transition is; raises `Conflict` where there is none. `reported`
    names what the client tells of the work, which is its own only where it executes the run."""
    action = TRANSITIONS.get(run.status, {}).get(wanted)
    if action is None:
        raise Conflict(_no_way(run.status, wanted), code="invalid_transition")
    if wanted == "running" and run.open_gates:
        raise Conflict(
            f"Gate {', '.join(run.open_gates)} is pending; resolve it and the run goes on.",
            code="gate_pending",
        )
    if wanted == "running" and run.doomed is not None:
        raise Conflict(
            f"The run is failing, and ends when nothing is under way: {run.doomed.reason}.",
            code="run_failing",
        )
    if run.is_managed:
        _check_managed(run, wanted, reported)
    elif run.status == "running" and wanted == "running":
        if current_step in (None, run.current_step):
            raise Conflict(
                "The run is running already; name another current_step to record progress.",
                code="invalid_transition",
            )
    elif wanted == "completed" and run.in_flight:
        raise Conflict(
            f"Step {', '.join(run.in_flight)} has no reported end; report it first.",
            code="step_running",
        )
    return action


def _no_way(status: RunStatus, wanted: RunStatus) -> str:
    options = TRANSITIONS.get(status)
    if options is None:
        tail = " already" if wanted == status else f", and cannot become {wanted}"
        return f"The run is {status}{tail}; that is final."
    return f"A run that is {status} cannot become {wanted}; it can become {', '.join(options)}."


def _check_managed(run: Run, wanted: RunStatus, reported: Sequence[str]) -> None:
    resuming = wanted == "running" and run.status == "paused"
    if wanted not in ("paused", "cancelled") and not resuming:
        raise Conflict(
            "The server executes this run; a client may pause, resume and cancel it.",
            code="managed_run",
        )
    if reported:
        raise Conflict(
            "The server executes this run, and says itself how it stands; a client that pauses, "
            f"resumes or cancels it may give a reason, but not {' or '.join(reported)}.",
            code="managed_run",
        )


def refuse(turn: Turn, command: RecordRefusal) -> None:
    """Write down an attempt that was refused. Its decision is told only where that changes
    nothing: what policy says of a step or of the run's way is acted on where it was asked."""
    if turn.run.refusals >= MAX_REFUSALS:
        return
    bears = command.action.startswith("step.") or is_fatal(turn.run, command.action)
    if command.decision is not None and command.decision.decision != "flag" and not bears:
        turn.decide(
            command.decision, command.action, step_id=command.step_id, gate_id=command.gate_id
        )
    turn.emit(
        AttemptRefused(
            attempted=command.action,
            refusal_code=command.code,
            reason=command.reason,
            gate_id=command.gate_id,
            step_id=command.step_id,
            actor_tenant=command.actor_tenant,
        )
    )
