"""The part of the report that tells of people: gates, their answers, and what was refused."""

from collections.abc import Iterator

from .markdown import quoted, table
from .retelling import by, moment
from .story import AnswerStory, GateStory, RunStory

__all__ = ["gate_lines", "refusal_lines"]


def gate_lines(story: RunStory) -> Iterator[str]:
    """Every gate with what was answered there."""
    if not story.gates_seen:
        yield "Nobody was asked."
        yield ""
        return
    yield from table(
        ("gate", "about", "asked (UTC)", "who may answer", "expires (UTC)", "status"),
        (_gate(gate) for gate in story.gates.values()),
    )
    if story.gates_seen > len(story.gates):
        yield f"{story.gates_seen - len(story.gates):,} further gates are left out."
        yield ""
    answers = [(gate, answer) for gate in story.gates.values() for answer in gate.answers]
    if answers:
        yield from table(
            ("answered (UTC)", "gate", "who", "in the role", "said", "reason"),
            (_answer(gate, answer) for gate, answer in answers),
        )


def _gate(gate: GateStory) -> tuple[str, ...]:
    asked = gate.asked
    about = f"step {quoted(asked.step_id, 60)}" if asked.step_id else quoted(asked.action)
    if asked.covers:
        about += f", flagged by {quoted(', '.join(asked.covers))}"
    who = ", ".join(quoted(name, 60) for name in asked.required_approvers[:20])
    who = who or "anyone who may answer gates"
    people = f"{asked.quorum} different people of: " if asked.quorum > 1 else ""
    return (
        quoted(asked.gate_name),
        about,
        f"{moment(gate.at)} by {by(gate.actor, gate.via)}",
        people + who,
        moment(asked.expires_at),
        gate.status,
    )


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
        yield f"{story.refusals_seen - len(story.refusals):,} further refusals are left out."
        yield ""
