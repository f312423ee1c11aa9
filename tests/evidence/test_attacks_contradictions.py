"""An operator who holds the key contradicts what the pack itself tells elsewhere.

Each link, receipt and signature fits, and each event alone could be: what finds the lie is that the
run's other events, its definition, its bundles or its values say who decided, about what, when, and
why it ended.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    assert_refused,
    assert_valid,
    path_of,
    rotated,
    speak,
    verdict,
    world,
)
from tests.evidence.pack_forge import Forge, Json, Key, canonical, digest, repack, unpack
from tests.evidence.test_attacks_life import OTHER, answers, operator, refused

EVENTS = "events/run:r1.jsonl"


def edited(change: Callable[[list[Json]], object], name: str = "main") -> Attacker:
    def edit(events: list[Json]) -> list[Json]:
        change(events)
        return events

    return operator(name).edit(edit)


# who


def test_a_step_is_allowed_to_another_principal() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="plain")
    refused(a.change(allow, actor="superuser"), "STEP_WITHOUT_ALLOW", allow)


def test_a_clients_step_is_started_by_another_than_was_allowed_to() -> None:
    forge = Forge()
    run = forge.run("r1").start()
    run.ask("a", actor="carl")
    run.begin("a")
    run.done("a")
    run.complete()
    start = len(forge.leaves) - 4
    assert forge.leaves[start]["type"] == "FC-STEP-001"
    assert_refused(forge.pack(), forge.trust(), "STEP_WITHOUT_ALLOW", EVENTS, start + 1)


@pytest.mark.parametrize("code", ["FC-STEP-001", "FC-STEP-002"])
def test_a_stranger_executes_a_step_of_the_server(code: str) -> None:
    a = operator()
    line = a.line(code, step_id="plain")
    refused(a.change(line, actor="stranger"), "ILLEGAL_TRANSITION", line)


def test_somebody_who_had_no_part_in_it_lets_the_run_go_on() -> None:
    a = operator()
    resumed = a.line("FC-RUN-002", previous_status="paused")
    refused(a.change(resumed, actor="mallory"), "ILLEGAL_TRANSITION", resumed)


def test_somebody_who_had_no_part_in_it_pauses_the_run() -> None:
    a = operator()
    paused = a.line("FC-RUN-002", new_status="paused")
    refused(a.change(paused, actor="mallory"), "ILLEGAL_TRANSITION", paused)


def test_nobody_did_it() -> None:
    a = operator()
    refused(a.change(a.line("FC-STEP-001"), actor=""), "ILLEGAL_TRANSITION", a.line("FC-STEP-001"))


def test_the_approval_came_through_another_than_policy_was_asked_about() -> None:
    a = operator()
    _, second = answers(a)
    refused(a.change(second, via="zzz"), "ILLEGAL_TRANSITION", second)


def test_who_ended_a_run_that_was_denied_is_somebody_else() -> None:
    a = operator("denied")
    end = a.line("FC-RUN-003")
    refused(a.change(end, actor="mallory"), "ILLEGAL_TRANSITION", end)


# about what


def test_a_run_is_born_and_nothing_decided_about_it() -> None:
    a = operator()
    refused(a.drop(2), "ILLEGAL_TRANSITION", 2)


def test_a_birth_was_allowed_with_another_input() -> None:
    refused(operator().change(2, subject_hash=OTHER), "ILLEGAL_TRANSITION", 2)


def test_a_run_was_allowed_to_start_with_another_input() -> None:
    a = operator()
    start = a.line("FC-POLICY-001", action="run.start")
    refused(a.change(start, subject_hash=OTHER), "ILLEGAL_TRANSITION", start + 1)


def test_a_run_completes_with_another_output_than_was_allowed() -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    refused(a.change(end - 1, subject_hash=OTHER), "ILLEGAL_TRANSITION", end)


def test_a_flagged_birth_that_nobody_approved() -> None:
    flag = {"rule": "large", "approvers": ["role:fin"], "quorum": 1, "expires_s": None}
    forge = Forge()
    forge.run("r1", birth={"effect": "flag", "flags": [flag]}).start().complete()
    assert_refused(forge.pack(), forge.trust(), "MISSING_APPROVAL", EVENTS, 4)


# why it ended


def _failed(code: str | None) -> Attacker:
    """The completed run failed, it is told."""
    end = operator().line("FC-RUN-003")

    def change(events: list[Json]) -> None:
        data = events[end - 1]["data"]
        data.pop("output_hash")
        data["new_status"] = "failed"
        if code is not None:
            data["error_code"] = code
        del events[end - 2]

    return edited(change)


@pytest.mark.parametrize(
    "code",
    [
        "policy_denied",
        "step_failed",
        "gate_rejected",
        "gate_expired",
        "run_timeout",
        "banana",
        None,
    ],
)
def test_a_run_failed_for_a_reason_that_it_had_not(code: str | None) -> None:
    refused(_failed(code), "ILLEGAL_TRANSITION", operator().line("FC-RUN-003") - 1)


@pytest.mark.parametrize("code", ["step_failed", "gate_rejected", "run_timeout", "banana"])
def test_a_denied_run_failed_for_another_reason(code: str) -> None:
    a = operator("denied")
    end = a.line("FC-RUN-003")
    refused(a.change(end, error_code=code), "ILLEGAL_TRANSITION", end)


def test_a_gate_that_nobody_answered_was_rejected() -> None:
    """The run fails while its gate is open."""
    a = operator()
    asked = a.line("FC-GATE-001", step_id="ask")
    end = copy.deepcopy(a.events[-1])
    end["data"] = {
        "previous_status": "paused",
        "new_status": "failed",
        "error_code": "gate_rejected",
        "reason": "rejected by cleo",
        "workflow_receipt_hash": OTHER,
    }
    end |= {"at": a.events[asked]["at"], "seq": -1}
    liar = a.edit(lambda events: [*events[: asked + 1], end])
    assert liar.events[asked]["data"]["new_status"] == "paused"
    refused(liar, "ILLEGAL_TRANSITION", asked + 2)


def test_a_completed_run_tells_of_an_error() -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    refused(a.change(end, error_code="x"), "ILLEGAL_TRANSITION", end)


# values


def test_a_value_of_a_sensitive_step_has_no_salt() -> None:
    a = operator("secret")
    start = a.line("FC-STEP-001", step_id="private")
    data = canonical({"value": {"secret": "999"}})
    named = digest(canonical({"secret": "999"}))
    old = a.events[start - 1]["data"]["input_hash"]

    def edit(events: list[Json]) -> list[Json]:
        return json.loads(json.dumps(events).replace(old, named))  # type: ignore[no-any-return]

    path = f"payloads/{named}.json"
    pack = a.edit(edit).made({path: data, f"payloads/{old}.json": None})
    assert_refused(pack, world().trust, "PAYLOAD_MISMATCH", path)


def test_a_gate_is_said_to_have_been_passed_by_others() -> None:
    """Nobody gave an input, so the events alone say what the output of the step must be."""
    a = operator()
    done = a.line("FC-STEP-002", step_id="ask")
    value = {"approved": True, "approved_by": ["carol", "dave"], "input": None}
    old, new = a.events[done - 1]["data"]["output_hash"], digest(canonical(value))
    pack = a.change(done, output_hash=new).made(
        {f"payloads/{new}.json": canonical({"value": value}), f"payloads/{old}.json": None}
    )
    assert_refused(pack, world().trust, "PAYLOAD_MISMATCH", path_of(a.run_id), done)


def test_a_gate_is_said_to_have_been_passed_with_another_input() -> None:
    forge = Forge()
    gate = {"name": "Go?", "quorum": 1}
    steps = [{"id": "g", "type": "GATE", "gate": gate}]
    definition = {"id": "wf", "version": "1.0.0", "steps": steps}
    run = forge.run("r1", definition=definition).start()
    run.ask("g", kind="GATE")
    run.begin("g")
    run.gate("g1", step_id="g")
    run.change("paused")
    run.answer(actor="ann", role=None, given=forge.keep({"amount": 5}))
    run.change("running")
    honest = copy.deepcopy(forge)
    copied = copy.deepcopy(run)
    copied.forge = honest
    copied.done("g")
    copied.complete()
    assert_valid(honest.pack(), honest.trust())
    said = {"approved": True, "approved_by": ["ann"], "input": {"amount": 500}}
    run.done("g", said)
    run.complete()
    path = f"payloads/{digest(canonical(said))}.json"
    assert_refused(forge.pack(), forge.trust(), "PAYLOAD_MISMATCH", path)


# gates


@pytest.mark.parametrize(
    "facts",
    [{"gate_name": "Harmless"}, {"description": "Nothing."}, {"input_schema_hash": OTHER}],
    ids=lambda facts: next(iter(facts)),
)
def test_a_gate_asks_something_else_than_the_workflow(facts: dict[str, Any]) -> None:
    """Also where everything that is said of it later says the same."""
    asked = operator().line("FC-GATE-001", step_id="ask")

    def change(events: list[Json]) -> None:
        gate_id = events[asked - 1]["data"]["gate_id"]
        for event in events:
            told = event["data"].get("gate_id") == gate_id and "gate_name" in event["data"]
            if told and ("gate_name" in facts or event["type"] == "FC-GATE-001"):
                event["data"] |= facts

    refused(edited(change), "ILLEGAL_TRANSITION", asked)


# bundles


def test_a_strict_run_was_decided_by_a_loose_bundle_alone() -> None:
    """The bundle's own text says that it is loose."""
    main = rotated().after  # a server in loose mode
    attacker = Attacker(main, "second", holds_key=True)
    assert_valid(attacker.made(), main.trust)
    strict = attacker.change(1, policy_mode="strict").made()
    assert_refused(strict, main.trust, "ILLEGAL_TRANSITION", path_of(attacker.run_id), 2)


