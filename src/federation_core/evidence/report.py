"""REPORT.md: what is in the pack, for a person who is no engineer. Nothing is verified from it.

It has no time of its own: the same pack has the same report.
"""

from collections.abc import Iterator
from itertools import islice

from sqlalchemy import Connection

from ..ledger import Payload
from ..ledger.evidence_queries import payload_of
from ..ledger.said import run_said
from ..spine import events as e
from .markdown import quoted, section, table
from .report_facts import ReportFacts
from .report_run import overview, run_lines
from .report_tail import tail_lines
from .retelling import by, moment, told_events
from .scan import RunScan
from .story import PolicyUse, RunStory
from .telling import tell

__all__ = ["report_chunks"]

MOST_RUNS = 50
"""Of a pack of more runs, the others are told of in one line each."""
MOST_LINES = 1_000

_INTRO = """\
This text retells what the events in this evidence pack say. **It proves nothing by itself**:
anybody can write such a text. What proves it are the other files of the pack, and a program that
checks them; the last section says how. All times are UTC. Words in `this type` are quoted from the
record as somebody entered them; long ones are cut."""


def report_chunks(c: Connection, facts: ReportFacts) -> Iterator[bytes]:
    """The text in pieces; it reads the events of one run at a time."""
    part: list[str] = []
    for line in _lines(c, facts):
        part.append(line)
        if len(part) == 100:
            yield _encoded(part)
            part = []
    yield _encoded(part)


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _lines(c: Connection, facts: ReportFacts) -> Iterator[str]:
    yield from section(1, "Evidence report")
    yield _INTRO
    yield ""
    policies: dict[str, PolicyUse] = {}
    places: dict[str, str] = {}
    if len(facts.runs) > 1:
        yield from _register(c, facts)
    for scan in facts.runs[:MOST_RUNS]:
        story = _story(c, scan, facts)
        _gather(story, policies, places)
        if len(facts.runs) > 1:
            yield from section(2, f"Run {quoted(scan.run_id)}")
        yield from run_lines(scan, story, depth=2 if len(facts.runs) == 1 else 3)
    for scan in facts.runs[MOST_RUNS:]:
        _gather(_story(c, scan, facts), policies, places)
    yield from tail_lines(facts, policies, places)


def _story(c: Connection, scan: RunScan, facts: ReportFacts) -> RunStory:
    told = told_events(c, scan.stream, len(scan.positions))
    story = tell(told, facts.payloads.absent)
    if story.end is not None and isinstance(story.end.data, e.RunEnded):
        story.why = _why(c, scan, facts, story.end.data)
    return story


def _why(c: Connection, scan: RunScan, facts: ReportFacts, end: e.RunEnded) -> str | None:
    """What was said of the failure is a payload, and told where this pack has payloads."""
    if not facts.shown or end.error_hash is None:
        return end.reason
    found = payload_of(c, scan.stream, end.error_hash)
    if found is not None and facts.sensitive:
        found = Payload(found.hash, found.value)
    errors = {} if found is None else {found.hash: found}
    return run_said(end.reason, end.error_code, end.error_hash, errors)


def _gather(story: RunStory, policies: dict[str, PolicyUse], places: dict[str, str]) -> None:
    for digest, use in story.policies.items():
        known = policies.setdefault(digest, PolicyUse(use.policy_id))
        known.tiers |= use.tiers
        known.decided += use.decided
        known.tightened += use.tightened
    for digest, place in story.places.items():
        places.setdefault(digest, place)


def _register(c: Connection, facts: ReportFacts) -> Iterator[str]:
    yield from section(2, f"The {len(facts.runs):,} runs")
    yield from table(
        ("run", "workflow", "started by", "started (UTC)", "outcome", "steps", "refusals"),
        (_row(c, scan, facts) for scan in islice(facts.runs, MOST_LINES)),
    )
    if len(facts.runs) > MOST_LINES:
        yield f"{len(facts.runs) - MOST_LINES:,} further runs are in the pack and not listed here."
        yield ""
    if len(facts.runs) > MOST_RUNS:
        yield f"The first {MOST_RUNS} are told of below."
        yield ""


def _row(c: Connection, scan: RunScan, facts: ReportFacts) -> tuple[object, ...]:
    story = _story(c, scan, facts)
    born = story.born
    assert born is not None
    return (
        quoted(scan.run_id),
        overview(story)["workflow"],
        by(born.actor, born.via),
        moment(born.at),
        story.status,
        f"{story.steps_seen:,}",
        f"{story.refusals_seen:,}",
    )
