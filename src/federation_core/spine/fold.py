"""`apply`: one event onto the state of its run. The only place where that state changes.

It refuses an event that the state machine does not have, whoever wrote it: what was replayed was
lawful. Split by subject: `fold_steps`, `fold_gates`, and the run itself here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import IntegrityError
from .children import is_child_id
from .definition import Workflow
from .envelope import Event
from .events import AttemptRefused, PolicyEvaluated, RunCreated, RunEnded, RunStatusChanged
from .fold_checks import require, require_allow
from .fold_fan_out import FAN_OUT_HANDLERS, cut_off
from .fold_gates import GATE_HANDLERS
from .fold_steps import STEP_HANDLERS, step_decided
from .receipts import receipt_hash, workflow_receipt
from .run import FINAL, RUN_TIMEOUT, Doom, Run

__all__ = ["apply", "is_fatal", "replay"]

_CHANGES = {("pending", "running"), ("running", "running"), ("running", "paused")} | {
    ("paused", "running")
}

_ENGINE_ACTIONS = ("run.start", "run.complete")


def replay(events: Iterable[Event], definition: Workflow | None) -> Run:
    """The state after `events`, which are a run's whole stream in order.

    `definition` is the workflow of a managed run, None for an external one. Raises
    `IntegrityError` at the first event that does not follow from those before it.
    """
    run = Run(definition)
    for event in events:
        apply(run, event)
    return run


def apply(run: Run, event: Event) -> None:
    """Fold `event` into `run`, in place. Raises `IntegrityError` and leaves `run` unusable where
    the event cannot follow: drop the run and read it again."""
    require(event.seq == run.head.seq, event, f"its seq should be {run.head.seq}")
    require(event.prev == run.head.hash, event, "it does not link to the event before it")
    require(event.at >= run.last_at, event, "it is older than the event before it")
    if event.seq == 0:
        require(isinstance(event.data, RunCreated), event, "a run begins with its creation")
    else:
        require(event.tenant == run.tenant, event, "it belongs to another tenant")
        require(event.stream == run.stream, event, "it belongs to another stream")
        late = isinstance(event.data, (AttemptRefused, PolicyEvaluated)) and run.is_ended
        require(not run.is_ended or late, event, f"the run is {run.status}")
    handler = _HANDLERS.get(type(event.data))
    if handler is None:
        raise IntegrityError(f"{event.type} is not an event of a run.", event=event.seq)
    handler(run, event, event.data)
    if event.seq == 0:
        run.first_hash = event.hash
    run.head = event.next_head
    run.last_at = event.at


def _created(run: Run, event: Event, data: RunCreated) -> None:
    require(event.seq == 0, event, "a run is created once")
    require(event.stream == f"run:{data.run_id}", event, "its stream names another run")
    _check_kin(event, data)
    run.run_id = data.run_id
    run.tenant = event.tenant
    run.workflow_id = data.workflow_id
    run.workflow_version = data.workflow_version
    run.definition_hash = data.definition_hash
    run.execution = data.execution
    run.policy_mode = data.policy_mode
    run.actor_id, run.via = event.actor, event.via
    run.actor_kind, run.actor_roles = data.actor_kind, data.actor_roles
    run.correlation_id = data.correlation_id
    run.parent_run_id = data.parent_run_id
    run.parent_step, run.parent_attempt = data.parent_step, data.parent_attempt
    run.restarted_from, run.sensitive = data.restarted_from, data.sensitive
    run.tags = data.tags
    run.input_hash, run.metadata_hash = data.input_hash, data.metadata_hash
    run.created_at = event.at
    if data.execution == "managed":
        if run.definition is None:
            raise IntegrityError(f"Run {data.run_id} is managed and its definition is missing.")
        run.plan(run.definition)


def _check_kin(event: Event, data: RunCreated) -> None:
    """A run that executes another's step is called after it; it is born once, never a restart."""
    managed = data.execution == "managed"
    if data.restarted_from is not None:
        lawful = managed and data.parent_step is None
        require(lawful, event, "only a managed run that executes no step restarts another")
    if data.parent_step is None:
        require(data.parent_attempt == 1, event, "it names an attempt of no step")
        lawful = not data.sensitive or data.restarted_from is not None
        require(lawful, event, "only a run that executes a step is as sensitive")
        return
    known = data.parent_run_id is not None and data.parent_attempt >= 1
    require(managed and known, event, "it executes a step of no run")
    about = (data.parent_run_id or "", data.parent_step, data.parent_attempt)
    require(is_child_id(data.run_id, *about), event, "its id is not that step's")


