"""What the fold refuses of gates and receipts, whoever wrote it."""

from typing import Any

import pytest
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    APPROVER_2,
    FLAG_FIN,
    INPUT,
    OFFICER,
    OTHER_INPUT,
    OUTPUT,
    STARTER,
    STRANGER,
    Life,
    gate_step,
    step,
    workflow,
)
from tests.spine_refusals import Spot, here

from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.canonical import ZERO_HASH
from federation_core.spine.commands import (
    AnswerGate,
    BypassGate,
    CompleteStep,
    ExpireGate,
    ProposeStep,
)
from federation_core.spine.definition import GateSpec
from federation_core.spine.events import GateRequested
from federation_core.spine.receipts import receipt_hash

HOUR = 3_600_000_000
GATE = workflow(gate_step("g", gate=GateSpec("Go?", approvers=("role:fin",), quorum=2)))
ONE = workflow(step("a"))


def asking(definition: Any = GATE, mode: Any = "strict") -> Life:
    """A run that waits at gate `g0`."""
    life = Life(definition).started(mode=mode)
    first = definition.steps[0]
    life.propose(first.id, ALLOW if first.gate else FLAG_FIN, kind=first.type.value)
    assert list(life.run.open_gates) == ["g0"]
    return life


def answering(life: Life, actor: Actor = APPROVER_1, *, approve: bool = True) -> Spot:
    """Where a person's answer stands: policy's allow is the event before."""
    return Spot(
        life, AnswerGate(gate_id="g0", approve=approve, decision=ALLOW), "FC-GATE-002", actor
    )


# requests


def test_a_gate_is_requested_once() -> None:
    life = Life(GATE).started()
    propose = ProposeStep(step_id="g", step_type="GATE", input_hash=INPUT, decision=ALLOW)
    asked = Spot(life, propose, "FC-GATE-001").event.data
    here(asking()).refuses("exists already", data=asked)


def test_a_gate_step_asks_whom_its_workflow_names() -> None:
    propose = ProposeStep(step_id="g", step_type="GATE", input_hash=INPUT, decision=ALLOW)
    spot = Spot(Life(GATE).started(), propose, "FC-GATE-001")
    spot.refuses("asks other people", required_approvers=())
    spot.refuses("asks other people", quorum=1)
    spot.refuses("is not an RFC 3339 time", expires_at="2026-11-23")


def test_people_are_asked_once_about_a_doubt() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.recover("a")
    data = GateRequested(gate_id="g9", step_id="a", gate_type="in_doubt", gate_name="mine")
    here(life).refuses("asked about it already", data=data)


# answers


def test_an_answer_is_to_a_pending_gate_by_its_name() -> None:
    spot = answering(asking())
    spot.refuses("no such gate is pending", gate_id="ghost")
    spot.refuses("another gate's", step_id="a")
    spot.refuses("another gate's", gate_name="Stop?")


@pytest.mark.parametrize("end", ["approved", "rejected", "bypassed", "expired"])
def test_a_gate_that_was_resolved_takes_no_answer(end: str) -> None:
    life = Life(workflow(step("a"), step("b"))).started()
    life.propose("b")
    life.propose("a", FLAG_FIN)
    data = answering(life).event.data
    if end == "approved":
        life.approve("g0")
    elif end == "rejected":
        life.reject("g0")
    elif end == "bypassed":
        life.do(BypassGate(gate_id="g0", reason="fire", decision=ALLOW), OFFICER)
    else:
        life.now += HOUR
        life.do(ExpireGate(gate_id="g0"))
    assert life.run.gates["g0"].status == end
    here(life).refuses("no such gate is pending", data=data, actor=APPROVER_2)


def test_nobody_answers_twice() -> None:
    life = asking()
    data = answering(life).event.data
    life.approve("g0")
    again = answering(life, APPROVER_2)
    again.refuses("answered already", data=data, actor=APPROVER_1)
    again.refuses("answered already", actor=APPROVER_1)


def test_the_quorum_is_counted() -> None:
    life = asking()
    answering(life).refuses("1 of 2 approved", gate_status="approved")
    life.approve("g0")
    answering(life, APPROVER_2).refuses("2 of 2 approved", gate_status="pending")
    answering(life, APPROVER_2, approve=False).refuses(
        "one rejection is enough", gate_status="pending"
    )


def test_only_who_is_named_answers() -> None:
    named = workflow(gate_step("g", gate=GateSpec("Go?", approvers=("approver_1",))))
    answering(asking(named)).refuses("does not ask stranger", actor=STRANGER)


def test_who_started_a_run_does_not_answer_in_strict_mode() -> None:
    spot = answering(asking())
    spot.refuses("who started a run", actor=STARTER)
    spot.refuses("who started a run", actor=Actor("gateway"))
    spot.refuses("who started a run", actor=Actor("puppet", via="starter"))
    loose = answering(asking(mode="loose"), STARTER)
    assert loose.event.actor == "starter"


