"""Commands about a run as a whole: its birth, its changes of status, its end."""

from ..errors import Conflict, Forbidden
from .commands import ChangeStatus, CompleteRun, CreateRun, FailRun, RecordRefusal, StartRun
from .decision import Decision
from .endings import end_run
from .events import AttemptRefused, RunCreated, RunStatusChanged
from .gate_requests import ask_for_flags
from .turn import Turn

__all__ = ["TRANSITIONS", "change_status", "complete", "create", "fail", "refuse", "start"]

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
            input_hash=command.input_hash,
            metadata_hash=command.metadata_hash,
            tags=command.tags,
            parent_run_id=command.parent_run_id,
            correlation_id=command.correlation_id,
        )
    )
    _decide(turn, command.decision, "run.create", command.input_hash)


def start(turn: Turn, command: StartRun) -> None:
    """A managed run begins."""
    if _decide(turn, command.decision, "run.start", turn.run.input_hash) == "allow":
        turn.emit(RunStatusChanged(previous_status="pending", new_status="running"))


def complete(turn: Turn, command: CompleteRun) -> None:
    """A managed run has reached its end."""
    if _decide(turn, command.decision, "run.complete", command.output_hash) == "allow":
        end_run(turn, "completed", output_hash=command.output_hash)


def fail(turn: Turn, command: FailRun) -> None:
    """A managed run cannot go on."""
    end_run(turn, "failed", code=command.code, reason=command.reason)


def _decide(turn: Turn, decision: Decision, action: str, subject_hash: str | None) -> str:
    effect, _ = turn.decide(decision, action, subject_hash=subject_hash)
    if effect == "flag":
        ask_for_flags(turn, decision.flags, action, None, subject_hash)
    return effect


def change_status(turn: Turn, command: ChangeStatus) -> None:
    """A client changes the status. A transition that policy denies is refused and changes nothing;
    one that it flags waits at a gate, and is asked for again once that has passed."""
    action = action_for(turn, command)
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


def action_for(turn: Turn, command: ChangeStatus) -> str:
    """The action that a requested transition is; raises `Conflict` where there is none."""
    run, wanted = turn.run, command.status
    action = TRANSITIONS.get(run.status, {}).get(wanted)
    if action is None:
        options = ", ".join(TRANSITIONS.get(run.status, {})) or "nothing: that is final"
        raise Conflict(
            f"A run that is {run.status} cannot become {wanted}; it can become {options}.",
            code="invalid_transition",
        )
    if wanted == "running" and run.open_gates:
        raise Conflict(
            f"Gate {', '.join(run.open_gates)} is pending; resolve it and the run goes on.",
            code="gate_pending",
        )
    if run.is_managed:
        _check_managed(turn, wanted)
    elif run.status == "running" and wanted == "running":
        if command.current_step in (None, run.current_step):
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


def _check_managed(turn: Turn, wanted: str) -> None:
    resuming = wanted == "running" and turn.run.status == "paused"
    if wanted not in ("paused", "cancelled") and not resuming:
        raise Conflict(
            "The server executes this run; a client may pause, resume and cancel it.",
            code="managed_run",
        )


def refuse(turn: Turn, command: RecordRefusal) -> None:
    """Write down an attempt that was refused."""
    if turn.run.refusals >= MAX_REFUSALS:
        return
    if command.decision is not None:
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
