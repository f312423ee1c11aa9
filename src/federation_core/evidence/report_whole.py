"""What a report says of all its runs together, gathered while they are read one after the other."""

import msgspec

from .markdown import quoted
from .report_run import overview
from .retelling import by, moment
from .scan import RunScan
from .story import MOST_GATES, BypassStory, PolicyUse, RunStory

__all__ = ["Whole"]

MOST_LINES = 1_000
"""Of a pack of more runs, the others are not listed."""


class Whole(msgspec.Struct):
    """`rows` is the list of runs; `places` says of payloads that are not there where they are
    named. Of the bypasses, each with its run, there were `bypasses_seen`."""

    policies: dict[str, PolicyUse] = {}
    places: dict[str, str] = {}
    bypasses: list[tuple[str, BypassStory]] = []
    bypasses_seen: int = 0
    rows: list[tuple[object, ...]] = []

    def take(self, scan: RunScan, story: RunStory) -> None:
        for digest, use in story.policies.items():
            known = self.policies.setdefault(digest, PolicyUse(use.policy_id))
            known.tiers |= use.tiers
            known.decided += use.decided
            known.tightened += use.tightened
        for digest, place in story.places.items():
            self.places.setdefault(digest, place)
        room = MOST_GATES - len(self.bypasses)
        self.bypasses += ((scan.run_id, bypass) for bypass in story.bypasses[:room])
        self.bypasses_seen += story.bypasses_seen
        if len(self.rows) < MOST_LINES:
            self.rows.append(_row(scan, story))


def _row(scan: RunScan, story: RunStory) -> tuple[object, ...]:
    born = story.born
    assert born is not None
    steps = f"{story.steps_seen:,}"
    if story.unreached:
        steps += f" of {sum(story.by_status.values()):,}"
    return (
        quoted(scan.run_id),
        overview(story)["workflow"],
        by(born.actor, born.via),
        moment(born.at),
        story.status,
        steps,
        f"**{story.bypasses_seen:,}**" if story.bypasses_seen else "0",
        f"{story.refusals_seen:,}",
    )
