"""An event as people read it."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec

from ..ledger.said import Errors, run_said, step_said
from ..spine import events as e
from ..spine.envelope import Event
from ..spine.receipts import took_ms
from ..spine.times import to_rfc3339
from .views import LogEntry

__all__ = ["CATEGORIES", "error_hashes", "log_entry"]

CATEGORIES = {"RUN": "run", "POLICY": "policy", "STEP": "step", "GATE": "gate", "AUTH": "auth"}
"""The middle of an event code → `event_category`."""


def error_hashes(events: Iterable[Event]) -> list[str]:
    """The payloads that the messages of these events are read from."""
    told = (ev.data.error_hash for ev in events if isinstance(ev.data, (e.StepFailed, e.RunEnded)))
    return list(dict.fromkeys(digest for digest in told if digest))


def log_entry(event: Event, errors: Errors) -> LogEntry:
    """The contract's `LogEntry` of a run's event; `errors` has what `error_hashes` names."""
    data = event.data
    details: dict[str, Any] = msgspec.to_builtins(data)
    category = event.type.split("-")[1] if "-" in event.type else "RUN"
    previous, new = _change(data)
    return LogEntry(
        log_id=_log_id(event),
        run_id=event.stream.removeprefix("run:"),
        seq=event.seq,
        event_type=event.type,
        event_category=CATEGORIES.get(category, category.lower()),
        step_id=details.get("step_id"),
        previous_status=previous,
        new_status=new,
        actor_id=event.actor,
        via=event.via,
        message=_message(data, errors),
        decision=details.get("decision"),
        details=details,
        timestamp=to_rfc3339(event.at),
        duration_ms=took_ms(data) if isinstance(data, (e.StepCompleted, e.StepFailed)) else None,
        evidence_hash=details.get("receipt_hash")
        or details.get("workflow_receipt_hash")
        or event.hash,
        evidence_pack_ref=None,
        prev_hash=event.prev,
        hash=event.hash,
    )


_CLOSED: dict[type, str] = {e.GateExpired: "expired", e.GateBypassed: "bypassed"}


def _change(data: Any) -> tuple[str | None, str | None]:
    """(status before, status after) of the run or gate that the event is about."""
    if isinstance(data, (e.RunStatusChanged, e.RunEnded)):
        return data.previous_status, data.new_status
    if isinstance(data, (e.GateResolved, e.GateResumed)):
        return "pending", data.gate_status
    closed = _CLOSED.get(type(data))
    if closed is not None:
        return "pending", closed
    born = isinstance(data, (e.RunCreated, e.GateRequested))
    return None, "pending" if born else None


def _log_id(event: Event) -> str:
    """A UUIDv7 (RFC 9562) of the event's time and hash: the same whenever it is read."""
    random = int(event.hash[:20], 16)
    value = (event.at // 1000) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & ((1 << 62) - 1)
    return str(UUID(int=value))


def _message(data: Any, errors: Errors) -> str:
    if isinstance(data, e.RunEnded):
        return _ended(data, errors)
    if isinstance(data, e.StepFailed):
        kind, said = step_said(data.error_type, data.error_hash, errors)
        return f"Step {data.step_id} failed: {kind}: {said}"
    return _MESSAGES[type(data)](data)


def _ended(data: e.RunEnded, errors: Errors) -> str:
    if data.new_status == "completed":
        return "Run completed successfully"
    why = run_said(data.reason, data.error_code, data.error_hash, errors)
    if data.new_status == "failed":
        return f"Run failed: {why or data.error_code or 'no reason given'}"
    return f"Run cancelled{f': {why}' if why else ''}"


def _decided(data: e.PolicyEvaluated) -> str:
    about = f" of step {data.step_id}" if data.step_id else ""
    rules = f" [{', '.join(data.rules_triggered)}]" if data.rules_triggered else ""
    covered = f"; let through at gate {', '.join(data.covered_by)}" if data.covered_by else ""
    return f"Policy: {data.decision} {data.action}{about}{rules}: {data.reason}{covered}"


def _answered(data: e.GateResolved | e.GateResumed) -> str:
    why = f": {data.reason}" if data.reason else ""
    more = " (more approvals are needed)" if data.gate_status == "pending" else ""
    return f"Gate {data.gate_name} {data.decision}{why}{more}"


_MESSAGES: dict[type, Callable[[Any], str]] = {
    e.RunCreated: lambda d: f"Workflow run created for '{d.workflow_id}'",
    e.RunStatusChanged: lambda d: f"Run status changed from {d.previous_status} to {d.new_status}",
    e.PolicyEvaluated: _decided,
    e.StepStarted: lambda d: (
        f"Step {d.step_id} started{' again' if d.again else ''}"
        + (f": run {d.child_run_id} executes it" if d.child_run_id else "")
    ),
    e.StepCompleted: lambda d: f"Step {d.step_id} completed",
    e.StepRetryScheduled: lambda d: (
        f"Step {d.step_id}: attempt {d.attempt} not before {d.not_before}"
    ),
    e.StepInDoubt: lambda d: f"Step {d.step_id} in doubt: nobody saw how attempt {d.attempt} ended",
    e.StepSkipped: lambda d: f"Step {d.step_id} skipped: {d.reason}",
    e.StepFannedOut: lambda d: f"Step {d.step_id} fans out: {d.items:,} items",
    e.StepCarried: lambda d: (
        f"Step {d.step_id} carried over from run {d.from_run}"
        + (f", where it was skipped: {d.reason}" if d.receipt is None else "")
    ),
    e.GateRequested: lambda d: f"Gate requested: {d.gate_name}",
    e.GateResolved: _answered,
    e.GateResumed: _answered,
    e.GateExpired: lambda d: f"Gate {d.gate_name} expired",
    e.GateBypassed: lambda d: f"EMERGENCY BYPASS of gate {d.gate_name}: {d.reason}",
    e.AttemptRefused: lambda d: f"Refused {d.attempted}: {d.reason}",
}