def test_an_allow_by_no_bundle_at_all() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="plain")
    refused(a.change(allow, policy_hash="0" * 64), "ILLEGAL_TRANSITION", allow)


@pytest.mark.parametrize(
    "facts",
    [{"tier": "banana"}, {"tier": "100"}, {"tier": "01"}, {"duration_us": -5}],
    ids=lambda facts: "-".join(map(str, next(iter(facts.items())))),
)
def test_a_decision_of_a_kind_that_there_is_not(facts: Json) -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="plain")
    refused(a.change(allow, **facts), "ILLEGAL_TRANSITION", allow)


# times


@pytest.mark.parametrize("ms", [-1, 99_999])
@pytest.mark.parametrize("step_id", ["plain", "ask"])
def test_a_step_took_longer_than_its_times_say(step_id: str, ms: int) -> None:
    a = operator()
    done = a.line("FC-STEP-002", step_id=step_id)
    refused(a.change(done, duration_ms=ms), "ILLEGAL_TRANSITION", done)


def _retried() -> tuple[Forge, int]:
    """The line of the event that schedules a second attempt, a second after the first."""
    steps = [{"id": "a", "type": "ACT", "retry": {"max_attempts": 2, "backoff_ms": 1000}}]
    forge = Forge()
    run = forge.run("r1", definition={"id": "wf", "version": "1.0.0", "steps": steps}).start()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.retry("a")
    line = len(forge.leaves)
    run.step("a").complete()
    assert_valid(forge.pack(), forge.trust())
    return forge, line