def _decided(run: Run, event: Event, data: PolicyEvaluated) -> None:
    run.policy_hashes[data.policy_hash] = None
    if data.tightened:
        run.policy_hashes[data.tightened.policy_hash] = None
    if data.decision == "flag":
        require(bool(data.flags), event, "a flag says what it flags")
    _covered(run, event, data)
    if data.step_id is not None and data.gate_id is None and data.action.startswith("step."):
        require(not run.is_ended, event, f"the run is {run.status}")
        step_decided(run, event, data)
    elif data.decision == "allow":
        run.cleared = (event.hash, data.action, data.gate_id, event.actor)
    elif data.decision == "deny" and is_fatal(run, data.action):
        run.doomed = run.doomed or Doom("policy_denied", data.reason)


def _covered(run: Run, event: Event, data: PolicyEvaluated) -> None:
    """An allow answers for each of its flags with a gate that people passed, and names no other."""
    about = (data.action, data.step_id, data.subject_hash)
    flags = data.flags if data.decision == "allow" else ()
    for gate_id in data.covered_by:
        require(gate_id in run.gates, event, f"there is no gate {gate_id}")
        require(gate_id not in run.spent, event, f"gate {gate_id} was used already")
    gates = [run.gates[gate_id] for gate_id in data.covered_by]
    for gate in gates:
        covers = any(gate.answers(flag, *about) for flag in flags)
        require(covers, event, f"gate {gate.gate_id} does not cover it")
    for flag in flags:
        covered = any(gate.answers(flag, *about) for gate in gates)
        require(covered, event, f"its flag {flag.rule} is not covered")
    if data.step_id is None or not run.is_managed:
        run.spent.update(dict.fromkeys(data.covered_by))


def is_fatal(run: Run, action: str) -> bool:
    """Whether a run of which policy denies this ends there."""
    if run.is_ended:
        return False
    return action == "run.create" or (run.is_managed and action in _ENGINE_ACTIONS)


def _status_changed(run: Run, event: Event, data: RunStatusChanged) -> None:
    change = (data.previous_status, data.new_status)
    require(data.previous_status == run.status, event, f"the run is {run.status}")
    require(change in _CHANGES, event, f"a run has no transition {change[0]} → {change[1]}")
    if data.new_status == "running":
        require(not run.open_gates, event, "a gate is pending")
        require(run.doomed is None, event, "what was denied or refused is final")
        progress = run.status == "running"
        require(not (progress and run.is_managed), event, "a managed run reports its own progress")
        if run.status == "pending":
            require_allow(run, event, "run.start")
        elif progress or run.held:
            require_allow(run, event, "run.resume")
        if run.started_at is None:
            run.started_at = event.at
        run.held = False
    elif data.hold:
        require_allow(run, event, "run.pause")
        run.held = True
    else:
        require(bool(run.open_gates), event, "no gate is pending")
    run.status = data.new_status
    run.reason = data.reason
    if data.current_step is not None:
        run.current_step = data.current_step
    if data.step_index is not None:
        run.step_index = data.step_index
    if data.output_hash is not None:
        run.output_hash = data.output_hash


def _ended(run: Run, event: Event, data: RunEnded) -> None:
    require(data.previous_status == run.status, event, f"the run is {run.status}")
    require(data.new_status in FINAL, event, f"{data.new_status} is not an end")
    if data.new_status == "completed":
        require(run.status == "running", event, "only a running run completes")
        require(run.doomed is None, event, "what was denied or refused is final")
        require(not run.open_gates, event, "a gate is pending")
        require(not run.unsatisfied, event, "steps have not ended")
        require(run.is_in_time(event.at), event, "the run is past its timeout")
        require_allow(run, event, "run.complete")
    require(not run.in_flight, event, "steps are in flight")
    if data.error_code == RUN_TIMEOUT and data.new_status == "failed" and run.is_managed:
        require(not run.is_in_time(event.at), event, "the run has time still")
    told = receipt_hash(workflow_receipt(run, data.new_status))
    require(data.workflow_receipt_hash == told, event, "its receipt tells something else")
    run.status = data.new_status
    run.reason = data.reason
    run.error_code, run.error_hash = data.error_code, data.error_hash
    if data.output_hash is not None:
        run.output_hash = data.output_hash
    if data.current_step is not None:
        run.current_step = data.current_step
    if data.step_index is not None:
        run.step_index = data.step_index
    run.workflow_receipt_hash = data.workflow_receipt_hash
    run.completed_at = event.at
    run.held = False
    cut_off(run, event.at)


def _refused(run: Run, _event: Event, _data: AttemptRefused) -> None:
    run.refusals += 1


_HANDLERS: dict[type, Callable[[Run, Event, Any], None]] = {
    RunCreated: _created,
    RunStatusChanged: _status_changed,
    RunEnded: _ended,
    PolicyEvaluated: _decided,
    AttemptRefused: _refused,
    **STEP_HANDLERS,
    **FAN_OUT_HANDLERS,
    **GATE_HANDLERS,
}
