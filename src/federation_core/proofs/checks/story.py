"""The test showed what it was to show."""

from collections.abc import Iterator

from ..transcript import Expected, Transcript
from .base import Check

__all__ = ["STORY"]

_BY_SERVER = "engine"
"""Through whom the log says that an event came which the server itself made."""


def _seen(t: Transcript, expected: Expected) -> Iterator[str]:
    seen = tuple(s.status for s in t.sightings)
    if seen != expected.statuses:
        yield f"the harness saw {' → '.join(seen)}, expected {' → '.join(expected.statuses)}"
    if t.run["status"] == "failed":
        yield from _reason(t, expected)


def _reason(t: Transcript, expected: Expected) -> Iterator[str]:
    if expected.denied is None:
        error = t.run["error_details"] or {}
        yield f"the run failed: {error.get('message', 'no reason is given')}"


def _steps(t: Transcript, expected: Expected) -> Iterator[str]:
    found = {s["step_id"]: (s["step_type"], s["status"]) for s in t.steps}
    for step_id, wanted in expected.steps.items():
        if found.get(step_id) != wanted:
            yield f"step {step_id} is {found.get(step_id)}, expected {wanted}"
    for step_id in found.keys() - expected.steps.keys():
        yield f"there is a step {step_id} that nobody defined"
    done = [e["details"]["step_id"] for e in t.of_type("FC-STEP-002")]
    wanted_done = [s for s, (_, status) in expected.steps.items() if status == "completed"]
    if done != wanted_done:
        yield f"the log completes {done}, expected {wanted_done}"


def _decisions(t: Transcript, expected: Expected) -> Iterator[str]:
    """Which step was denied, which flagged, and that no other was."""
    for effect, wanted in (("deny", expected.denied), ("flag", expected.flagged)):
        told = [e["details"] for e in t.of_type("FC-POLICY-001")]
        found = [d.get("step_id") or d["action"] for d in told if d["decision"] == effect]
        if found != ([wanted] if wanted else []):
            about = ", ".join(found) or "nothing"
            yield f"policy answered {effect} about {about}, expected {wanted or 'nothing'}"


def _material(t: Transcript, _: Expected) -> Iterator[str]:
    for entry in t.of_type("FC-POLICY-001"):
        said = entry["details"]
        if (said["policy_id"], said["policy_hash"]) != t.policy:
            yield f"entry {entry['seq']} was decided by {said['policy_id']} {said['policy_hash']}"
    born = t.logs[0]["details"]
    if born.get("definition_hash") != t.definition_hash or born["execution"] != "managed":
        yield "the run is not a managed one of the workflow that was given"


def _gates(t: Transcript, expected: Expected) -> Iterator[str]:
    asked = t.of_type("FC-GATE-001")
    if len(asked) != (1 if expected.approver else 0) or len(t.gates) != len(asked):
        yield f"there are {len(asked)} gates in the log and {len(t.gates)} on the run"
        return
    for entry in asked:
        if entry["via"] != _BY_SERVER or entry["details"]["gate_type"] != "policy_check":
            yield f"gate {entry['details']['gate_name']} was not opened by the server for a flag"
    for gate in t.gates:
        if (gate["status"], gate["approved_by"]) != ("approved", expected.approver):
            yield f"gate {gate['gate_name']} is {gate['status']} by {gate['approved_by']}"


def _effects(t: Transcript, expected: Expected) -> Iterator[str]:
    if len(t.effects) != expected.effects:
        yield f"the effect service took {len(t.effects)} requests, expected {expected.effects}"
    if t.effects_at_pause:
        yield "the effect was there before anybody had approved it"
    starts = [e["details"] for e in t.of_type("FC-STEP-001")]
    keys = [d["idempotency_key"] for d in starts if d["step_type"] == "ACT"]
    taken = [effect["idempotency_key"] for effect in t.effects]
    if taken != keys:
        yield f"the effects have the idempotency keys {taken}, the log tells {keys}"


def _attacks(t: Transcript, _: Expected) -> Iterator[str]:
    for attack in t.attacks:
        if not attack.is_refused:
            yield f"{attack.what}: answered {attack.status} {attack.code}, expected {attack.wanted}"
    logged = [e["details"]["refusal_code"] for e in t.of_type("FC-AUTH-001")]
    for attack in t.attacks:
        if attack.wanted[0] == 403:
            if attack.wanted[1] not in logged:
                yield f"{attack.what}: the attempt is not in the log"
            else:
                logged.remove(attack.wanted[1])
    if logged:
        yield f"the log tells of refused attempts that nobody made: {', '.join(logged)}"


STORY = (
    Check("statuses-seen", "The harness saw the expected statuses, in order", _seen),
    Check("steps-ended", "The five steps ended as expected", _steps),
    Check("decisions", "Policy denied and flagged what it should, and nothing else", _decisions),
    Check("material", "Workflow and policy were those that the harness gave", _material),
    Check("gates", "The server asked people exactly where policy flagged", _gates),
    Check("effect", "The effect outside is there if and only if ACT was allowed", _effects),
    Check("attacks", "Every attack was refused, and is on record where it must be", _attacks),
)
