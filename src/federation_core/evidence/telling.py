"""From a run's events to its story, in one pass."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ..spine import events as e
from ..spine.items import item_place
from .places import places
from .retelling import Told
from .story import (
    MOST_ATTEMPTS,
    MOST_EVENTFUL,
    MOST_GATES,
    MOST_REFUSALS,
    SHORT_RUN,
    WAITING,
    AnswerStory,
    BypassStory,
    FanStory,
    GateStory,
    PolicyUse,
    RefusalStory,
    RunStory,
    StepStory,
)

__all__ = ["tell"]

_MOST_NAMES = 10
_MOST_PLACES = 1_000
_OPEN = frozenset({"not begun", "running", WAITING, "in doubt"})


def tell(
    told: Iterable[Told],
    wanted: frozenset[str] = frozenset(),
    defined: Mapping[str, str] | None = None,
) -> RunStory:
    """The story of a run's events; `wanted` are hashes of payloads to find the places of, `defined`
    the steps of the definition and their types."""
    story = RunStory(unreached=dict(defined or {}))
    for event in told:
        story.events += 1
        handler = _HANDLERS.get(type(event.data))
        if handler is not None:
            handler(story, event, event.data)
        if wanted and len(story.places) < _MOST_PLACES:
            for digest, place in places(event.data):
                if digest in wanted:
                    story.places.setdefault(digest, place)
        story.timeline.take(event)
    if story.end is not None:
        for step in story.listed.values():
            if step.status in _OPEN:
                step.status += " when the run ended"
    _drop_uneventful(story)
    return story


def _drop_uneventful(story: RunStory) -> None:
    if story.steps_seen > SHORT_RUN:
        for step in [s for s in story.listed.values() if not s.is_eventful]:
            _drop(story, step)


def _drop(story: RunStory, step: StepStory) -> None:
    del story.listed[step.step_id]
    story.dropped[step.status] += 1
    story.eventful_dropped += step.is_eventful


def _step(story: RunStory, step_id: str) -> StepStory:
    step = story.listed.get(step_id)
    if step is None:
        step = story.listed[step_id] = StepStory(story.steps_seen, step_id)
        story.steps_seen += 1
        story.unreached.pop(step_id, None)
    return step


def _attempt(story: RunStory, step_id: str) -> StepStory:
    """The step as its next attempt, where the one before has ended without success."""
    step = _step(story, step_id)
    if step.status not in ("failed", "in doubt"):
        return step
    if len(step.earlier) < MOST_ATTEMPTS:
        step.earlier.append(msgspec.structs.replace(step, earlier=[]))
    step.earlier_seen += 1
    story.listed[step_id] = StepStory(
        step.order,
        step_id,
        step.step_type,
        attempts=step.attempts + 1,
        earlier=step.earlier,
        earlier_seen=step.earlier_seen,
    )
    return story.listed[step_id]


def _finished(story: RunStory, step: StepStory) -> None:
    """Forget it, unless it is one to be listed."""
    room = MOST_EVENTFUL if step.is_eventful else SHORT_RUN
    if step.is_finished and len(story.listed) > room:
        _drop(story, step)


def _created(story: RunStory, event: Told, _data: e.RunCreated) -> None:
    story.born, story.tenant = event, event.tenant


def _changed(story: RunStory, _event: Told, data: e.RunStatusChanged) -> None:
    story.status = data.new_status


def _ended(story: RunStory, event: Told, data: e.RunEnded) -> None:
    story.status, story.end = data.new_status, event


def _decided(story: RunStory, _event: Told, data: e.PolicyEvaluated) -> None:
    story.decisions[data.decision] += 1
    use = story.policies.setdefault(data.policy_hash, PolicyUse(data.policy_id))
    use.decided += 1
    use.tiers.add(data.tier)
    if (tight := data.tightened) is not None:
        story.policies.setdefault(tight.policy_hash, PolicyUse(tight.policy_id)).tightened += 1
    if data.step_id is None or not data.action.startswith("step."):
        if data.decision != "allow" and len(story.denials) < MOST_REFUSALS:
            story.denials.append(data)
        return
    step = _attempt(story, data.step_id)
    step.step_type = data.step_type or step.step_type
    if step.effects[-1:] != (data.decision,):
        step.effects = (*step.effects, data.decision)[-6:]
    step.rules, step.reason = data.rules_triggered, data.reason
    if data.decision == "deny":
        step.status = "denied"
    elif data.decision == "flag":
        step.status = WAITING
    _finished(story, step)


def _started(story: RunStory, event: Told, data: e.StepStarted) -> None:
    step = _attempt(story, data.step_id)
    step.step_type, step.attempts, step.status = data.step_type, data.attempt, "running"
    step.doubted, step.child = step.doubted or data.again, data.child_run_id
    step.began = step.began or event.at


def _completed(story: RunStory, event: Told, data: e.StepCompleted) -> None:
    step = _step(story, data.step_id)
    step.status, step.ended, step.took_ms = "completed", event.at, data.duration_ms
    step.attempts, step.error = data.attempt, None
    _finished(story, step)
    place = item_place(data.step_id)
    fan = story.fans.get(place[0]) if place else None
    if fan is not None:
        fan.completed, fan.last = fan.completed + 1, event.at


def _fanned_out(story: RunStory, event: Told, data: e.StepFannedOut) -> None:
    story.fans[data.step_id] = FanStory(data.step_id, data.items, event.at)
    story.unreached.pop(data.step_id, None)


def _failed(story: RunStory, event: Told, data: e.StepFailed) -> None:
    step = _step(story, data.step_id)
    step.status, step.ended, step.took_ms = "failed", event.at, data.duration_ms
    step.attempts, step.error = data.attempt, data.error_type


def _in_doubt(story: RunStory, _event: Told, data: e.StepInDoubt) -> None:
    step = _step(story, data.step_id)
    step.status, step.doubted = "in doubt", True


def _skipped(story: RunStory, event: Told, data: e.StepSkipped) -> None:
    step = _step(story, data.step_id)
    step.status, step.ended, step.reason = "skipped", event.at, data.reason
    _finished(story, step)


def _carried(story: RunStory, event: Told, data: e.StepCarried) -> None:
    story.carried += 1
    step = _step(story, data.step_id)
    step.status = "completed" if data.receipt is not None else "skipped"
    step.ended, step.attempts, step.carried_from = event.at, data.attempt, data.from_run
    if data.receipt is not None:
        step.step_type = str(data.receipt.get("step_type"))
    _finished(story, step)


def _asked(story: RunStory, event: Told, data: e.GateRequested) -> None:
    story.gates_seen += 1
    if len(story.gates) < MOST_GATES:
        story.gates[data.gate_id] = GateStory(event.at, event.actor, event.via, data)
    step = story.listed.get(data.step_id or "")
    if step is not None and step.step_type == "GATE" and step.status == "running":
        step.status = WAITING


def _answered(story: RunStory, event: Told, data: e.GateResolved | e.GateResumed) -> None:
    story.answers[data.decision] += 1
    answer = AnswerStory(
        event.at,
        event.actor,
        event.via,
        data.role,
        data.decision,
        data.reason,
        isinstance(data, e.GateResumed),
    )
    _closed(story, data, data.gate_status, answer)
    step = story.listed.get(data.step_id or "")
    if data.decision == "approved" and step is not None:
        _named(step.approved_by, event.actor)


def _named(names: list[str], name: str) -> None:
    if name not in names and len(names) < _MOST_NAMES:
        names.append(name)


def _expired(story: RunStory, event: Told, data: e.GateExpired) -> None:
    story.answers["expired"] += 1
    answer = AnswerStory(event.at, event.actor, event.via, None, "expired", None, False)
    _closed(story, data, "expired", answer)


def _bypassed(story: RunStory, event: Told, data: e.GateBypassed) -> None:
    story.answers["bypassed"] += 1
    answer = AnswerStory(
        event.at, event.actor, event.via, None, "emergency bypass", data.reason, False
    )
    _closed(story, data, "bypassed", answer)
    step = story.listed.get(data.step_id or "")
    if step is not None:
        _named(step.bypassed_by, event.actor)
    story.bypasses_seen += 1
    if len(story.bypasses) < MOST_GATES:
        gate = story.gates.get(data.gate_id)
        asked = None if gate is None else gate.asked
        story.bypasses.append(BypassStory(event.at, event.actor, event.via, data, asked))


def _closed(story: RunStory, data: Any, status: str, answer: AnswerStory) -> None:
    gate = story.gates.get(data.gate_id)
    if gate is not None:
        gate.status = status
        gate.answers.append(answer)


def _refused(story: RunStory, event: Told, data: e.AttemptRefused) -> None:
    story.refusals_seen += 1
    if len(story.refusals) < MOST_REFUSALS:
        story.refusals.append(RefusalStory(event.at, event.actor, event.via, data))


_HANDLERS: dict[type, Callable[[RunStory, Told, Any], None]] = {
    e.RunCreated: _created,
    e.RunStatusChanged: _changed,
    e.RunEnded: _ended,
    e.PolicyEvaluated: _decided,
    e.StepStarted: _started,
    e.StepCompleted: _completed,
    e.StepFailed: _failed,
    e.StepInDoubt: _in_doubt,
    e.StepSkipped: _skipped,
    e.StepFannedOut: _fanned_out,
    e.StepCarried: _carried,
    e.GateRequested: _asked,
    e.GateResolved: _answered,
    e.GateResumed: _answered,
    e.GateExpired: _expired,
    e.GateBypassed: _bypassed,
    e.AttemptRefused: _refused,
}