def _not_before(forge: Forge, line: int, instant: str) -> Forge:
    def edit(events: list[Json]) -> list[Json]:
        speak(events[line - 1], not_before=instant)
        return events

    return forge.tampered("run:r1", edit)


def test_an_attempt_is_made_before_its_time() -> None:
    forge, line = _retried()
    late = _not_before(forge, line, "2026-11-23T18:00:00.000000Z")
    assert_refused(late.pack(), forge.trust(), "ILLEGAL_TRANSITION", EVENTS, line + 1)


def test_a_step_is_tried_again_sooner_than_the_workflow_says() -> None:
    forge, line = _retried()
    soon = _not_before(forge, line, forge.leaves[line - 1]["at"])
    assert_refused(soon.pack(), forge.trust(), "ILLEGAL_TRANSITION", EVENTS, line)


# erasures, artifacts


def _erased() -> Forge:
    forge = Forge()
    run = forge.run("r1").start().step("a").complete()
    forge.erase("r1", run.input_hash)
    assert verdict(forge.pack(), forge.trust()).verdict == "VALID_WITH_REDACTIONS"
    return forge


def test_a_value_is_erased_before_the_run_ended() -> None:
    forge = _erased()
    forge.leaves.insert(5, forge.leaves.pop())
    path = "events/log:acme.jsonl"
    assert_refused(forge.pack(), forge.trust(), "ILLEGAL_TRANSITION", path, 1)


