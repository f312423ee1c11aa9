"""Every check holds on the truth, and every one can fail."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from federation_core.proofs.checks import CHECKS, check_transcript
from federation_core.proofs.checks.pack import PACK
from federation_core.proofs.forging import FORGERIES
from federation_core.proofs.pack_forging import PACK_FORGERIES
from federation_core.proofs.packing import Pack, Said
from federation_core.proofs.scenarios import CASES
from federation_core.proofs.transcript import Attack, Finding, Json, Sighting, Transcript

Honest = dict[str, Transcript]
EXPECTED = {case.letter: case.expected for case in CASES}


def failing(t: Transcript) -> dict[str, Finding]:
    return {f.check: f for f in check_transcript(t, EXPECTED[t.test]) if not f.held}


def replaced(t: Transcript, **fields: Any) -> Transcript:
    return msgspec.structs.replace(t, **fields)


@pytest.mark.parametrize("letter", "ABC")
def test_the_truth_passes_every_check(honest: Honest, letter: str) -> None:
    found = check_transcript(honest[letter], EXPECTED[letter])
    assert [(f.check, f.problems) for f in found if not f.held or f.skipped] == []
    assert {f.check for f in found} == {c.name for c in CHECKS}


def test_without_a_pack_what_follows_from_it_is_skipped_and_nothing_else(honest: Honest) -> None:
    bare = replaced(honest["A"], log=None, bodies=None, pack=None)
    found = check_transcript(bare, EXPECTED["A"])
    skipped = [f.check for f in found if f.skipped]
    assert skipped == ["event-hashes", *(check.name for check in PACK)]
    assert all(f.held for f in found)


Lie = Callable[[Transcript], Transcript]


def entry(kind: str, change: Callable[[Json], object], which: int = 0) -> Lie:
    """Change the entry of this type, wherever it is told."""

    def lie(t: Transcript) -> Transcript:
        logs = deepcopy(t.logs)
        change([e for e in logs if e["event_type"] == kind][which])
        return replaced(t, logs=logs, live=deepcopy(logs), bodies=None)

    return lie


def details(kind: str, which: int = 0, **values: Any) -> Lie:
    return entry(kind, lambda e: e["details"].update(values), which)


def receipt(kind: str, which: int = 0, **values: Any) -> Lie:
    return entry(kind, lambda e: e["details"]["receipt"].update(values), which)


def trail(change: Callable[[list[Json]], object]) -> Lie:
    """Change the list of entries, wherever it is told."""

    def lie(t: Transcript) -> Transcript:
        logs = deepcopy(t.logs)
        change(logs)
        return replaced(t, logs=logs, live=deepcopy(logs), bodies=None)

    return lie


def field(name: str, change: Callable[[Any], object]) -> Lie:
    """Change another part of the transcript in place."""

    def lie(t: Transcript) -> Transcript:
        value = deepcopy(getattr(t, name))
        change(value)
        return replaced(t, **{name: value})

    return lie


def refused_attack(status: int, code: str, wanted: tuple[int, str]) -> Attack:
    return Attack("A", "something", wanted, status, code, "said")


def position(logs: list[Json], kind: str, **wanted: Any) -> int:
    return next(
        i
        for i, e in enumerate(logs)
        if e["event_type"] == kind and all(e["details"].get(k) == v for k, v in wanted.items())
    )


def without(kind: str, **wanted: Any) -> Lie:
    return trail(lambda logs: logs.pop(position(logs, kind, **wanted)))


def moved(to: int, kind: str, **wanted: Any) -> Lie:
    """The first such entry, to where the entry `to` stands, and all numbered anew."""

    def change(logs: list[Json]) -> None:
        logs.insert(to, logs.pop(position(logs, kind, **wanted)))
        for i, e in enumerate(logs):
            e["seq"] = i

    return trail(change)


def pack(change: Callable[[Pack], Pack]) -> Lie:
    """Change the evidence pack."""

    def lie(t: Transcript) -> Transcript:
        assert t.pack is not None
        return replaced(t, pack=change(t.pack))

    return lie


def pack_with(**fields: Any) -> Lie:
    return pack(lambda p: msgspec.structs.replace(p, **fields))


def pack_file(path: str, content: bytes | None) -> Lie:
    """One of its files is another; None takes it out."""

    def change(p: Pack) -> Pack:
        files = {name: data for name, data in p.files.items() if name != path}
        more = {} if content is None else {path: content}
        return msgspec.structs.replace(p, files=files | more)

    return pack(change)


def pack_verdict(**members: Any) -> Lie:
    return pack(lambda p: msgspec.structs.replace(p, verdict=(p.verdict or {}) | members))


def other_events(p: Pack) -> Pack:
    """The same events without the last."""
    lines = b"".join(line + b"\n" for line in p.events[:-1])
    return msgspec.structs.replace(p, files=p.files | {p.event_file: lines})


LIES: list[tuple[str, str, str, Lie]] = [
    # chain
    ("A", "chain", "an entry removed", without("FC-POLICY-001", action="step.act")),
    ("A", "chain", "the first entry removed", trail(lambda logs: logs.pop(0))),
    ("A", "chain", "an entry told twice", trail(lambda logs: logs.insert(3, deepcopy(logs[2])))),
    ("A", "chain", "two entries exchanged", trail(lambda logs: logs.insert(3, logs.pop(5)))),
    ("A", "chain", "no entry at all", trail(lambda logs: logs.clear())),
    ("A", "chain", "another run's entry", entry("FC-STEP-001", lambda e: e.update(run_id="x"))),
    ("A", "chain", "a link changed", entry("FC-STEP-001", lambda e: e.update(prev_hash="0" * 64))),
    ("A", "chain", "a hash changed", entry("FC-STEP-001", lambda e: e.update(hash="0" * 64))),
    (
        "A",
        "chain",
        "a time that steps back",
        entry("FC-RUN-003", lambda e: e.update(timestamp="2000-01-01T00:00:00.000000Z")),
    ),
    # event-hashes
    ("A", "event-hashes", "a reason changed", details("FC-POLICY-001", reason="fine")),
    (
        "A",
        "event-hashes",
        "an actor changed",
        entry("FC-RUN-001", lambda e: e.update(actor_id="x")),
    ),
    ("A", "event-hashes", "a tier as a fraction", details("FC-POLICY-001", duration_us=0.5)),
    ("A", "event-hashes", "another log", lambda t: replaced(t, log="other", bodies=None)),
    (
        "A",
        "event-hashes",
        "a stored byte changed",
        field("bodies", lambda b: b.append(b.pop() + b" ")),
    ),
    ("A", "event-hashes", "a stored event missing", field("bodies", lambda b: b.pop())),
    # shown-is-hashed
    (
        "C",
        "shown-is-hashed",
        "a deny shown as allow",
        entry("FC-POLICY-001", lambda e: e.update(decision="allow"), -1),
    ),
    (
        "A",
        "shown-is-hashed",
        "another status shown",
        entry("FC-RUN-003", lambda e: e.update(new_status="failed")),
    ),
    (
        "A",
        "shown-is-hashed",
        "other evidence shown",
        entry("FC-STEP-002", lambda e: e.update(evidence_hash="0" * 64)),
    ),
    # live-is-trail
    ("A", "live-is-trail", "the stream told less", field("live", lambda live: live.pop())),
    (
        "A",
        "live-is-trail",
        "the stream told otherwise",
        field("live", lambda live: live[4].update(message="x")),
    ),
    # receipts
    ("A", "receipt-chain", "a receipt changed", receipt("FC-STEP-002", status="failed")),
    (
        "A",
        "receipt-chain",
        "a receipt's hash changed",
        details("FC-STEP-002", receipt_hash="0" * 64),
    ),
    (
        "A",
        "receipt-chain",
        "a link of receipts changed",
        receipt("FC-STEP-002", 1, prev_receipt_hash="0" * 64),
    ),
    (
        "A",
        "receipt-chain",
        "the run's chain shortened",
        field("run", lambda r: r["receipt_chain"].pop()),
    ),
    ("A", "receipt-facts", "another output", receipt("FC-STEP-002", output_hash="0" * 64)),
    (
        "A",
        "receipt-facts",
        "an earlier start",
        receipt("FC-STEP-002", started_at="2000-01-01T00:00:00.000000Z"),
    ),
    ("A", "receipt-facts", "a member more", receipt("FC-STEP-002", note="x")),
    ("A", "receipt-facts", "of a step never started", without("FC-STEP-001", step_id="decide")),
    (
        "B",
        "receipt-facts",
        "a gate answered by another",
        receipt("FC-GATE-002", actor_id="proof-operator"),
    ),
    ("B", "receipt-facts", "a rejection", receipt("FC-GATE-002", decision="rejected")),
    (
        "A",
        "workflow-receipt",
        "told otherwise when it ended",
        field("run", lambda r: r.update(workflow_receipt_hash="0" * 64)),
    ),
    (
        "A",
        "workflow-receipt",
        "logged otherwise",
        details("FC-RUN-003", workflow_receipt_hash="0" * 64),
    ),
    ("A", "workflow-receipt", "an event less", without("FC-POLICY-001", action="step.act")),
    ("A", "workflow-receipt", "no end", without("FC-RUN-003")),
    ("A", "workflow-receipt", "another policy", details("FC-POLICY-001", policy_hash="0" * 64)),
    (
        "A",
        "payload-hashes",
        "another input",
        field("run", lambda r: r["input_payload"].update(machines=4)),
    ),
    (
        "A",
        "payload-hashes",
        "another output",
        field("run", lambda r: r["output_payload"].update(machines=4)),
    ),
    (
        "A",
        "payload-hashes",
        "another receipt",
        field("steps", lambda s: s[0].update(receipt_hash="0" * 64)),
    ),
    # law
    ("A", "statuses-lawful", "from nowhere", details("FC-RUN-002", previous_status="paused")),
    ("A", "statuses-lawful", "no such transition", details("FC-RUN-002", new_status="completed")),
    ("C", "statuses-lawful", "out of failure", moved(6, "FC-RUN-003")),
    (
        "A",
        "statuses-lawful",
        "the run says otherwise",
        field("run", lambda r: r.update(status="failed")),
    ),
    (
        "A",
        "statuses-lawful",
        "work after the end",
        trail(lambda logs: logs.append(deepcopy(logs[5]))),
    ),
    ("A", "decision-first", "no decision", without("FC-POLICY-001", action="step.act")),
    (
        "A",
        "decision-first",
        "a denied step started",
        entry("FC-POLICY-001", lambda e: e["details"].update(decision="deny"), 3),
    ),
    (
        "A",
        "decision-first",
        "a decision about another input",
        details("FC-POLICY-001", 2, subject_hash="0" * 64),
    ),
    (
        "A",
        "decision-first",
        "a decision about another attempt",
        details("FC-POLICY-001", 2, attempt=2),
    ),
    (
        "A",
        "decision-first",
        "a decision about another step",
        details("FC-POLICY-001", 2, step_id="act"),
    ),
    (
        "A",
        "decision-first",
        "a decision that came later",
        moved(6, "FC-POLICY-001", action="step.observe"),
    ),
    (
        "A",
        "decision-first",
        "another idempotency key",
        details("FC-STEP-001", idempotency_key="mine"),
    ),
    (
        "A",
        "decision-first",
        "one decision for two starts",
        trail(lambda logs: logs.append(deepcopy(logs[position(logs, "FC-STEP-001")]))),
    ),
    ("B", "people-first", "no approval", without("FC-GATE-002")),
    ("B", "people-first", "no gate", without("FC-GATE-001")),
    (
        "B",
        "people-first",
        "a flag forgotten",
        entry("FC-POLICY-001", lambda e: [e["details"].pop(k) for k in ("flags", "covered_by")], 6),
    ),
    (
        "B",
        "people-first",
        "approved by the starter",
        entry("FC-GATE-002", lambda e: e.update(actor_id="proof-operator")),
    ),
    (
        "B",
        "people-first",
        "approved by a stranger",
        entry("FC-GATE-002", lambda e: e.update(actor_id="proof-stranger")),
    ),
    (
        "B",
        "people-first",
        "a rejection",
        details("FC-GATE-002", decision="rejected", gate_status="rejected"),
    ),
    ("B", "people-first", "a gate about another rule", details("FC-GATE-001", covers=["other"])),
    (
        "B",
        "people-first",
        "a gate about another input",
        details("FC-GATE-001", subject_hash="0" * 64),
    ),
    (
        "B",
        "people-first",
        "a gate that asks for anybody",
        details("FC-GATE-001", required_approvers=[]),
    ),
    ("B", "people-first", "a gate that asks for two", details("FC-GATE-001", quorum=2)),
    ("C", "deny-is-final", "work after the deny", moved(13, "FC-STEP-001")),
    ("C", "deny-is-final", "completed all the same", details("FC-RUN-003", new_status="completed")),
    # story
    ("B", "statuses-seen", "never paused", field("sightings", lambda s: s.pop(2))),
    (
        "A",
        "statuses-seen",
        "failed",
        field("sightings", lambda s: s.append(Sighting("failed", "", ""))),
    ),
    ("A", "steps-ended", "a step skipped", field("steps", lambda s: s[3].update(status="skipped"))),
    ("A", "steps-ended", "a step missing", field("steps", lambda s: s.pop())),
    (
        "A",
        "steps-ended",
        "a step more",
        field("steps", lambda s: s.append(s[0] | {"step_id": "x"})),
    ),
    ("A", "steps-ended", "a step not logged", without("FC-STEP-002", step_id="act")),
    (
        "C",
        "decisions",
        "no deny",
        entry("FC-POLICY-001", lambda e: e["details"].update(decision="allow"), -1),
    ),
    ("B", "decisions", "no flag", details("FC-POLICY-001", 4, decision="allow")),
    ("A", "decisions", "a deny", details("FC-POLICY-001", 4, decision="deny")),
    ("A", "material", "another bundle", details("FC-POLICY-001", policy_hash="0" * 64)),
    ("A", "material", "another workflow", details("FC-RUN-001", definition_hash="0" * 64)),
    ("A", "material", "the client executes", details("FC-RUN-001", execution="external")),
    ("B", "gates", "no gate", without("FC-GATE-001")),
    ("B", "gates", "the client's own gate", entry("FC-GATE-001", lambda e: e.update(via=None))),
    ("B", "gates", "approved by another", field("gates", lambda g: g[0].update(approved_by="x"))),
    ("A", "gates", "a gate that nobody needed", field("gates", lambda g: g.append({}))),
    ("A", "effect", "no effect", field("effects", lambda e: e.pop())),
    ("A", "effect", "the effect twice", field("effects", lambda e: e.append(e[0]))),
    ("A", "effect", "another key", field("effects", lambda e: e[0].update(idempotency_key="x"))),
    ("B", "effect", "the effect before approval", lambda t: replaced(t, effects_at_pause=1)),
    (
        "C",
        "effect",
        "an effect though denied",
        field("effects", lambda e: e.append({"idempotency_key": "x"})),
    ),
    (
        "A",
        "attacks",
        "one accepted",
        lambda t: replaced(t, attacks=[refused_attack(200, "accepted", (409, "x"))]),
    ),
    (
        "A",
        "attacks",
        "one refused for another reason",
        lambda t: replaced(t, attacks=[refused_attack(409, "y", (409, "x"))]),
    ),
    (
        "A",
        "attacks",
        "one that is not on record",
        lambda t: replaced(t, attacks=[refused_attack(403, "x", (403, "x"))]),
    ),
    # pack-*
    ("A", "pack-valid", "the verifier was not asked", pack_with(said=None, verdict=None)),
    ("A", "pack-valid", "it ended otherwise", pack_with(said=Said([], 1, "VALID\n"))),
    ("A", "pack-valid", "it said otherwise", pack_with(said=Said([], 0, "INVALID\n"))),
    ("A", "pack-valid", "another verdict", pack_verdict(verdict="VALID_WITH_REDACTIONS")),
    ("A", "pack-valid", "a verdict on another run", pack_verdict(run_ids=["x"])),
    ("A", "pack-valid", "a verdict on another log", pack_verdict(log="x")),
    ("A", "pack-valid", "a verdict on another root", pack_verdict(checkpoint={"size": 1})),
    ("A", "pack-verifier", "another verifier", pack_file("verify.py", b"print('VALID')\n")),
    ("A", "pack-verifier", "no verifier", pack_file("verify.py", None)),
    ("A", "pack-hash", "another manifest", pack_file("manifest.json", b"{}")),
    ("A", "pack-hash", "the server told none", pack_with(told=None)),
    ("A", "pack-is-trail", "an event missing", pack(other_events)),
    ("A", "pack-is-trail", "an entry changed", details("FC-POLICY-001", reason="fine")),
    ("A", "pack-is-trail", "another ledger", field("bodies", lambda b: b.append(b.pop() + b" "))),
    (
        "A",
        "pack-is-trail",
        "another receipt",
        pack_file("receipt.dsse.json", b'{"payload":"e30="}'),
    ),
    ("A", "pack-is-trail", "no receipt", pack_file("receipt.dsse.json", None)),
]


@pytest.mark.parametrize(
    ("letter", "check", "lie"),
    [pytest.param(a, b, lie, id=f"{b}: {what}") for a, b, what, lie in LIES],
)
def test_a_lie_is_found_out(honest: Honest, letter: str, check: str, lie: Lie) -> None:
    found = failing(lie(honest[letter]))
    assert check in found, f"only {sorted(found)} object"
    assert all(problem.strip() for problem in found[check].problems)


def test_every_check_has_been_seen_to_fail() -> None:
    assert {check for _, check, _, _ in LIES} == {check.name for check in CHECKS}


def test_every_check_and_forgery_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text("utf-8")
    for check in CHECKS:
        assert f"| `{check.name}` | {check.claim} |" in page
    told = " ".join(page.split())
    for forgery in FORGERIES:
        assert forgery.what in told
    for _, code in {f.wanted for f in PACK_FORGERIES}:
        assert code is None or f"`{code}`" in told


def test_the_truth_is_left_alone(honest: Honest) -> None:
    before = deepcopy(honest["B"])
    for letter, _, _, lie in LIES:
        if letter == "B":
            lie(honest["B"])
    assert honest["B"] == before


@pytest.mark.parametrize("name", ["logs", "live", "gates", "steps", "effects"])
def test_what_is_no_transcript_is_refused_and_not_raised(honest: Honest, name: str) -> None:
    assert failing(replaced(honest["A"], **{name: [{}], "bodies": None}))
