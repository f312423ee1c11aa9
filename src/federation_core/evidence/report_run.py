"""The part of the report that tells of one run."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from ..spine import events as e
from .markdown import counted, quoted, section, table
from .report_people import gate_lines, refusal_lines
from .retelling import by, lasted, moment, seconds_between
from .scan import RunScan
from .story import MOST_EVENTFUL, SHORT_RUN, RunStory, StepStory

__all__ = ["overview", "run_lines"]


def run_lines(scan: RunScan, story: RunStory, *, depth: int) -> Iterator[str]:
    """The sections of a run, their headings at `depth`."""
    yield from section(depth, "Summary")
    yield from table(("what", "value"), list(overview(story).items()))
    if scan.receipt is None:
        yield "The run had not ended when this pack was made, so it has no receipt yet."
        yield ""
    picture = list(story.timeline.lines())
    if picture and story.steps_seen <= SHORT_RUN:
        yield from section(depth, "What happened")
        yield "Seconds since the beginning of the run:"
        yield ""
        yield from picture
    yield from section(depth, "Steps")
    yield from _steps(story)
    yield from section(depth, "Gates: who was asked, and what they answered")
    yield from gate_lines(story)
    yield from section(depth, "What was refused")
    yield from refusal_lines(story)


def overview(story: RunStory) -> dict[str, str]:
    """The summary, as Markdown."""
    born, end = story.born, story.end
    assert born is not None
    data = born.data
    assert isinstance(data, e.RunCreated)
    told = {
        "run": quoted(data.run_id),
        "workflow": f"{quoted(data.workflow_id)} version {quoted(data.workflow_version)}",
        "tenant": quoted(story.tenant),
        "executed by": "the server" if data.execution == "managed" else "the client, who reported",
        "policy mode": data.policy_mode,
        "started by": by(born.actor, born.via),
        "started (UTC)": moment(born.at),
        "ended (UTC)": _ended(story),
        "outcome": _outcome(story),
        "events": f"{story.events:,}",
        "steps": _counts(story.by_status) or "none",
        "decisions of policy": _counts(story.decisions) or "none",
        "answers at gates": _counts(story.answers) or "none",
        "attempts refused": f"{story.refusals_seen:,}",
    }
    if story.bypasses_seen:
        told["gates bypassed"] = f"**{story.bypasses_seen:,}**, told of at the top"
    if data.tags:
        told["tags"] = ", ".join(quoted(tag, 40) for tag in data.tags[:20])
    if data.parent_run_id:
        told["started out of run"] = quoted(data.parent_run_id)
    if data.parent_step:
        told["executes step"] = f"{quoted(data.parent_step)} of that run, and ends with it"
    if data.restarted_from:
        told["restarted from run"] = (
            f"{quoted(data.restarted_from)}; {counted(story.carried, 'step was', 'steps were')} "
            "carried over, and not done again"
        )
    if end is not None and isinstance(end.data, e.RunEnded):
        told["receipt"] = quoted(end.data.workflow_receipt_hash)
    return told


def _ended(story: RunStory) -> str:
    if story.end is None or story.born is None:
        return "not yet"
    return f"{moment(story.end.at)}, after {lasted(seconds_between(story.born.at, story.end.at))}"


def _outcome(story: RunStory) -> str:
    if story.end is None or not isinstance(story.end.data, e.RunEnded):
        return f"none yet: {story.status}"
    data = story.end.data
    who = f" by {by(story.end.actor, story.end.via)}" if data.new_status == "cancelled" else ""
    why = f" ({quoted(data.error_code)})" if data.error_code else ""
    reason = f": {quoted(story.why, 400)}" if story.why else ""
    return f"**{data.new_status}**{who}{why}{reason}"


def _counts(counter: Counter[str]) -> str:
    total = sum(counter.values())
    parts = ", ".join(f"{count:,} {name}" for name, count in sorted(counter.items()) if count)
    return f"{total:,}: {parts}" if total else ""


def _steps(story: RunStory) -> Iterator[str]:
    if not story.steps_seen and not story.fans:
        yield "No step was begun."
        yield ""
    left_out = sum(story.dropped.values())
    yield from _fan_outs(story)
    if story.steps_seen > SHORT_RUN:
        yield "Listed is what was out of the ordinary."
        yield ""
    if story.listed or story.unreached:
        yield from table(
            ("#", "step", "type", "result", "began (UTC)", "took", "policy", "approved by"),
            chain(_attempts(story), islice(_unreached(story), MOST_EVENTFUL)),
        )
    unlisted = max(0, len(story.unreached) - MOST_EVENTFUL)
    smooth = left_out - story.eventful_dropped
    attempts = sum(step.earlier_seen - len(step.earlier) for step in story.listed.values())
    for count, one, many in (
        (smooth, "uneventful step is left out: allowed, begun once, completed.",
         "uneventful steps are left out: allowed, begun once, completed."),
        (story.eventful_dropped, "further step is left out.",
         "further steps are left out for their number."),
        (attempts, "further attempt that did not succeed is left out.",
         "further attempts that did not succeed are left out for their number."),
        (unlisted, "further step that was not reached is left out.",
         "further steps that were not reached are left out for their number."),
    ):  # fmt: skip
        if count:
            yield counted(count, one, many)
    if left_out or attempts or unlisted:
        yield ""


def _fan_outs(story: RunStory) -> Iterator[str]:
    if not story.fans:
        return
    yield "These steps were done once for each item of a list. Each item is a step of its own, and"
    yield "named with its place in the list, counted from 0, such as `act[0]`."
    yield ""
    yield from table(
        ("step", "items", "completed", "began (UTC)", "last item completed (UTC)"),
        (
            (
                quoted(fan.step_id, 60),
                f"{fan.items:,}",
                f"{fan.completed:,}",
                moment(fan.began),
                moment(fan.last),
            )
            for fan in story.fans.values()
        ),
    )


def _attempts(story: RunStory) -> Iterator[tuple[object, ...]]:
    """A row for each attempt of each step; those of a step have its number."""
    for step in story.steps:
        yield from map(_row, step.earlier)
        yield _row(step)


def _unreached(story: RunStory) -> Iterator[tuple[object, ...]]:
    """A row for each step of the definition that nothing happened about."""
    told = "not reached" if story.end is not None else "not reached yet"
    for step_id, step_type in story.unreached.items():
        yield "–", quoted(step_id, 60), quoted(step_type, 20), told, "–", "–", "–", "–"


def _row(step: StepStory) -> tuple[object, ...]:
    result = step.status
    if step.carried_from:
        result += f" in run {quoted(step.carried_from, 60)}, carried over"
    if step.child:
        result += f" by run {quoted(step.child, 60)}"
    if step.attempts > 1 or step.status == "failed":
        result += f", attempt {step.attempts}"
    if step.doubted:
        result += ", had been cut off"
    if step.error:
        result += f": {quoted(step.error, 60)}"
    return (
        step.order + 1,
        quoted(step.step_id, 60),
        quoted(step.step_type, 20),
        result,
        moment(step.began),
        lasted(None if step.took_ms is None else step.took_ms / 1000),
        _policy(step),
        _let_pass_by(step),
    )


def _let_pass_by(step: StepStory) -> str:
    """Who approved; somebody who bypassed the gate did not, and stands out."""
    approved = ", ".join(quoted(name, 60) for name in step.approved_by)
    if not step.bypassed_by:
        return approved or "–"
    bypassed = ", ".join(quoted(name, 60) for name in step.bypassed_by)
    return f"{approved or 'nobody'}; **bypassed** by {bypassed}"


def _policy(step: StepStory) -> str:
    if not step.effects:
        return quoted(step.reason, 200)
    rules = quoted(", ".join(step.rules), 120) if step.rules else "no rule"
    reason = f": {quoted(step.reason, 200)}" if step.effects != ("allow",) else ""
    return f"{' → '.join(step.effects)} ({rules}){reason}"
