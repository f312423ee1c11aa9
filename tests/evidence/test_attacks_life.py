"""An operator who holds the key tells an unlawful life.

Everything fits: links, receipts, index, proofs; the checkpoint and the receipt are signed anew.
What is left to find it is the life itself, replayed by rules that no key changes.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    Edit,
    assert_refused,
    assert_valid,
    path_of,
    speak,
    world,
)
from tests.evidence.pack_forge import Json

OTHER = "f" * 64


@cache
def operator(name: str = "main") -> Attacker:
    """Until he changes something his pack is valid."""
    attacker = Attacker(world(), name, holds_key=True)
    assert_valid(attacker.made(), world().trust)
    return attacker


def refused(attacker: Attacker, code: str, line: int) -> None:
    pack = attacker.made()
    found = assert_refused(pack, world().trust, code, path_of(attacker.run_id), line)
    assert found.checkpoint is not None  # it is signed, and that does not help


def shifted(events: list[Json], line: int, hours: int) -> list[Json]:
    """What happens from this line on happens later."""
    for event in events[line - 1 :]:
        at = event["at"]
        later = f"{at[:11]}{int(at[11:13]) + hours:02}{at[13:]}"
        if (
            "receipt" in event["data"]
            and event["data"]["receipt"]["started_at"] >= events[line - 1]["at"]
        ):
            event["data"]["receipt"]["started_at"] = later
        speak(event, at=later)
    return events


# STEP_WITHOUT_ALLOW


def test_a_step_runs_that_was_denied() -> None:
    a = operator("denied")
    deny = a.line("FC-POLICY-001", decision="deny")
    started = copy.deepcopy(a.events[a.line("FC-STEP-001", step_id="plain") - 1])
    denied = a.events[deny - 1]
    started["data"] |= {
        "step_id": "last",
        "step_index": 4,
        "input_hash": denied["data"]["subject_hash"],
        "decision_hash": a.events[deny]["prev"],
        "idempotency_key": f"{a.run_id}:last:1",
    }
    started["at"] = denied["at"]
    refused(a.insert(deny + 1, started), "STEP_WITHOUT_ALLOW", deny + 1)


@pytest.mark.parametrize("step_id", ["plain", "private", "ask", "last"])
def test_a_step_runs_whose_allow_is_made_a_deny(step_id: str) -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id=step_id, action=_action(step_id))
    start = a.line("FC-STEP-001", step_id=step_id)
    refused(a.change(allow, decision="deny"), "STEP_WITHOUT_ALLOW", start)


@pytest.mark.parametrize("step_id", ["plain", "risky", "private", "ask", "last"])
def test_a_step_runs_that_nothing_decided(step_id: str) -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id=step_id, action=_action(step_id))
    refused(a.drop(allow), "STEP_WITHOUT_ALLOW", allow)


def _action(step_id: str) -> str:
    return "step.gate" if step_id == "ask" else "step.act"


def test_a_step_runs_that_was_flagged_and_never_allowed() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="risky", action="step.act")
    flag = a.line("FC-POLICY-001", decision="flag", step_id="risky")
    start = a.line("FC-STEP-001", step_id="risky")
    flagged = a.drop(*range(flag + 1, start))
    assert flagged.events[flag]["type"] == "FC-STEP-001"
    assert allow > flag
    refused(flagged, "STEP_WITHOUT_ALLOW", flag + 1)


def test_a_step_runs_twice_on_one_decision() -> None:
    a = operator()
    start = a.line("FC-STEP-001", step_id="plain")
    refused(a.insert(start + 1, a.events[start - 1]), "STEP_WITHOUT_ALLOW", start + 1)
    done = a.line("FC-STEP-002", step_id="plain")
    again = a.events[start - 1] | {"at": a.events[done - 1]["at"]}
    refused(a.insert(done + 1, again), "STEP_WITHOUT_ALLOW", done + 1)


def test_a_step_is_run_again_that_may_not_be() -> None:
    a = operator()
    start = a.line("FC-STEP-001", step_id="plain")
    again = copy.deepcopy(a.events[start - 1])
    again["data"]["again"] = True
    refused(a.insert(start + 1, again), "STEP_WITHOUT_ALLOW", start + 1)


@pytest.mark.parametrize(
    "facts",
    [
        {"input_hash": OTHER},
        {"step_type": "OBSERVE"},
        {"attempt": 2},
        {"decision_hash": OTHER},
        {"step_id": "last"},
    ],
    ids=lambda facts: next(iter(facts)),
)
@pytest.mark.parametrize("step_id", ["plain", "risky"])
def test_a_step_runs_otherwise_than_it_was_allowed(step_id: str, facts: dict[str, Any]) -> None:
    a = operator()
    start = a.line("FC-STEP-001", step_id=step_id)
    refused(a.change(start, **facts), "STEP_WITHOUT_ALLOW", start)


def test_a_step_runs_on_the_decision_about_another() -> None:
    a = operator()
    start = a.line("FC-STEP-001", step_id="last")
    theirs = a.events[a.line("FC-STEP-001", step_id="plain") - 1]["data"]["decision_hash"]
    refused(a.change(start, decision_hash=theirs), "STEP_WITHOUT_ALLOW", start)


def test_a_step_runs_before_it_is_allowed() -> None:
    a = operator()
    start = a.line("FC-STEP-001", step_id="plain")

    def edit(events: list[Json]) -> list[Json]:
        allow, started = events[start - 2 : start]
        started["at"] = allow["at"]
        return [*events[: start - 2], started, allow, *events[start:]]

    refused(a.edit(edit), "STEP_WITHOUT_ALLOW", start - 1)


# MISSING_APPROVAL


def answers(a: Attacker) -> tuple[int, int]:
    return a.line("FC-GATE-002", actor="ann"), a.line("FC-GATE-002", actor="ben")


def test_a_flagged_step_goes_on_and_nobody_was_asked() -> None:
    a = operator()
    flag, allow = (
        a.line("FC-POLICY-001", decision=d, step_id="risky", action="step.act")
        for d in ("flag", "allow")
    )
    refused(a.drop(*range(flag + 1, allow)), "MISSING_APPROVAL", flag + 1)


def test_a_flagged_step_goes_on_and_names_no_gate() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="risky", action="step.act")

    def edit(events: list[Json]) -> list[Json]:
        del events[allow - 1]["data"]["covered_by"]
        return events

    refused(a.edit(edit), "MISSING_APPROVAL", allow)


@pytest.mark.parametrize("named", ["the gate of another step", "a gate that never was"])
def test_a_flagged_step_goes_on_by_a_gate_that_was_about_something_else(named: str) -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="risky", action="step.act")
    theirs = a.events[a.line("FC-GATE-001", step_id="ask") - 1]["data"]["gate_id"]
    gate_id = theirs if named.startswith("the") else "g-1"
    refused(a.change(allow, covered_by=[gate_id]), "MISSING_APPROVAL", allow)


def test_a_quorum_of_two_is_answered_by_one() -> None:
    a = operator()
    first, second = answers(a)
    lone = a.drop(second - 1, second).change(first, gate_status="approved")
    refused(lone, "MISSING_APPROVAL", first)


def test_a_flagged_step_goes_on_while_the_gate_is_open() -> None:
    """The run cannot even be resumed."""
    a = operator()
    _, second = answers(a)
    refused(a.drop(second - 1, second), "ILLEGAL_TRANSITION", second - 1)
    without = a.drop(second - 1, second, second + 1)
    paused = a.line("FC-RUN-002", new_status="paused")
    refused(without.drop(paused), "MISSING_APPROVAL", second - 2)


def test_one_person_is_counted_twice() -> None:
    a = operator()
    _, second = answers(a)
    twice = a.change(second - 1, actor="ann").change(second, actor="ann")
    refused(twice, "MISSING_APPROVAL", second)


def test_an_answer_is_put_in_beside_those_that_there_are() -> None:
    a = operator()
    _, second = answers(a)
    third = copy.deepcopy(a.events[second - 2 : second])
    for event in third:
        event["at"] = a.events[second - 1]["at"]
        speak(event, actor="carl", at=event["at"])
    refused(a.insert(second + 1, *third), "MISSING_APPROVAL", second + 2)


@pytest.mark.parametrize("role", ["board", "FIN", "fin ", ""])
def test_an_answer_by_a_role_that_was_not_asked(role: str) -> None:
    a = operator()
    _, second = answers(a)
    refused(a.change(second, role=role), "MISSING_APPROVAL", second)


def test_an_answer_by_nobody_who_was_asked() -> None:
    a = operator()
    _, second = answers(a)

    def edit(events: list[Json]) -> list[Json]:
        del events[second - 1]["data"]["role"]
        return events

    refused(a.edit(edit), "MISSING_APPROVAL", second)


def test_the_gate_of_a_step_is_answered_by_somebody_else() -> None:
    a = operator()
    answer = a.line("FC-GATE-002", actor="cleo")
    other = a.change(answer - 1, actor="mallory").change(answer, actor="mallory")
    refused(other, "MISSING_APPROVAL", answer)


def test_who_started_the_run_approves_it() -> None:
    a = operator()
    _, second = answers(a)
    own = a.change(second - 1, actor="starter").change(second, actor="starter")
    refused(own, "MISSING_APPROVAL", second)


def test_who_started_the_run_approves_it_through_another() -> None:
    a = operator()
    _, second = answers(a)
    through = a.change(second, via="starter").change(second - 1, via="starter")
    refused(through, "MISSING_APPROVAL", second)


def test_who_the_run_was_started_through_approves_it() -> None:
    a = operator()
    _, second = answers(a)
    refused(a.change(1, via="ben").change(2, via="ben"), "MISSING_APPROVAL", second)


def test_a_gate_that_comes_of_a_flag_is_said_to_be_somebody_elses() -> None:
    """Who asks for a gate does not answer it: so who asks is not a matter of choice."""
    a = operator()
    for step_id in ("risky", "ask"):
        asked = a.line("FC-GATE-001", step_id=step_id)
        refused(a.change(asked, actor="ben"), "ILLEGAL_TRANSITION", asked)


@pytest.mark.parametrize(
    "facts",
    [{"quorum": 3}, {"required_approvers": ["role:ops"]}, {"required_approvers": ["ann", "ben"]}],
    ids=["quorum", "role", "names"],
)
def test_a_gate_asks_others_than_the_flag(facts: dict[str, Any]) -> None:
    a = operator()
    asked = a.line("FC-GATE-001", step_id="risky")
    refused(a.change(asked, **facts), "MISSING_APPROVAL", asked)


def test_a_gate_asks_fewer_than_the_flag() -> None:
    a = operator()
    asked = a.line("FC-GATE-001", step_id="risky")

    def edit(events: list[Json]) -> list[Json]:
        del events[asked - 1]["data"]["quorum"]
        return events

    refused(a.edit(edit), "MISSING_APPROVAL", asked)


def test_a_gate_is_open_longer_than_the_flag_says() -> None:
    a = operator()
    asked = a.line("FC-GATE-001", step_id="risky")
    refused(a.change(asked, expires_at="2099-01-01T00:00:00.000000Z"), "MISSING_APPROVAL", asked)


def test_the_gate_of_a_step_asks_others_than_the_workflow() -> None:
    a = operator()
    asked = a.line("FC-GATE-001", step_id="ask")
    refused(a.change(asked, required_approvers=["mallory"]), "MISSING_APPROVAL", asked)


def test_an_answer_after_the_gate_expired() -> None:
    a = operator()
    _, second = answers(a)
    late = a.edit(lambda events: shifted(events, second - 1, 2))
    refused(late, "MISSING_APPROVAL", second)


@pytest.mark.parametrize("what", ["subject_hash", "flags"])
def test_something_else_was_approved(what: str) -> None:
    """Approved was one payment; allowed and made is another."""
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="risky", action="step.act")

    def edit(events: list[Json]) -> list[Json]:
        data = events[allow - 1]["data"]
        if what == "flags":
            data["flags"][0]["rule"] = "another"
        else:
            data["subject_hash"] = OTHER
            for event in events[allow : allow + 2]:
                (event["data"].get("receipt") or event["data"])["input_hash"] = OTHER
        return events

    refused(a.edit(edit), "MISSING_APPROVAL", allow)


def test_a_gate_step_ends_without_its_gate() -> None:
    a = operator()
    start, done = (a.line(code, step_id="ask") for code in ("FC-STEP-001", "FC-STEP-002"))
    refused(a.drop(*range(start + 1, done)), "MISSING_APPROVAL", start + 1)


def test_a_gate_step_ends_while_its_gate_is_open() -> None:
    a = operator()
    asked, done = a.line("FC-GATE-001", step_id="ask"), a.line("FC-STEP-002", step_id="ask")
    refused(a.drop(*range(asked + 1, done)), "MISSING_APPROVAL", asked + 1)


def test_a_flagged_step_is_denied_although_its_gate_was_passed_and_runs() -> None:
    """A deny answers for no flag: the gate that it names was not about it."""
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="risky", action="step.act")
    refused(a.change(allow, decision="deny"), "MISSING_APPROVAL", allow)


# ILLEGAL_TRANSITION


def test_a_denied_step_is_allowed_after_all() -> None:
    """The step is permitted then, and in flight when the run ends."""
    a = operator("denied")
    deny = a.line("FC-POLICY-001", decision="deny")
    refused(a.change(deny, decision="allow"), "ILLEGAL_TRANSITION", deny + 1)


def test_a_denied_run_completes() -> None:
    a = operator("denied")
    end = a.line("FC-RUN-003")

    def edit(events: list[Json]) -> list[Json]:
        events[end - 1]["data"] |= {"new_status": "completed"}
        for name in ("error_code", "reason", "error_hash"):
            events[end - 1]["data"].pop(name, None)
        return events

    refused(a.edit(edit), "ILLEGAL_TRANSITION", end)


def test_a_step_is_decided_after_a_deny() -> None:
    a = operator("denied")
    deny = a.line("FC-POLICY-001", decision="deny")
    again = a.events[deny - 1] | {"data": a.events[deny - 1]["data"] | {"decision": "allow"}}
    refused(a.insert(deny + 1, again), "ILLEGAL_TRANSITION", deny + 1)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_ends_otherwise_and_nobody_was_allowed_to_end_it(status: str) -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    refused(a.change(end, new_status=status), "ILLEGAL_TRANSITION", end)


def test_a_run_completes_and_nothing_allowed_it() -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    refused(a.drop(end - 1), "ILLEGAL_TRANSITION", end - 1)


def test_a_run_starts_and_nothing_allowed_it() -> None:
    a = operator()
    start = a.line("FC-POLICY-001", action="run.start")
    refused(a.drop(start), "ILLEGAL_TRANSITION", start)


def test_a_run_completes_and_a_step_is_left_out() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", step_id="last")
    refused(a.drop(*range(allow, allow + 3)), "ILLEGAL_TRANSITION", a.line("FC-RUN-003") - 3)


def test_a_step_is_left_out_that_others_need() -> None:
    """Steps follow one another in this workflow."""
    a = operator()
    allow = a.line("FC-POLICY-001", step_id="plain")
    refused(a.drop(*range(allow, allow + 3)), "ILLEGAL_TRANSITION", allow)


def test_a_step_is_skipped_that_has_no_condition() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", step_id="plain")
    skip = a.events[allow - 1] | {
        "type": "FC-STEP-006",
        "data": {"step_id": "plain", "reason": "x"},
    }
    refused(a.insert(allow, skip), "ILLEGAL_TRANSITION", allow)


def test_a_step_that_the_workflow_does_not_have() -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", step_id="plain")
    refused(a.change(allow, step_id="extra"), "ILLEGAL_TRANSITION", allow)


def test_a_step_is_tried_more_often_than_the_workflow_allows() -> None:
    a = operator()
    done = a.line("FC-STEP-002", step_id="plain")
    data = {"step_id": "plain", "attempt": 2, "not_before": a.events[done - 1]["at"]}
    retry = a.events[done - 1] | {"type": "FC-STEP-004", "data": data}
    refused(a.insert(done + 1, retry), "ILLEGAL_TRANSITION", done + 1)


def test_an_approval_that_policy_did_not_allow() -> None:
    a = operator()
    _, second = answers(a)
    refused(a.drop(second - 1), "ILLEGAL_TRANSITION", second - 1)


def test_an_approval_that_policy_denied() -> None:
    a = operator()
    _, second = answers(a)
    refused(a.change(second - 1, decision="deny"), "ILLEGAL_TRANSITION", second)


def test_an_approval_under_another_name_than_policy_allowed() -> None:
    a = operator()
    _, second = answers(a)
    refused(a.change(second, actor="carl"), "ILLEGAL_TRANSITION", second)


def test_a_gate_that_nothing_flagged() -> None:
    a = operator()
    flag = a.line("FC-POLICY-001", decision="flag")
    refused(a.drop(flag), "ILLEGAL_TRANSITION", flag)


def test_a_run_is_born_twice() -> None:
    a = operator()
    refused(a.insert(2, a.events[0]), "ILLEGAL_TRANSITION", 2)


def test_a_run_is_never_born() -> None:
    a = operator()
    refused(a.edit(_headless), "ILLEGAL_TRANSITION", 1)


def _headless(events: list[Json]) -> list[Json]:
    events[0]["type"] = "FC-AUTH-001"
    events[0]["data"] = {"attempted": "x", "refusal_code": "x", "reason": "x"} | {
        name: events[0]["data"][name] for name in ("run_id",)
    }
    return events


def test_a_run_goes_on_after_its_end() -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    step = a.events[a.line("FC-POLICY-001", step_id="last") - 1]
    later = step | {"at": a.events[end - 1]["at"]}
    pause = later | {
        "type": "FC-RUN-002",
        "data": {"previous_status": "completed", "new_status": "running"},
    }
    refused(a.insert(end + 1, pause), "ILLEGAL_TRANSITION", end + 1)
    refused(a.insert(end + 1, later), "ILLEGAL_TRANSITION", end + 1)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (4, lambda e: e.update(type="FC-NONE-001")),
        (4, lambda e: e["data"].update(surplus=True)),
        (4, lambda e: e["data"].pop("new_status")),
        (4, lambda e: e["data"].update(new_status="done")),
        (5, lambda e: e["data"].update(decision="maybe")),
        (5, lambda e: e["data"].update(covered_by=[])),
        (5, lambda e: e["data"].pop("subject_hash")),
        (5, lambda e: e["data"].update(policy_hash="x")),
    ],
    ids=["type", "surplus", "missing", "status", "decision", "empty", "subject", "hash"],
)
def test_an_event_that_is_none(line: int, change: Callable[[Json], object]) -> None:
    def edit(events: list[Json]) -> list[Json]:
        change(events[line - 1])
        return events

    refused(operator().edit(edit), "ILLEGAL_TRANSITION", line)


# receipts within the events


@pytest.mark.parametrize(
    ("code", "fact", "value"),
    [
        ("FC-GATE-002", "actor_id", "the boss"),
        ("FC-GATE-002", "decision", "rejected"),
        ("FC-GATE-002", "decision_hash", OTHER),
        ("FC-GATE-002", "via", "proxy"),
        ("FC-STEP-002", "input_hash", OTHER),
        ("FC-STEP-002", "output_hash", OTHER),
        ("FC-STEP-002", "attempt", 2),
        ("FC-STEP-002", "status", "failed"),
        ("FC-STEP-002", "v", 2),
        ("FC-STEP-002", "v", True),
        ("FC-STEP-002", "surplus", 1),
    ],
)
def test_a_receipt_that_tells_something_else_than_its_event(
    code: str, fact: str, value: object
) -> None:
    a = operator()
    line = a.line(code)

    def edit(events: list[Json]) -> list[Json]:
        events[line - 1]["data"]["receipt"][fact] = value
        return events

    refused(a.edit(edit), "RECEIPT_MISMATCH", line)


def _unlinked(line: int) -> Edit:
    def edit(events: list[Json]) -> list[Json]:
        events[line - 1]["data"]["receipt_hash"] = OTHER
        return events

    return edit


def test_a_receipt_that_is_not_the_one_of_its_hash() -> None:
    """Nothing is linked anew here, so the chain breaks at the line after it."""
    a = operator()
    line = a.line("FC-STEP-002")
    edited = a.edit(_unlinked(line), relink=False)
    refused(edited, "CHAIN_BROKEN", line + 1)
