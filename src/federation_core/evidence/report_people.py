"""The part of the report that tells of people: gates, their answers, and what was refused."""

from collections.abc import Iterator, Sequence

from ..spine import events as e
from .markdown import counted, quoted, table
from .retelling import by, moment
from .story import AnswerStory, BypassStory, GateStory, RunStory

__all__ = ["bypass_lines", "gate_lines", "refusal_lines"]


def gate_lines(story: RunStory) -> Iterator[str]:
    """Every gate with what was answered there."""
    if not story.gates_seen:
        yield "Nobody was asked."
        yield ""
        return
    yield from table(
        ("gate", "about", "asked (UTC)", "who may answer", "expires (UTC)", "status"),
        (_gate(gate, is_over=story.end is not None) for gate in story.gates.values()),
    )
    if story.gates_seen > len(story.gates):
        left_out = story.gates_seen - len(story.gates)
        yield counted(left_out, "further gate is left out.", "further gates are left out.")
        yield ""
    answers = [(gate, answer) for gate in story.gates.values() for answer in gate.answers]
    if answers:
        yield from table(
            ("answered (UTC)", "gate", "who", "in the role", "said", "reason"),
            (_answer(gate, answer) for gate, answer in answers),
        )


def _gate(gate: GateStory, *, is_over: bool) -> tuple[str, ...]:
    asked = gate.asked
    about = f"step {quoted(asked.step_id, 60)}" if asked.step_id else quoted(asked.action)
    if asked.covers:
        about += f", flagged by {quoted(', '.join(asked.covers))}"
    status = "pending when the run ended" if is_over and gate.status == "pending" else gate.status
    return (
        quoted(asked.gate_name),
        about,
        f"{moment(gate.at)} by {by(gate.actor, gate.via)}",
        _people(asked),
        moment(asked.expires_at),
        "**bypassed**" if status == "bypassed" else status,
    )


def _people(asked: e.GateRequested) -> str:
    who = ", ".join(quoted(name, 60) for name in asked.required_approvers[:20])
    people = f"{asked.quorum} different people of: " if asked.quorum > 1 else ""
    return people + (who or "anyone who may answer gates")


def bypass_lines(bypasses: Sequence[tuple[str, BypassStory]], seen: int) -> Iterator[str]:
    """The gates that somebody let runs through without those who were asked: what an auditor looks
    for first. Nothing where there are none; of `seen` only `bypasses` are listed."""
    if not seen:
        return
    told = counted(seen, "gate was bypassed", "gates were bypassed")
    yield f"**⚠ {told} in an emergency.** One person let the run through, without the approval that"
    yield "was asked for:"
    yield ""
    yield from table(
        ("bypassed (UTC)", "run", "gate", "step", "by", "why", "who was asked"),
        (
            (moment(b.at), quoted(run_id), quoted(b.what.gate_name), quoted(b.what.step_id, 60),
             f"**{by(b.actor, b.via)}**", quoted(b.what.reason, 400),
             _people(b.asked) if b.asked else "–")
            for run_id, b in bypasses
        ),
    )  # fmt: skip
    if seen > len(bypasses):
        left_out = seen - len(bypasses)
        yield counted(left_out, "further one is left out.", "further ones are left out.")
        yield ""


def _answer(gate: GateStory, answer: AnswerStory) -> tuple[str, ...]:
    entered = " and entered something" if answer.with_input else ""
    return (
        moment(answer.at),
        quoted(gate.asked.gate_name),
        by(answer.actor, answer.via),
        quoted(answer.role),
        f"**{answer.said}**{entered}",
        quoted(answer.reason, 400),
    )


def refusal_lines(story: RunStory) -> Iterator[str]:
    """What policy refused beside the steps, and who attempted what they may not do."""
    if not story.refusals_seen and not story.denials:
        yield "Nothing beside what the steps above say."
        yield ""
        return
    if story.denials:
        yield from table(
            ("policy said", "about", "rules", "reason"),
            (
                (d.decision, quoted(d.action), quoted(", ".join(d.rules_triggered)),
                 quoted(d.reason, 400))
                for d in story.denials
            ),
        )  # fmt: skip
    if story.refusals:
        yield from table(
            ("when (UTC)", "who", "attempted", "refused because", "reason"),
            (
                (moment(r.at), by(r.actor, r.via), quoted(r.what.attempted),
                 quoted(r.what.refusal_code), quoted(r.what.reason, 400))
                for r in story.refusals
            ),
        )  # fmt: skip
    if story.refusals_seen > len(story.refusals):
        left_out = story.refusals_seen - len(story.refusals)
        yield counted(left_out, "further refusal is left out.", "further refusals are left out.")
        yield ""
