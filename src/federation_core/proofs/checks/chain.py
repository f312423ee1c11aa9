"""The bytes: entries are whole, in order, linked, and what the ledger stores."""

from collections.abc import Iterator
from itertools import pairwise

from ..hashing import ZERO, leaf_hash
from ..transcript import Expected, Json, Transcript, event_bytes
from .base import Check

__all__ = ["CHAIN"]

_HASHED_BESIDE = {
    "FC-RUN-002": ("previous_status", "new_status"),
    "FC-RUN-003": ("previous_status", "new_status"),
    "FC-POLICY-001": ("decision", "step_id"),
    "FC-GATE-002": ("decision", "step_id"),
    "FC-GATE-003": ("decision", "step_id"),
}
_RECEIPTS = ("receipt_hash", "workflow_receipt_hash")


def _linked(t: Transcript, _: Expected) -> Iterator[str]:
    if not t.logs:
        yield "the audit trail is empty"
    before = ZERO
    for i, entry in enumerate(t.logs):
        if entry["seq"] != i:
            yield f"entry {i} has the number {entry['seq']}: one was removed, added or moved"
        if entry["prev_hash"] != before:
            yield f"entry {i} ({entry['event_type']}) does not link to the one before it"
        if entry["run_id"] != t.run_id:
            yield f"entry {i} is of another run"
        before = entry["hash"]
    for first, second in pairwise(t.logs):
        if second["timestamp"] < first["timestamp"]:
            yield f"entry {second['seq']} is older than the one before it"


def _hashed(t: Transcript, _: Expected) -> Iterator[str]:
    bodies = t.bodies
    if bodies is not None and len(bodies) != len(t.logs):
        yield f"the ledger holds {len(bodies)} events, the audit trail {len(t.logs)}"
        bodies = None
    for i, entry in enumerate(t.logs):
        rebuilt = event_bytes(entry, tenant=str(t.run["tenant_id"]), log=t.log or "")
        if leaf_hash(rebuilt) != entry["hash"]:
            yield f"entry {i} ({entry['event_type']}) has another hash than its bytes"
        if bodies is not None and bodies[i] != rebuilt:
            yield f"entry {i} ({entry['event_type']}) is not what the ledger stores"


def _no_log_name(t: Transcript) -> str | None:
    if t.log is not None:
        return None
    return "the name of the server's log, which is part of each event, is not known"


def _told_twice(t: Transcript, _: Expected) -> Iterator[str]:
    if len(t.live) != len(t.logs):
        yield f"the event stream told {len(t.live)} entries, the audit trail has {len(t.logs)}"
    for live, read in zip(t.live, t.logs, strict=False):
        if live != read:
            yield f"entry {read['seq']} was told otherwise by the event stream"


def _shown(t: Transcript, _: Expected) -> Iterator[str]:
    for entry in t.logs:
        details: Json = entry["details"]
        for name in _HASHED_BESIDE.get(entry["event_type"], ()):
            if entry[name] != details.get(name):
                yield f"entry {entry['seq']} shows another {name} than is hashed"
        held = next((details[name] for name in _RECEIPTS if name in details), entry["hash"])
        if entry["evidence_hash"] != held:
            yield f"entry {entry['seq']} shows another evidence_hash than is hashed"


CHAIN = (
    Check("chain", "Entries are numbered without a gap, each links to the hash before", _linked),
    Check(
        "event-hashes",
        "Each entry's bytes, built anew, have its hash and are what the ledger stores",
        _hashed,
        _no_log_name,
    ),
    Check("shown-is-hashed", "What an entry shows beside its hashed details agrees", _shown),
    Check("live-is-trail", "The live event stream and the audit trail tell the same", _told_twice),
)