def test_a_value_is_erased_that_no_event_names() -> None:
    forge = _erased()
    forge.erase("r1", OTHER)
    path = "events/log:acme.jsonl"
    assert_refused(forge.pack(), forge.trust(), "ILLEGAL_TRANSITION", path, 2)


def test_a_value_of_a_run_is_erased_of_which_the_end_is_left_out() -> None:
    forge = _erased()
    cut = forge.tampered("run:r1", lambda events: events[:-1])
    path = "events/log:acme.jsonl"
    assert_refused(cut.pack(), forge.trust(), "ILLEGAL_TRANSITION", path, 1)


def test_an_artifact_that_nothing_points_to() -> None:
    path = f"objects/{digest(b'x')}"
    pack = repack(world().packs["main"], {path: b"x"})
    assert_refused(pack, world().trust, "FILE_EXTRA", path)


# what is told


def test_what_is_told_of_a_run_that_was_let_through_by_a_bypass() -> None:
    forge = Forge()
    run = forge.run("r1").start()
    run.gate("g1")
    run.change("paused")
    run.bypass()
    run.change("running")
    run.complete()
    found = assert_valid(forge.pack(), forge.trust())
    assert found.bypasses == 1
    assert found.runs == ({"run_id": "r1", "outcome": "completed", "bypasses": 1},)
    assert (found.approvals, found.as_dict()["runs"]) == (0, list(found.runs))


def test_what_is_told_of_a_run_whose_end_is_left_out() -> None:
    """It may have ended or not: its end is not in this pack, which is all that can be said."""
    a = operator()
    cut = a.edit(lambda events: events[:-1])
    pack = cut.made({"receipt.dsse.json": None})
    found = verdict(pack, world().trust)
    assert found.verdict == "INCOMPLETE"
    assert found.error is not None
    assert found.error["message"].endswith("its end are not in this pack.")
    assert found.runs[0]["outcome"] is None


def test_one_key_under_two_names_is_one_witness_in_all_that_is_told() -> None:
    forge = Forge()
    forge.run("r1").start().complete()
    both = [Key(f"w.example/{name}", b"\7" * 32, 4) for name in "ab"]
    pack = forge.pack(witnesses=both)
    found = assert_valid(pack, forge.trust(*both, quorum=1))
    assert found.witnesses == ("w.example/a",)
    few = assert_refused(pack, forge.trust(*both, quorum=2), "QUORUM", "log/checkpoint")
    assert few.witnesses == ("w.example/a",)
    assert few.error is not None
    assert few.error["message"].startswith("1 trusted")
    assert unpack(pack)["log/checkpoint"].count("—".encode()) == 3
