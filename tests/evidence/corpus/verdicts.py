"""What the verifier says to the cases of the corpus, and what it should say."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.evidence.corpus import packs, unlawful
from tests.evidence.corpus.calls import CALLS, Call
from tests.evidence.corpus.cases import Case, Json, LifeCase
from tests.evidence.corpus.command import command
from tests.evidence.corpus.fans import fans
from tests.evidence.corpus.kin import kin, kinship
from tests.evidence.pack_forge import canonical, leaf

from federation_core.evidence import verify

__all__ = [
    "EXPECTED",
    "Told",
    "call_groups",
    "expected",
    "life_groups",
    "pack_groups",
    "short",
    "verdict_of",
]

EXPECTED = Path(__file__).with_name("expected.json")

_USUAL: Json = {
    "verdict": "INVALID",
    "exit_status": 1,
    "log": "federation-core/forge",
    "run_ids": ["r1"],
    "tenant": "acme",
    "events": 4,
    "witnesses": [],
    "quorum": 0,
    "payloads": {"present": 2, "erased": 0, "withheld": 0, "missing": 0},
    "decisions": {"allow": 2, "deny": 0, "flag": 0},
    "approvals": 0,
    "bypasses": 0,
    "runs": [{"run_id": "r1", "outcome": "completed", "bypasses": 0}],
}
"""What a verdict of `expected.json` leaves out."""


def short(verdict: Json) -> Json:
    """A verdict without what is as usual."""
    return {k: v for k, v in verdict.items() if k not in _USUAL or v != _USUAL[k]}


@cache
def expected() -> dict[str, dict[str, Any]]:
    """Group → case → what should be said, in short."""
    told: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return told


@cache
def pack_groups() -> dict[str, list[Case]]:
    return {name: list(make()) for name, make in packs.GROUPS.items()}


def verdict_of(case: Case, folder: Path) -> Json:
    """The verdict of a pack, as plain values; an answer to whoever gave the pack a file."""
    file = folder / f"{abs(hash(case.pack)):x}.zip"
    if not file.exists():
        file.write_bytes(case.pack)
    verdict = verify.verify_pack(
        file,
        case.trust,
        run=case.run,
        tenant=case.tenant,
        seen=case.seen,
        consistency=case.consistency,
    )
    told: Json = json.loads(json.dumps(verdict.as_dict()))
    return told


class Told:
    """A life, told event by event, each with its hash; none is made before it is wanted."""

    def __init__(self, case: LifeCase) -> None:
        self.name, self._definition = case.name, case.definition
        self._events: list[tuple[Json, str]] = []
        self._more = iter(case.events)

    def _told(self) -> Iterator[tuple[Json, str]]:
        yield from self._events
        for event in self._more:
            self._events.append((event, leaf(canonical(event))))
            yield self._events[-1]

    def verdict(self) -> str:
        """The first refusal, with the `seq` of its event; or what the life came to."""
        life = verify.Life(self._definition)
        for event, event_hash in self._told():
            try:
                life.see(event, event_hash)
            except verify.Refusal as e:
                return f"{event['seq']} {e.code} {e.message}" + (f" {e.file}" if e.file else "")
        facts = [life.run_id, life.ended, list(life.policies), life.references, life.receipt()]
        facts += [sorted(life.salted), life.said, sorted(life.untightened.items()), life.lists]
        about = leaf(canonical(facts))[:8]
        counts = [*life.decisions.values(), life.approvals, life.bypasses]
        return f"{life.status} {counts} {about}"


@cache
def life_groups() -> dict[str, Sequence[Told]]:
    makers = (
        unlawful.lawful,
        unlawful.stories,
        unlawful.definitions,
        unlawful.orders,
        unlawful.facts,
        kin,
        fans,
    )
    return {f"life: {make.__name__}": [Told(case) for case in make()] for make in makers}


@cache
def call_groups() -> dict[str, list[Call]]:
    makers = CALLS | {make.__name__: make for make in (command, kinship)}
    made = {name: {call[0]: call for call in make()} for name, make in makers.items()}
    return {f"calls: {name}": list(calls.values()) for name, calls in made.items()}
