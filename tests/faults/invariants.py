"""What must hold after every fault, whatever it was."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.outside import Outside
from tests.faults.workload import NOT_IDEMPOTENT

from federation_core.evidence.audit import audit
from federation_core.ledger.maintenance import rebuild

__all__ = ["Acknowledged", "check", "events_of", "shown"]

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


def events_of(folder: Path) -> dict[tuple[str, int], str]:
    """The hash of each event that the ledger in `folder` holds, by stream and number."""
    with closing(sqlite3.connect(folder / "fedcore.db")) as db:
        return {(s, n): h for s, n, h in db.execute("SELECT stream, seq, hash FROM events")}


def _runs(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "fedcore.db")) as db:
        return [json.loads(doc) for (doc,) in db.execute("SELECT doc FROM runs")]


def _open_gates(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "fedcore.db")) as db:
        query = "SELECT run_id FROM gates WHERE status = 'pending'"
        return {run_id for (run_id,) in db.execute(query)}


def check(folder: Path, outside: Outside, acknowledged: Iterable[Acknowledged]) -> None:
    """The ledger at rest in the data directory `folder` holds all that was acknowledged, verifies,
    is what its events say; each run has ended or waits honestly; no effect was doubled."""
    report = audit(folder / "fedcore.db")
    assert report.error is None, report
    assert rebuild(folder / "fedcore.db").differences == []
    there = events_of(folder)
    assert report.events == len(there)
    lost = [a for a in set(acknowledged) if there.get((a.stream, a.seq)) != a.hash]
    assert not lost, f"acknowledged, and not there: {lost}"
    waiting = _open_gates(folder)
    for run in _runs(folder):
        at_rest = run["status"] in _FINAL or run["run_id"] in waiting
        assert at_rest or run["execution"] == "external", run
        _check_effects(run, outside)


def _check_effects(run: dict[str, Any], outside: Outside) -> None:
    effects = outside.of(run["run_id"])
    steps = {step for step, _ in effects}
    for step in steps:
        keys = {key: count for (name, key), count in effects.items() if name == step}
        assert len(keys) == 1, f"{step} had its effect under several keys: {keys}"
        if step in NOT_IDEMPOTENT:
            assert sum(keys.values()) == 1, f"{step} had its effect more than once: {keys}"
    if run["status"] == "completed" and run["workflow_id"] in _WANTED:
        assert steps == _WANTED[run["workflow_id"]], (run, effects)


_WANTED = {"work": {"again", "busy", "act"}, "short": {"once"}}
"""The effects of a run that was completed, by its workflow."""
