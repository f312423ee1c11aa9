"""Forgeries of transcripts: what somebody would change who wants another story to be believed.

Each takes a true transcript and returns one that lies. Audit trail and event stream are changed
alike, and the ledger's own bytes are left out: the checks have to find the lie in the story itself.
"""

import json
from collections.abc import Callable
from copy import deepcopy

import msgspec

from .checks.receipts import workflow_receipt
from .hashing import ZERO, digest, leaf_hash
from .transcript import Json, Transcript, event_bytes

__all__ = [
    "FORGERIES",
    "Forgery",
    "approved_by_starter",
    "decision_removed",
    "denied_to_allowed",
    "resealed",
    "started_by",
]


class Forgery(msgspec.Struct, frozen=True):
    """`test` is the letter of the case whose transcript it is made of."""

    test: str
    what: str
    make: Callable[[Transcript], Transcript]


def _with_logs(t: Transcript, logs: list[Json]) -> Transcript:
    return msgspec.structs.replace(t, logs=logs, live=deepcopy(logs), bodies=None, pack=None)


def denied_to_allowed(t: Transcript) -> Transcript:
    """What policy denied is told as allowed; no hash is made anew, here and in the next ones."""
    logs = deepcopy(t.logs)
    for entry in logs:
        if entry["decision"] == "deny":
            entry["decision"] = entry["details"]["decision"] = "allow"
    return _with_logs(t, logs)


def decision_removed(t: Transcript) -> Transcript:
    logs = deepcopy(t.logs)
    asked = [e for e in logs if e["details"].get("action") == "step.act"]
    return _with_logs(t, [e for e in logs if e not in asked])


def _exchanged(t: Transcript) -> Transcript:
    logs = deepcopy(t.logs)
    middle = len(logs) // 2
    logs[middle - 1], logs[middle] = logs[middle], logs[middle - 1]
    return _with_logs(t, logs)


def approved_by_starter(t: Transcript) -> Transcript:
    logs = deepcopy(t.logs)
    for entry in logs:
        if entry["event_type"] == "FC-GATE-002":
            entry["actor_id"] = entry["details"]["receipt"]["actor_id"] = logs[0]["actor_id"]
    return _with_logs(t, logs)


def started_by(t: Transcript, name: str) -> Transcript:
    """Somebody else is told to have started the run, and to be whom the server worked for."""
    logs = deepcopy(t.logs)
    starter = logs[0]["actor_id"]
    for entry in logs:
        if entry["actor_id"] == starter:
            entry["actor_id"] = name
    return _with_logs(t, logs)


def _harmless(t: Transcript) -> Transcript:
    """The flag becomes one of the lowest tier, and every hash from there on is made anew, receipts
    included: what an operator could do who holds the whole database."""
    logs = deepcopy(t.logs)
    for entry in logs:
        if entry["decision"] == "flag":
            entry["details"]["tier"] = "0"
    return resealed(_with_logs(t, logs))


def resealed(t: Transcript) -> Transcript:
    """The same log entries with every number, hash, link and receipt in them made to fit."""
    renamed: dict[str, str] = {}
    logs: list[Json] = []
    before = ZERO
    for old in t.logs:
        text = json.dumps(old)
        for known, new in renamed.items():
            text = text.replace(known, new)
        entry = json.loads(text)
        details = entry["details"]
        if "receipt" in details:
            details["receipt_hash"] = digest(details["receipt"])
            renamed[old["details"]["receipt_hash"]] = details["receipt_hash"]
        if "workflow_receipt_hash" in details:
            so_far = msgspec.structs.replace(t, logs=[*logs, entry])
            details["workflow_receipt_hash"] = digest(workflow_receipt(so_far))
        entry["seq"], entry["prev_hash"] = len(logs), before
        body = event_bytes(entry, tenant=str(t.run["tenant_id"]), log=t.log or "")
        before = entry["hash"] = leaf_hash(body)
        entry["evidence_hash"] = (
            details.get("receipt_hash") or details.get("workflow_receipt_hash") or entry["hash"]
        )
        renamed[old["hash"]] = entry["hash"]
        logs.append(entry)
    return _with_logs(t, logs)


FORGERIES = (
    Forgery("C", "the deny of ACT changed into an allow", denied_to_allowed),
    Forgery("A", "the decision about ACT removed from the audit trail", decision_removed),
    Forgery("A", "two entries of the audit trail exchanged", _exchanged),
    Forgery("B", "the approval put into the name of the run's starter", approved_by_starter),
    Forgery("B", "the flag made harmless, and every hash after it made anew", _harmless),
)
