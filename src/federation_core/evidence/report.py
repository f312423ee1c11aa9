"""REPORT.md: what is in the pack, for a person who is no engineer. Nothing is verified from it.

It has no time of its own: the same pack has the same report.
"""

from collections.abc import Iterator

from sqlalchemy import Connection

from ..ledger import Payload
from ..ledger.evidence_queries import payload_of
from ..ledger.said import run_said
from ..spine import events as e
from .markdown import counted, quoted, section, table
from .report_definition import Definitions
from .report_facts import ReportFacts
from .report_people import bypass_lines
from .report_run import run_lines
from .report_tail import tail_lines
from .report_whole import Whole
from .retelling import told_events
from .scan import RunScan
from .story import RunStory
from .telling import tell

__all__ = ["report_chunks"]

MOST_RUNS = 50
"""Of a pack of more runs, the others are told of in one line each."""

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
    whole, definitions = Whole(), Definitions(c)
    for scan in facts.runs:
        story = _story(c, scan, facts, definitions)
        whole.take(scan, story)
    yield from bypass_lines(whole.bypasses, whole.bypasses_seen)
    if len(facts.runs) == 1:
        yield from run_lines(scan, story, depth=2)
    else:
        yield from _register(whole, len(facts.runs))
        for scan in facts.runs[:MOST_RUNS]:
            yield from section(2, f"Run {quoted(scan.run_id)}")
            yield from run_lines(scan, _story(c, scan, facts, definitions), depth=3)
    yield from tail_lines(facts, whole.policies, whole.places)


def _story(c: Connection, scan: RunScan, facts: ReportFacts, definitions: Definitions) -> RunStory:
    told = told_events(c, scan.stream, len(scan.positions))
    story = tell(told, facts.payloads.absent, definitions.steps(scan.definition_hash))
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


def _register(whole: Whole, count: int) -> Iterator[str]:
    yield from section(2, f"The {count:,} runs")
    yield from table(
        ("run", "workflow", "started by", "started (UTC)", "outcome", "steps", "bypasses",
         "refusals"),
        whole.rows,
    )  # fmt: skip
    if count > len(whole.rows):
        left_out = count - len(whole.rows)
        told = counted(left_out, "further run is", "further runs are")
        yield f"{told} in the pack and not listed here."
        yield ""
    if count > MOST_RUNS:
        yield f"The first {MOST_RUNS} are told of below."
        yield ""
