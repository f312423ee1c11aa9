"""Commands about gates: who may answer, what an answer does, how a gate ends without one."""

from typing import Any

import pytest
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    APPROVER_2,
    DENY,
    FLAG_FIN,
    INPUT,
    OFFICER,
    OTHER_INPUT,
    STARTER,
    STRANGER,
    Life,
    decided,
    step,
    workflow,
)
from tests.spine_refusals import refused

from federation_core.errors import Forbidden, NotFound
from federation_core.spine.actor import Actor
from federation_core.spine.commands import AnswerGate, BypassGate, ExpireGate, RequestGate
from federation_core.spine.decision import Decision, Flag
from federation_core.spine.times import from_rfc3339

HOUR = 3_600_000_000
ONE = workflow(step("a"))


def waiting(mode: Any = "strict", **facts: Any) -> Life:
    """A run that waits at `g0`, which a client requested."""
    life = Life(ONE).started(mode=mode)
    life.request("a", **facts)
    return life


def answer(gate_id: str = "g0", *, approve: bool = True, **facts: Any) -> AnswerGate:
    return AnswerGate(gate_id=gate_id, approve=approve, **({"decision": ALLOW} | facts))


def bypass(decision: Decision = ALLOW, reason: str = "fire") -> BypassGate:
    return BypassGate(gate_id="g0", reason=reason, decision=decision)


# requests


def test_a_gate_that_a_client_requests_pauses_the_run() -> None:
    life = waiting(required_approvers=("role:fin",), quorum=2, expires_s=60)
    gate = life.run.gates["g0"]
    assert life.codes[-2:] == ["FC-GATE-001", "FC-RUN-002"]
    assert (life.run.status, life.run.reason) == ("paused", "waiting at gate ask")
    assert (gate.required_approvers, gate.quorum) == (("role:fin",), 2)
    assert gate.expires_at == life.now + 60_000_000


def test_what_a_client_requests_covers_nothing_that_policy_flags() -> None:
    life = waiting(gate_type="policy_check", required_approvers=("role:fin",))
    life.approve("g0")
    assert not life.propose("a", FLAG_FIN).permits


def test_only_the_server_asks_about_doubts() -> None:
    request = RequestGate(step_id="a", gate_name="x", gate_type="in_doubt")
    refused("gate_type_reserved", Life(ONE).started(), request, APPROVER_1)


def test_an_expiry_beyond_the_calendar_is_its_end() -> None:
    life = waiting(expires_s=10**15)
    assert life.run.gates["g0"].expires_at == from_rfc3339("9999-12-31T23:59:59.999999Z")
    flag = decided("flag", Flag("x", expires_s=10**15))
    life = Life(ONE).started()
    life.propose("a", flag)
    assert life.run.gates["g0"].expires_at == from_rfc3339("9999-12-31T23:59:59.999999Z")


# who may answer


@pytest.mark.parametrize("approvers", [("approver_1",), ("role:fin",), ("nobody", "role:fin"), ()])
def test_who_is_named_by_id_or_role_may_answer(approvers: tuple[str, ...]) -> None:
    life = waiting(required_approvers=approvers)
    life.approve("g0")
    assert life.run.status == "running"


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("actor", [OFFICER, STRANGER, Actor("x", roles=("Fin", "role:fin"))])
def test_who_is_not_named_may_not(actor: Actor, approve: bool) -> None:
    life = waiting(required_approvers=("role:fin", "approver_9"))
    error = refused("not_an_approver", life, answer(approve=approve), actor)
    assert isinstance(error, Forbidden)
    assert "role:fin, approver_9" in error.detail


@pytest.mark.parametrize(
    "actor", [STARTER, Actor("gateway", roles=("fin",)), Actor("puppet", via="starter")]
)
def test_who_started_the_run_may_not_in_strict_mode(actor: Actor) -> None:
    """Nor the delegate through which it came, nor anybody through whom the starter comes back."""
    refused("separation_of_duties", waiting(), answer(), actor)
    loose = waiting(mode="loose")
    loose.do(answer(), actor)
    assert loose.run.status == "running"


def test_policy_has_a_word_in_it() -> None:
    for decision in (DENY, FLAG_FIN, decided("flag")):
        error = refused("policy_denied", waiting(), answer(decision=decision), APPROVER_1)
        assert isinstance(error, Forbidden)


# answers