def test_an_answer_needs_an_allow_for_the_same_person_and_gate() -> None:
    life = asking()
    spot = answering(life)
    answer = AnswerGate(gate_id="g0", approve=True, decision=ALLOW)
    before = Spot(life, answer, "FC-POLICY-001", APPROVER_1)
    before.refuses("no decision allows gate.resolve", data=spot.event.data, actor=APPROVER_1)
    spot.refuses("no decision allows gate.resolve", actor=APPROVER_2)


def test_an_answer_to_an_expired_gate() -> None:
    life = asking(ONE)
    due = life.run.gates["g0"].expires_at
    assert due is not None
    answering(life).refuses("the gate had expired", at=due)
    bypass = BypassGate(gate_id="g0", reason="fire", decision=ALLOW)
    Spot(life, bypass, "FC-GATE-005", OFFICER).refuses("the gate had expired", at=due)


def test_a_second_input_that_differs() -> None:
    life = asking()
    life.answer("g0")
    answer = AnswerGate(
        gate_id="g0", approve=True, with_input=True, input_hash=INPUT, decision=ALLOW
    )
    spot = Spot(life, answer, "FC-GATE-003", APPROVER_2)
    spot.refuses("came with another input", input_hash=OTHER_INPUT)


def test_a_gate_expires_when_it_is_due() -> None:
    life = asking(ONE)
    due = life.run.gates["g0"].expires_at
    assert due is not None
    life.now += HOUR
    spot = Spot(life, ExpireGate(gate_id="g0"), "FC-GATE-004")
    spot.refuses("not due", at=due - 1)
    patient = asking()  # this gate waits for ever
    facts = {"gate_id": "g0", "step_id": "g", "gate_name": "Go?"}
    here(patient).refuses("not due", data=spot.event.data, at=due, **facts)


def test_a_bypass_has_a_reason_and_a_decision_and_says_nothing_of_a_doubt() -> None:
    life = asking()
    bypass = BypassGate(gate_id="g0", reason="fire", decision=ALLOW)
    spot = Spot(life, bypass, "FC-GATE-005", OFFICER)
    spot.refuses("an emergency has a reason", reason=" ")
    spot.refuses("no decision allows gate.bypass", actor=APPROVER_1)
    doubt = Life(ONE).started()
    doubt.propose("a")
    doubt.recover("a")
    gate = doubt.run.gates["g0"]
    facts = {"step_id": "a", "gate_name": gate.gate_name}
    here(doubt).refuses("does not say what happened", data=spot.event.data, **facts)


# receipts


def places() -> dict[str, Spot]:
    """One event of each kind that holds a receipt, none of them the first of its run."""
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    life.propose("a")
    done = Spot(life, CompleteStep(step_id="a", output_hash=OUTPUT), "FC-STEP-002")
    life = asking()
    life.approve("g0")
    bypass = BypassGate(gate_id="g0", reason="fire", decision=ALLOW)
    answer = AnswerGate(
        gate_id="g0", approve=True, with_input=True, input_hash=INPUT, decision=ALLOW
    )
    agreed = asking()
    agreed.answer("g0")
    due = asking(ONE)
    due.now += HOUR
    return {
        "completed": done,
        "answered": answering(life, APPROVER_2),
        "resumed": Spot(agreed, answer, "FC-GATE-003", APPROVER_2),
        "bypassed": Spot(life, bypass, "FC-GATE-005", OFFICER),
        "expired": Spot(due, ExpireGate(gate_id="g0"), "FC-GATE-004", SYSTEM),
    }


@pytest.mark.parametrize("kind", list(places()))
def test_a_receipt_tells_what_its_event_tells_and_nothing_else(kind: str) -> None:
    """Each member changed, each one dropped, one more: with the hash made anew."""
    spot = places()[kind]
    receipt = spot.event.data.receipt
    for name, value in receipt.items():
        for other in (None, True, 1, "x", OTHER_INPUT):
            if other is value or (other == value and type(other) is type(value)):
                continue
            changed = receipt | {name: other}
            spot.refuses(
                "tells something else|breaks the chain",
                receipt=changed,
                receipt_hash=receipt_hash(changed),
            )
        rest = {k: v for k, v in receipt.items() if k != name}
        spot.refuses(
            "tells something else|breaks the chain",
            receipt=rest,
            receipt_hash=receipt_hash(rest),
        )
    more = receipt | {"note": "x"}
    spot.refuses("tells something else", receipt=more, receipt_hash=receipt_hash(more))


@pytest.mark.parametrize("kind", list(places()))
def test_a_receipt_has_its_hash_and_links_to_the_one_before(kind: str) -> None:
    spot = places()[kind]
    spot.refuses("has another hash", receipt_hash=OTHER_INPUT)
    if spot.run.receipts:
        unlinked = spot.event.data.receipt | {"prev_receipt_hash": ZERO_HASH}
        spot.refuses("breaks the chain", receipt=unlinked, receipt_hash=receipt_hash(unlinked))
