"""A picture of a short run: what happened, one line after the other, as a text."""

from collections.abc import Callable, Iterator
from typing import Any

from ..spine import events as e
from .markdown import counted, plain
from .retelling import Told, seconds_between

__all__ = ["Timeline"]

MOST_LINES = 160


class Timeline:
    """Remembers as many lines as a person would read; a longer run has no picture."""

    def __init__(self) -> None:
        self._begin: str | None = None
        self._lines: list[str] = []
        self._bypassed: set[str] = set()

    def take(self, event: Told) -> None:
        self._begin = self._begin or event.at
        draw = _DRAWN.get(type(event.data))
        line = draw(event, event.data) if draw and len(self._lines) <= MOST_LINES else None
        if isinstance(event.data, e.GateBypassed):
            self._bypassed.add(event.data.gate_id)
        if isinstance(event.data, e.PolicyEvaluated) and line is not None:
            line = self._without_people(event.data) or line
        if line is not None:
            after = seconds_between(self._begin, event.at)
            self._lines.append(f"{after:>12,.3f} s  {line}")

    def _without_people(self, data: e.PolicyEvaluated) -> str | None:
        """Of something that was flagged and is allowed, where a bypass is what covers it."""
        if data.decision != "allow" or self._bypassed.isdisjoint(data.covered_by):
            return None
        return f"! policy allows {_about(data)}, as its gate was bypassed"

    def lines(self) -> Iterator[str]:
        """As a block of Markdown; nothing for a run that is too long."""
        if self._lines and len(self._lines) <= MOST_LINES:
            yield "```text"
            yield from self._lines
            yield "```"
            yield ""


def _name(value: object) -> str:
    return plain(value, 60)


def _who(event: Told) -> str:
    via = f" (via {_name(event.via)})" if event.via else ""
    return f"{_name(event.actor)}{via}"


def _about(data: e.PolicyEvaluated) -> str:
    return f"step {_name(data.step_id)}" if data.step_id else _name(data.action)


def _decided(_event: Told, data: e.PolicyEvaluated) -> str | None:
    if data.decision == "allow" and not data.covered_by:
        return None
    about = _about(data)
    rules = f" [{plain(', '.join(data.rules_triggered), 60)}]" if data.rules_triggered else ""
    if data.decision == "deny":
        return f"✗ policy denies {about}{rules}"
    if data.decision == "flag":
        return f"⚑ policy flags {about}{rules}: people must approve"
    return f"✓ policy allows {about}, as people approved it"


def _asked(_event: Told, data: e.GateRequested) -> str:
    who = plain(", ".join(data.required_approvers), 80) or "anyone who may answer gates"
    return f"‖ gate {_name(data.gate_name)} asks {who}; {data.quorum} must approve"


def _answered(event: Told, data: e.GateResolved | e.GateResumed) -> str:
    mark, verb = ("✓", "approves") if data.decision == "approved" else ("✗", "rejects")
    return f"{mark} {_who(event)} {verb} gate {_name(data.gate_name)}"


def _status(event: Told, data: e.RunStatusChanged) -> str | None:
    if data.new_status == "paused":
        return f"‖ {_who(event)} pauses the run" if data.hold else "‖ the run pauses"
    return "→ the run goes on" if data.previous_status == "paused" else None


def _started(_event: Told, data: e.StepStarted) -> str:
    attempt = f" (attempt {data.attempt})" if data.attempt > 1 else ""
    child = f", executed by run {_name(data.child_run_id)}" if data.child_run_id else ""
    return f"→ step {_name(data.step_id)} starts{' again' if data.again else ''}{attempt}{child}"


def _ended(event: Told, data: e.RunEnded) -> str:
    by = f" by {_who(event)}" if data.new_status == "cancelled" else ""
    return f"■ the run ends: {data.new_status}{by}"


def _simple(words: str) -> Callable[[Told, Any], str]:
    return lambda event, data: words.format(
        who=_who(event),
        step=_name(getattr(data, "step_id", None)),
        gate=_name(getattr(data, "gate_name", None)),
        what=_name(getattr(data, "attempted", None)),
        ms=f"{getattr(data, 'duration_ms', 0):,}",
    )


_DRAWN: dict[type, Callable[[Told, Any], str | None]] = {
    e.RunCreated: _simple("● {who} starts the run"),
    e.RunStatusChanged: _status,
    e.RunEnded: _ended,
    e.PolicyEvaluated: _decided,
    e.StepStarted: _started,
    e.StepCompleted: _simple("✓ step {step} completed in {ms} ms"),
    e.StepFailed: _simple("✗ step {step} failed after {ms} ms"),
    e.StepRetryScheduled: _simple("… step {step} will be tried again"),
    e.StepInDoubt: _simple("? step {step} was cut off: nobody saw how it ended"),
    e.StepSkipped: _simple("– step {step} is skipped"),
    e.StepFannedOut: lambda _, d: (
        f"⇉ step {_name(d.step_id)} is done for each of {counted(d.items, 'item', 'items')}"
    ),
    e.StepCarried: _simple("→ step {step} is carried over from an earlier run"),
    e.GateRequested: _asked,
    e.GateResolved: _answered,
    e.GateResumed: _answered,
    e.GateExpired: _simple("✗ gate {gate} expired: nobody answered in time"),
    e.GateBypassed: lambda event, d: (
        f"! {_who(event)} bypasses gate {_name(d.gate_name)} in an emergency: {plain(d.reason)}"
    ),
    e.AttemptRefused: _simple("✗ refused: {who} attempted {what}"),
}