def test_a_quorum_is_of_different_people() -> None:
    life = waiting(quorum=2)
    life.approve("g0")
    refused("already_answered", life, answer(), APPROVER_1)
    refused("already_answered", life, answer(approve=False), APPROVER_1)
    refused("already_answered", life, answer(), Actor("approver_1", via="console"))
    assert life.run.gates["g0"].status == "pending"
    life.approve("g0", APPROVER_2)
    gate = life.run.gates["g0"]
    assert (gate.status, gate.resolved_by) == ("approved", "approver_2")
    assert [a.actor_id for a in gate.approvals] == ["approver_1", "approver_2"]


def test_one_rejection_is_enough() -> None:
    life = waiting(quorum=2)
    life.approve("g0")
    life.do(answer(approve=False, reason="too risky"), APPROVER_2)
    assert life.run.gates["g0"].rejection_reason == "too risky"
    assert (life.run.status, life.run.reason) == ("failed", "gate ask rejected: too risky")


def test_an_answer_is_to_a_pending_gate() -> None:
    life = waiting()
    assert isinstance(refused("gate_not_found", life, answer("ghost"), APPROVER_1), NotFound)
    life.approve("g0")
    for command in (answer(), answer(approve=False), bypass()):
        refused("gate_not_pending", life, command, APPROVER_2)
    ended = waiting()
    ended.change("cancelled")
    refused("run_ended", ended, answer(), APPROVER_1)


def test_an_input_is_in_the_answer_as_its_hash() -> None:
    life = waiting()
    turn = life.answer("g0")
    assert turn.events[1].type == "FC-GATE-003"
    assert turn.events[1].data.input_hash == INPUT
    assert life.run.gates["g0"].input_hash == INPUT


def test_people_agree_to_one_input() -> None:
    life = waiting(quorum=2)
    life.answer("g0", INPUT)
    other = answer(with_input=True, input_hash=OTHER_INPUT)
    refused("input_differs", life, other, APPROVER_2)
    life.approve("g0", APPROVER_2)
    assert life.run.gates["g0"].input_hash == INPUT


def test_a_doubt_is_answered_with_what_happened() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.recover("a")
    refused("input_required", life, answer(), APPROVER_1)
    refused("input_required", life, answer(input_hash=INPUT), APPROVER_1)
    refused("gate_not_bypassable", life, bypass(), OFFICER)


def test_an_answer_tells_who_and_through_whom() -> None:
    life = waiting()
    decision, event = life.approve("g0", APPROVER_2).events[:2]
    receipt = event.data.receipt
    assert (event.actor, event.via) == ("approver_2", "console")
    assert (receipt["actor_id"], receipt["via"]) == ("approver_2", "console")
    assert receipt["decision_hash"] == decision.hash
    assert decision.data.action == "gate.resolve"


# expiry


def test_a_gate_that_nobody_answered_in_time_is_refused() -> None:
    life = waiting(expires_s=60)
    refused("gate_not_due", life, ExpireGate(gate_id="g0"))
    life.now += HOUR
    refused("gate_expired", life, answer(), APPROVER_1)
    refused("gate_expired", life, bypass(), OFFICER)
    life.do(ExpireGate(gate_id="g0"))
    assert (life.run.status, life.run.error_code) == ("failed", "gate_expired")


def test_what_does_not_expire() -> None:
    life = waiting()
    life.now += 1000 * HOUR
    refused("gate_not_due", life, ExpireGate(gate_id="g0"))
    refused("gate_not_found", life, ExpireGate(gate_id="ghost"))
    life.approve("g0")
    refused("gate_not_pending", life, ExpireGate(gate_id="g0"))
    ended = waiting(expires_s=60)
    ended.change("cancelled")
    ended.now += HOUR
    refused("run_ended", ended, ExpireGate(gate_id="g0"))


# bypass


def test_an_emergency_lets_the_run_through() -> None:
    life = waiting(required_approvers=("role:fin",), quorum=2)
    decision, event = life.bypass("g0", STARTER).events[:2]
    assert (event.type, event.data.reason) == ("FC-GATE-005", "fire")
    assert decision.data.action == "gate.bypass"
    assert life.run.gates["g0"].status == "bypassed"
    assert life.run.status == "running"


def test_an_emergency_has_a_reason_and_an_allow() -> None:
    refused("reason_required", waiting(), bypass(reason=" \n"), OFFICER)
    refused("policy_denied", waiting(), bypass(DENY), OFFICER)
    refused("policy_denied", waiting(), bypass(FLAG_FIN), OFFICER)
