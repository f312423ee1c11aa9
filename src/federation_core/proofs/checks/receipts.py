"""The receipts: made anew from what they tell, linked, and summed up by the workflow receipt."""

from collections.abc import Iterator

from ..hashing import ZERO, digest
from ..transcript import Expected, Json, Transcript
from .base import Check

__all__ = ["RECEIPTED", "RECEIPTS", "receipted", "workflow_receipt"]

_STEP_ENDS = ("FC-STEP-002", "FC-STEP-003")
RECEIPTED = (*_STEP_ENDS, "FC-GATE-002", "FC-GATE-003", "FC-GATE-004", "FC-GATE-005")
"""Events that carry a receipt."""

_STEP = {
    *("attempt", "decision_hash", "ended_at", "input_hash", "output_hash", "prev_receipt_hash"),
    *("run_id", "started_at", "status", "step_id", "step_type", "v"),
}
_GATE = _STEP | {"gate_id", "decision", "actor_id", "via"}


def receipted(t: Transcript) -> list[Json]:
    """The log entries that carry a receipt, in order."""
    return t.of_type(*RECEIPTED)


def workflow_receipt(t: Transcript) -> Json:
    """The receipt of the whole run, from the log entries before its end alone."""
    last = next(i for i, e in enumerate(t.logs) if e["event_type"] == "FC-RUN-003")
    before = t.logs[:last]
    born: Json = before[0]["details"]
    decided = [e["details"] for e in before if e["event_type"] == "FC-POLICY-001"]
    return {
        "definition_hash": born.get("definition_hash"),
        "event_count": len(before),
        "first_event_hash": before[0]["hash"],
        "last_event_hash": before[-1]["hash"],
        "outcome": t.logs[last]["details"]["new_status"],
        "policy_hashes": list(dict.fromkeys(d["policy_hash"] for d in decided)),
        "receipt_chain": [digest(e["details"]["receipt"]) for e in receipted(t)],
        "run_id": born["run_id"],
        "tenant": t.run["tenant_id"],
        "v": 1,
        "workflow_id": born["workflow_id"],
        "workflow_version": born["workflow_version"],
    }


def _chained(t: Transcript, _: Expected) -> Iterator[str]:
    before, chain = ZERO, []
    for entry in receipted(t):
        receipt, told = entry["details"]["receipt"], entry["details"]["receipt_hash"]
        where = f"the receipt of entry {entry['seq']} ({entry['event_type']})"
        if digest(receipt) != told:
            yield f"{where} has another hash than it is told to have"
        if receipt["prev_receipt_hash"] != before:
            yield f"{where} does not link to the one before it"
        chain.append(told)
        before = told
    if t.run["receipt_chain"] != chain:
        yield "the run shows another chain of receipts than its log tells"


def _truthful(t: Transcript, _: Expected) -> Iterator[str]:
    starts = {
        (e["details"]["step_id"], e["details"]["attempt"]): e for e in t.of_type("FC-STEP-001")
    }
    asked = {e["details"]["gate_id"]: e for e in t.of_type("FC-GATE-001")}
    for entry in receipted(t):
        is_step = entry["event_type"].startswith("FC-STEP")
        details, receipt = entry["details"], entry["details"]["receipt"]
        where = f"the receipt of entry {entry['seq']}"
        if set(receipt) != (_STEP if is_step else _GATE):
            yield f"{where} has other members than a receipt has"
        start = starts.get((details["step_id"], receipt["attempt"])) if is_step else None
        if is_step and start is None:
            yield f"{where} is of an attempt that was never started"
            continue
        facts = _step_facts(entry, start) if start else _gate_facts(t, entry, asked)
        for name, value in facts.items():
            if receipt[name] != value:
                yield f"{where} says {name} is {receipt[name]!r}; the log says {value!r}"


def _step_facts(entry: Json, start: Json) -> Json:
    begun, details = start["details"], entry["details"]
    return {
        "attempt": details["attempt"],
        "decision_hash": begun["decision_hash"],
        "ended_at": entry["timestamp"],
        "input_hash": begun["input_hash"],
        "output_hash": details.get("output_hash"),
        "run_id": entry["run_id"],
        "started_at": start["timestamp"],
        "status": "completed" if entry["event_type"] == "FC-STEP-002" else "failed",
        "step_id": begun["step_id"],
        "step_type": begun["step_type"],
        "v": 1,
    }


def _gate_facts(t: Transcript, entry: Json, asked: dict[str, Json]) -> Json:
    details = entry["details"]
    decided = t.logs[entry["seq"] - 1]
    return {
        "actor_id": entry["actor_id"],
        "decision_hash": decided["hash"] if decided["event_type"] == "FC-POLICY-001" else None,
        "ended_at": entry["timestamp"],
        "gate_id": details["gate_id"],
        "input_hash": details.get("input_hash"),
        "run_id": entry["run_id"],
        "started_at": asked[details["gate_id"]]["timestamp"],
        "step_id": details.get("step_id"),
        "v": 1,
        "via": entry["via"],
    } | ({"decision": details["decision"]} if "decision" in details else {})


def _summed_up(t: Transcript, _: Expected) -> Iterator[str]:
    ends = t.of_type("FC-RUN-003")
    if len(ends) != 1:
        yield f"the run has {len(ends)} ends; it must have one"
        return
    made = digest(workflow_receipt(t))
    if made != ends[0]["details"]["workflow_receipt_hash"]:
        yield f"the log tells another workflow receipt hash than the one made anew, {made}"
    if made != t.run["workflow_receipt_hash"]:
        yield f"the run had another workflow receipt hash when it ended than its log makes, {made}"


def _payloads(t: Transcript, _: Expected) -> Iterator[str]:
    born = t.logs[0]["details"]
    for name, value in (("input", t.run["input_payload"]), ("metadata", t.run["metadata"])):
        if digest(value) != born[f"{name}_hash"]:
            yield f"the run's {name} has another hash than the log tells"
    for end in t.of_type("FC-RUN-003"):
        told = end["details"].get("output_hash")
        if told is not None and digest(t.run["output_payload"]) != told:
            yield "the run's output has another hash than the log tells"
    last = {
        e["details"]["step_id"]: e["details"]["receipt_hash"] for e in t.of_type(*RECEIPTED[:2])
    }
    for step in t.steps:
        if step["receipt_hash"] != last.get(step["step_id"]):
            yield f"step {step['step_id']} shows another receipt than the log tells"


RECEIPTS = (
    Check(
        "receipt-chain", "Each receipt has the hash it is told to have, and links back", _chained
    ),
    Check("receipt-facts", "Each receipt says what the log says", _truthful),
    Check(
        "workflow-receipt",
        "The workflow receipt, made anew from the log, has the hash that the run ended with",
        _summed_up,
    ),
    Check("payload-hashes", "Input, output and steps are those whose hashes are logged", _payloads),
)
