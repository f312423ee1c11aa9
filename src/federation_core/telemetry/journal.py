"""Log lines of what became durable. They name things and say how they ended; they tell no value,
and no message of an error, which may repeat one."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from ..spine.decision import Effect
from ..spine.envelope import Event
from ..spine.events import (
    AttemptRefused,
    GateBypassed,
    GateExpired,
    GateRequested,
    GateResolved,
    GateResumed,
    PolicyEvaluated,
    RunCreated,
    RunEnded,
    RunStatusChanged,
    StepCarried,
    StepCompleted,
    StepFailed,
    StepFannedOut,
    StepInDoubt,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
)
from .durable import Appended
from .logs import LogLevel, is_logged

__all__ = ["Journal"]


class _Line(msgspec.Struct, frozen=True):
    name: str
    facts: dict[str, Any]
    level: LogLevel = "info"


class Journal:
    """Tells of runs, gates and what went wrong; at `debug` of each step as well."""

    def __init__(self, level: LogLevel) -> None:
        self._level = level

    def committed(self, appends: Sequence[Appended], /) -> None:
        log = structlog.get_logger()
        for append in appends:
            for event in append.events:
                tell = _LINES.get(type(event.data))
                if tell is None:
                    log.info(
                        "recorded",
                        code=event.type,
                        tenant=event.tenant,
                        actor=event.actor,
                        **_named(event),
                    )
                    continue
                line = tell(event.data)
                if is_logged(line.level, self._level):
                    run_id = event.stream.removeprefix("run:")
                    write = getattr(log, line.level)
                    write(line.name, run_id=run_id, tenant=event.tenant, **line.facts)


def _named(event: Event) -> dict[str, Any]:
    """What an event of another stream is about, where its data name it."""
    if not isinstance(event.data, dict):
        return {}
    found = ((name, event.data.get(name)) for name in ("schedule_id", "workflow_id", "run_id"))
    return {name: value for name, value in found if isinstance(value, str)}


def _step(name: str, level: LogLevel = "debug") -> Callable[[Any], _Line]:
    return lambda data: _Line(name, {"step_id": data.step_id, "attempt": data.attempt}, level)


def _gate(name: str, level: LogLevel = "info") -> Callable[[Any], _Line]:
    return lambda data: _Line(name, {"gate_id": data.gate_id}, level)


def _failed(data: StepFailed) -> _Line:
    facts = {"step_id": data.step_id, "attempt": data.attempt, "error": data.error_type}
    return _Line("step_failed", facts)


def _decided(data: PolicyEvaluated) -> _Line:
    facts: dict[str, Any] = {
        "action": data.action,
        "effect": data.decision,
        "rules": list(data.rules_triggered),
    }
    if data.step_id is not None:
        facts |= {"step_id": data.step_id, "attempt": data.attempt}
    return _Line("decided", facts, _LOUDNESS[data.decision])


_LOUDNESS: dict[Effect, LogLevel] = {"allow": "debug", "flag": "info", "deny": "warning"}


def _created(data: RunCreated) -> _Line:
    facts = {
        "workflow_id": data.workflow_id,
        "version": data.workflow_version,
        "execution": data.execution,
        "correlation_id": data.correlation_id,
    }
    return _Line("run_created", facts)


def _changed(data: RunStatusChanged) -> _Line:
    facts = {"status": data.new_status, "previous": data.previous_status}
    return _Line("run_changed", facts, "debug")


def _ended(data: RunEnded) -> _Line:
    facts = {"status": data.new_status}
    return _Line("run_ended", facts | ({"error": data.error_code} if data.error_code else {}))


def _asked(data: GateRequested) -> _Line:
    facts = {
        "gate_id": data.gate_id,
        "gate_type": data.gate_type,
        "step_id": data.step_id,
        "approvers": list(data.required_approvers),
    }
    return _Line("gate_requested", facts)


def _answered(data: GateResolved | GateResumed) -> _Line:
    facts = {"gate_id": data.gate_id, "decision": data.decision, "status": data.gate_status}
    return _Line("gate_answered", facts | {"actor": data.receipt["actor_id"]})


def _refused(data: AttemptRefused) -> _Line:
    facts = {"attempted": data.attempted, "code": data.refusal_code}
    return _Line("attempt_refused", facts, "warning")


_LINES: dict[type, Callable[[Any], _Line]] = {
    AttemptRefused: _refused,
    GateBypassed: _gate("gate_bypassed", "warning"),
    GateExpired: _gate("gate_expired"),
    GateRequested: _asked,
    GateResolved: _answered,
    GateResumed: _answered,
    PolicyEvaluated: _decided,
    RunCreated: _created,
    RunEnded: _ended,
    RunStatusChanged: _changed,
    StepCarried: _step("step_carried"),
    StepCompleted: _step("step_completed"),
    StepFailed: _failed,
    StepFannedOut: lambda data: _Line(
        "step_fanned_out", {"step_id": data.step_id, "items": data.items}, "debug"
    ),
    StepInDoubt: _step("step_in_doubt", "warning"),
    StepRetryScheduled: _step("step_retry"),
    StepSkipped: lambda data: _Line("step_skipped", {"step_id": data.step_id}, "debug"),
    StepStarted: _step("step_started"),
}
