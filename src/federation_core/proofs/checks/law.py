"""The life that the entries tell is a lawful one: nothing without a decision, nobody's own
approval, no way out of a deny."""

from collections.abc import Iterator

from ..transcript import Expected, Json, Transcript
from .base import Check

__all__ = ["LAW"]

_LEGAL = {
    None: {"pending"},
    "pending": {"running", "cancelled", "failed"},
    "running": {"running", "paused", "completed", "failed", "cancelled"},
    "paused": {"running", "failed", "cancelled"},
}
_AFTER_THE_END = ("FC-POLICY-001", "FC-AUTH-001")
_ANSWERED = ("FC-GATE-002", "FC-GATE-003")
_FATAL = ("run.create", "run.start", "run.complete")


def _statuses(t: Transcript, _: Expected) -> Iterator[str]:
    status: str | None = None
    for entry in t.logs:
        if status in ("completed", "failed", "cancelled"):
            if entry["event_type"] not in _AFTER_THE_END:
                yield f"entry {entry['seq']} ({entry['event_type']}) comes after the end"
            continue
        if entry["event_type"] == "FC-RUN-001":
            previous, new = None, "pending"
        elif entry["event_type"] in ("FC-RUN-002", "FC-RUN-003"):
            previous, new = entry["details"]["previous_status"], entry["details"]["new_status"]
        else:
            continue
        if previous != status or new not in _LEGAL.get(status, set()):
            yield f"entry {entry['seq']} goes from {previous} to {new} while the run is {status}"
        status = new
    if t.run["status"] != status:
        yield f"the run says it is {t.run['status']}; its log ends with {status}"


def _decided(t: Transcript, _: Expected) -> Iterator[str]:
    by_hash = {e["hash"]: e for e in t.logs}
    used: set[str] = set()
    for start in t.of_type("FC-STEP-001"):
        begun = start["details"]
        where = f"step {begun['step_id']} (entry {start['seq']})"
        decision = by_hash.get(begun["decision_hash"])
        if decision is None or decision["event_type"] != "FC-POLICY-001":
            yield f"{where} started on a decision that is not in the log"
            continue
        said = decision["details"]
        if decision["seq"] >= start["seq"]:
            yield f"{where} started before its decision"
        if said["decision"] != "allow":
            yield f"{where} started on the answer {said['decision']}"
        asked = (said["action"], said.get("step_id"), said.get("attempt"), said.get("subject_hash"))
        action = f"step.{begun['step_type'].lower()}"
        if asked != (action, begun["step_id"], begun["attempt"], begun["input_hash"]):
            yield f"{where} started on a decision about something else"
        if begun["decision_hash"] in used:
            yield f"{where} started on a decision that was used before"
        if begun["idempotency_key"] != f"{t.run_id}:{begun['step_id']}:{begun['attempt']}":
            yield f"{where} has another idempotency key than run:step:attempt"
        used.add(begun["decision_hash"])


def _approved(t: Transcript, _: Expected) -> Iterator[str]:
    flagged: dict[tuple[str, str | None, str | None], Json] = {}
    for entry in t.of_type("FC-POLICY-001"):
        said = entry["details"]
        about = (said["action"], said.get("step_id"), said.get("subject_hash"))
        if said["decision"] == "flag":
            flagged.setdefault(about, entry)
        elif said["decision"] == "allow" and (about in flagged or said.get("flags")):
            asked_at = flagged[about]["seq"] if about in flagged else -1
            yield from _covered(t, entry, asked_at)


def _covered(t: Transcript, allow: Json, flagged_at: int) -> Iterator[str]:
    """Each flag of this allow must have been passed by people."""
    said = allow["details"]
    where = f"entry {allow['seq']} allows {said.get('step_id') or said['action']}"
    if not said.get("flags") or not said.get("covered_by"):
        yield f"{where}, which was flagged, without naming the gate that people passed"
        return
    asked = {e["details"]["gate_id"]: e for e in t.of_type("FC-GATE-001")}
    gates = [asked[gate_id] for gate_id in said["covered_by"] if gate_id in asked]
    about = ("action", "step_id", "subject_hash")
    for flag in said["flags"]:
        fitting = [
            g
            for g in gates
            if flag["rule"] in g["details"].get("covers", [])
            and all(g["details"].get(name) == said.get(name) for name in about)
            and g["details"].get("required_approvers", []) == flag["approvers"]
            and g["details"].get("quorum", 1) == flag["quorum"]
            and flagged_at < g["seq"] < allow["seq"]
        ]
        if not fitting:
            yield f"{where}, but no gate asked about {flag['rule']}"
        for gate in fitting:
            yield from _passed(t, gate, allow["seq"])


def _passed(t: Transcript, gate: Json, before: int) -> Iterator[str]:
    asked = gate["details"]
    born = t.logs[0]
    answers = [
        e
        for e in t.of_type(*_ANSWERED)
        if e["details"]["gate_id"] == asked["gate_id"] and gate["seq"] < e["seq"] < before
    ]
    people = {e["actor_id"] for e in answers if e["details"]["decision"] == "approved"}
    if not answers or answers[-1]["details"]["gate_status"] != "approved":
        yield f"gate {asked['gate_name']} was not approved"
    if len(people) < asked.get("quorum", 1):
        yield f"gate {asked['gate_name']} has {len(people)} approvals; more people must approve"
    for person in people - set(asked.get("required_approvers", [])):
        yield f"{person} approved gate {asked['gate_name']}, which asks for others"
    for person in people & {born["actor_id"], born["via"]}:
        yield f"{person} approved gate {asked['gate_name']} of a run that they started"


def _final(t: Transcript, _: Expected) -> Iterator[str]:
    denied: Json | None = None
    for entry in t.logs:
        kind, details = entry["event_type"], entry["details"]
        if denied is not None and kind in ("FC-STEP-001", "FC-STEP-002", "FC-GATE-001"):
            yield f"entry {entry['seq']} ({kind}) comes after the deny of entry {denied['seq']}"
        if denied is not None and kind == "FC-RUN-003" and details["new_status"] != "failed":
            yield f"the run was {details['new_status']} after the deny of entry {denied['seq']}"
        if kind == "FC-POLICY-001" and details["decision"] == "deny":
            binds = details["action"].startswith("step.") or details["action"] in _FATAL
            denied = denied or (entry if binds else None)


LAW = (
    Check("statuses-lawful", "Every change of status is one the state machine has", _statuses),
    Check(
        "decision-first",
        "Each step started on an allow for exactly this step, attempt and input",
        _decided,
    ),
    Check(
        "people-first",
        "What policy flagged went on only after entitled people, not its starter, approved",
        _approved,
    ),
    Check("deny-is-final", "After a deny nothing started, and the run failed", _final),
)
