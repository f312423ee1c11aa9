"""What must hold after every fault, whatever it was."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.faults.outside import Outside
from tests.faults.workload import NOT_IDEMPOTENT
from tests.stores import execute

from federation_core.errors import OperatorError
from federation_core.evidence.audit import audit
from federation_core.ledger.database import Target, open_database
from federation_core.ledger.maintenance import rebuild

__all__ = ["Acknowledged", "Findings", "Rows", "examine", "rows_of", "shown"]

_REST_S = 30.0
_FINAL = frozenset({"completed", "failed", "cancelled"})


class Acknowledged(NamedTuple):
    """An event that a client was shown."""

    stream: str
    seq: int
    hash: str


def shown(body: Any) -> Iterator[Acknowledged]:
    """The events that an answer shows: log entries, wherever in it they stand."""
    if isinstance(body, dict):
        if {"log_id", "seq", "hash", "run_id"} <= body.keys():
            yield Acknowledged(f"run:{body['run_id']}", body["seq"], body["hash"])
        else:
            for value in body.values():
                yield from shown(value)
    elif isinstance(body, list):
        for value in body:
            yield from shown(value)


class Findings(NamedTuple):
    """What was looked at, and what was wrong with it: sentences."""

    events: int
    runs: int
    lost: list[str]
    doubled: list[str]
    wrong: list[str]

    @property
    def errors(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.wrong]


class Rows(NamedTuple):
    """What stands in a ledger at rest."""

    hashes: dict[tuple[str, int], str]
    runs: list[dict[str, Any]]
    waiting: set[str]


def rows_of(target: Target) -> Rows:
    """Read past the product: the events by stream and number, the runs, and those of them that
    have an open gate."""
    waiting = "SELECT run_id FROM gates WHERE status = 'pending'"
    return Rows(
        {(s, n): h for s, n, h in execute(target, "SELECT stream, seq, hash FROM events")},
        [json.loads(doc) for (doc,) in execute(target, "SELECT doc FROM runs")],
        {r for (r,) in execute(target, waiting)},
    )


def examine(target: Target, outside: Outside, acknowledged: Iterable[Acknowledged]) -> Findings:
    """The ledger at rest in the database `target`: whether it holds all that was
    acknowledged, verifies, and is what its events say; whether each run has ended or waits
    honestly; whether any effect was doubled."""
    wrong: list[str] = []
    _rest(target)
    report = audit(target)
    differences = rebuild(target).differences
    rows = rows_of(target)
    if report.error is not None or differences or report.events != len(rows.hashes):
        wrong.append(f"the ledger does not verify: {report} {differences}")
    lost = [
        f"acknowledged, and not there: {a}"
        for a in sorted(set(acknowledged))
        if rows.hashes.get((a.stream, a.seq)) != a.hash
    ]
    doubled: list[str] = []
    for run in rows.runs:
        at_rest = run["status"] in _FINAL or run["run_id"] in rows.waiting
        if not at_rest and run["execution"] != "external":
            wrong.append(f"a run neither ended nor waits: {run}")
        effects = outside.of(run["run_id"])
        doubled += _doubled(effects)
        wanted = _WANTED.get(run["workflow_id"]) if run["status"] == "completed" else None
        if wanted is not None and {step for step, _ in effects} != wanted:
            wrong.append(f"a completed run has other effects than it should: {run} {effects}")
    return Findings(len(rows.hashes), len(rows.runs), lost, doubled, wrong)


def _rest(target: Target) -> None:
    """Return when no lease runs any more: that of a node that was killed outlives it."""
    database = open_database(target)
    try:
        end = time.monotonic() + _REST_S
        while True:
            try:
                with database.alone():
                    return
            except OperatorError:
                assert time.monotonic() < end, "a node is still there"
                time.sleep(0.02)
    finally:
        database.close()


def _doubled(effects: Counter[tuple[str, str]]) -> Iterator[str]:
    for step in {step for step, _ in effects}:
        keys = {key: count for (name, key), count in effects.items() if name == step}
        if len(keys) != 1:
            yield f"{step} had its effect under several keys: {keys}"
        elif step in NOT_IDEMPOTENT and sum(keys.values()) != 1:
            yield f"{step} had its effect more than once: {keys}"


_WANTED = {
    "work": {"again", "busy", "act"},
    "short": {"once"},
    "fan": {"each[0]", "each[1]"},
}
"""The effects of a run that was completed, by its workflow."""
