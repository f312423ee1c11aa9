"""What the harness has in its hands when a test is over, and what it expects to find in it."""

from typing import Any

import msgspec

from .hashing import canonical
from .packing import Pack

__all__ = [
    "Attack",
    "Case",
    "Expected",
    "Finding",
    "Json",
    "Sighting",
    "Transcript",
    "event_bytes",
]

Json = dict[str, Any]


class Sighting(msgspec.Struct, frozen=True):
    """A status of the run, when the harness saw it (RFC 3339) and where."""

    status: str
    at: str
    where: str


class Attack(msgspec.Struct, frozen=True):
    """Something that must be refused over HTTP, and the answer: `status` is HTTP's, `code` the
    problem's."""

    test: str
    what: str
    wanted: tuple[int, str]
    status: int
    code: str
    detail: str

    @property
    def is_refused(self) -> bool:
        return (self.status, self.code) == self.wanted


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it was seen from outside. Runs, log entries, gates and steps are the contract's
    shapes as they came over HTTP; of `effects` there is one for each request that the effect
    service took for this run.

    `pack` is the run's evidence pack, None where there is none.

    `live` are the log entries as the event stream told them, `logs` as they were read afterwards.
    `effects_at_pause` is how many effects there were just before people approved, None where
    nobody was asked. `log` is the name of the ledger's log and `bodies` the stored bytes of the
    run's events, both None where the harness cannot know them. `policy` (id, hash) and
    `definition_hash` are of the bundle and the workflow that the harness gave to the server.
    """

    test: str
    run: Json
    logs: list[Json]
    live: list[Json]
    gates: list[Json]
    steps: list[Json]
    sightings: list[Sighting]
    effects: list[Json]
    policy: tuple[str, str]
    definition_hash: str
    effects_at_pause: int | None = None
    attacks: list[Attack] = []
    log: str | None = None
    bodies: list[bytes] | None = None
    pack: Pack | None = None

    @property
    def run_id(self) -> str:
        return str(self.run["run_id"])

    def of_type(self, *types: str) -> list[Json]:
        return [entry for entry in self.logs if entry["event_type"] in types]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a test has to show. `steps` is step id → (type, status at the end); `denied` the step
    that policy denies; `approver` who lets the run through its one gate."""

    statuses: tuple[str, ...]
    steps: dict[str, tuple[str, str]]
    effects: int
    flagged: str | None = None
    approver: str | None = None
    denied: str | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One test of the campaign: A, B or C."""

    letter: str
    name: str
    title: str
    machines: int
    expected: Expected


class Finding(msgspec.Struct, frozen=True):
    """What a check found: `problems` is empty where it held. `test` is the letter of the case, or
    empty where it is about all of them."""

    test: str
    check: str
    claim: str
    problems: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def held(self) -> bool:
        return not self.problems


def event_bytes(entry: Json, *, tenant: str, log: str) -> bytes:
    """The stored bytes of the event that a log entry shows."""
    return canonical(
        {
            "actor": entry["actor_id"],
            "at": entry["timestamp"],
            "data": entry["details"],
            "log": log,
            "prev": entry["prev_hash"],
            "seq": entry["seq"],
            "stream": f"run:{entry['run_id']}",
            "tenant": tenant,
            "type": entry["event_type"],
            "v": 1,
            "via": entry["via"],
        }
    )
