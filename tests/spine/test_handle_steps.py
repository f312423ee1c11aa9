"""Commands about steps: decisions, permits, ends, retries, and what a crash leaves behind."""

from typing import Any

import pytest
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    APPROVER_2,
    DENY,
    FLAG_BOTH,
    FLAG_FIN,
    INPUT,
    OFFICER,
    OTHER_INPUT,
    OUTPUT,
    SAID,
    Life,
    decided,
    gate_step,
    step,
    workflow,
)
from tests.spine_refusals import refused

from federation_core.spine.commands import (
    CompleteStep,
    FailStep,
    ProposeStep,
    RecoverStep,
    RetryStep,
    SkipStep,
)
from federation_core.spine.decision import Flag
from federation_core.spine.definition import (
    ExpressionWork,
    GateSpec,
    Retry,
    StepSpec,
    StepType,
    Workflow,
)
from federation_core.spine.steps import Completed, Failed, InDoubt, Pending, Running

ONE = workflow(step("a", attempts=2))
CHAIN = workflow(step("a"), step("b", "a"))
PAIR = workflow(step("a"), step("b"))


def propose(step_id: str = "a", **facts: Any) -> ProposeStep:
    plain: dict[str, Any] = {"step_type": "ACT", "input_hash": INPUT, "decision": ALLOW}
    return ProposeStep(step_id=step_id, **(plain | facts))


def done(step_id: str = "a") -> CompleteStep:
    return CompleteStep(step_id=step_id, output_hash=OUTPUT)


def state(life: Life, step_id: str = "a") -> Any:
    return life.run.steps[step_id].state


# decisions


def test_an_allow_starts_the_step_in_the_same_turn() -> None:
    life = Life(ONE).started()
    turn = life.propose("a")
    decision, start = turn.events
    (permit,) = turn.permits
    assert (decision.type, start.type) == ("FC-POLICY-001", "FC-STEP-001")
    assert (permit.step_id, permit.attempt, permit.input_hash) == ("a", 1, INPUT)
    assert permit.decision_hash == decision.hash == start.data.decision_hash
    assert start.data.idempotency_key == "r1:a:1"
    assert isinstance(state(life), Running)


def test_a_deny_gives_no_permit_and_ends_the_run() -> None:
    life = Life(CHAIN).started()
    turn = life.propose("a", DENY)
    assert not turn.permits
    assert life.run.status == "failed"
    assert life.run.reason == "step a denied: it is deny"


def test_a_deny_waits_for_what_is_under_way() -> None:
    life = Life(PAIR).started()
    life.propose("b")
    life.propose("a", DENY)
    assert life.run.status == "running"
    refused("run_not_running", life, propose("b"))
    life.complete("b")
    assert (life.run.status, life.run.error_code) == ("failed", "policy_denied")


def test_a_flag_asks_people_and_then_policy_again() -> None:
    life = Life(ONE).started()
    turn = life.propose("a", FLAG_FIN)
    assert not turn.permits
    assert (life.run.status, state(life).status) == ("paused", "waiting")
    refused("run_not_running", life, propose())
    life.approve("g0")
    assert life.run.status == "running"
    turn = life.propose("a", FLAG_FIN)
    assert turn.events[0].data.covered_by == ("g0",)
    assert turn.events[0].data.decision == "allow"
    assert len(turn.permits) == 1


def test_policy_may_have_changed_its_mind_after_the_approval() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    life.propose("a", FLAG_BOTH)  # the current bundle flags one thing more
    assert list(life.run.open_gates) == ["g1"]
    life.approve("g1", OFFICER)
    life.propose("a", DENY)
    assert state(life).status == "denied"


def test_an_approval_is_of_one_input() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    turn = life.propose("a", FLAG_FIN, input_hash=OTHER_INPUT)
    assert not turn.permits
    assert list(life.run.open_gates) == ["g1"]


def test_an_approval_holds_for_a_retry_with_the_same_input() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    life.propose("a", FLAG_FIN)
    life.fail("a", retriable=True)
    turn = life.propose("a", FLAG_FIN)
    assert turn.events[0].data.covered_by == ("g0",)
    assert turn.permits[0].attempt == 2


def test_an_approval_by_others_than_policy_asks_for_now() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    two = decided("flag", Flag("large", approvers=("role:fin",), quorum=2))
    assert not life.propose("a", two).permits
    life.approve("g1")
    assert life.run.status == "paused"
    life.approve("g1", APPROVER_2)
    assert life.propose("a", two).permits


def test_flags_of_one_requirement_share_a_gate() -> None:
    life = Life(ONE).started()
    flags = (Flag("x", ("officer",)), Flag("y", ("officer",)), Flag("z"))
    life.propose("a", decided("flag", *flags))
    gates = life.run.gates
    assert {g: gates[g].covers for g in gates} == {"g0": ("x", "y"), "g1": ("z",)}
    assert gates["g0"].required_approvers == ("officer",)


def test_a_bypass_covers_what_an_approval_would() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_BOTH)
    life.bypass("g0")
    life.approve("g1", OFFICER)
    assert life.propose("a", FLAG_BOTH).permits


def test_steps_that_cannot_be_proposed() -> None:
    life = Life(CHAIN).born()
    refused("run_not_running", life, propose())
    life = Life(CHAIN).started()
    refused("step_not_found", life, propose("ghost"))
    refused("step_not_ready", life, propose("b"))
    life.propose("a")
    refused("step_not_pending", life, propose())
    life.complete("a")
    refused("step_not_pending", life, propose())
    life.propose("b")
    life.change("paused")
    refused("run_not_running", life, propose("b"))


def test_the_type_of_a_managed_step_is_its_workflows() -> None:
    life = Life(workflow(step("a", kind="OBSERVE"))).started()
    turn = life.propose("a", kind="ACT")
    assert turn.events[0].data.action == "step.observe"


# ends


def test_a_completed_step_has_a_receipt_and_lets_others_go_on() -> None:
    life = Life(CHAIN).started()
    life.propose("a")
    turn = life.complete("a")
    (event,) = turn.events
    assert event.data.duration_ms == 1000
    assert event.data.receipt["status"] == "completed"
    assert life.run.receipts == [event.data.receipt_hash]
    assert isinstance(state(life), Completed)
    assert list(life.run.ready) == ["b"]


def test_an_end_is_of_a_step_that_was_started() -> None:
    life = Life(PAIR).started()
    for command in (done(), FailStep(step_id="a", error_type="X"), done("ghost")):
        error = refused("step_not_running", life, command)
        assert "report it as running first" in error.detail
    life.propose("a")
    life.complete("a")
    error = refused("step_not_running", life, done())
    assert "is completed already" in error.detail


def test_a_failed_step_fails_the_run() -> None:
    life = Life(PAIR).started()
    life.propose("a")
    life.propose("b")
    life.fail("a", retriable=True)
    assert life.run.status == "running"
    refused("run_not_running", life, SkipStep(step_id="b"))
    life.complete("b")
    assert life.run.reason == "step a failed: TimeoutError"
    assert (life.run.status, life.run.error_code) == ("failed", "step_failed")
    assert life.run.error_hash == SAID


# retries


def test_a_retry_waits_longer_each_time_and_not_for_ever() -> None:
    spec = StepSpec(
        id="a",
        type=StepType.ACT,
        work=ExpressionWork(1),
        retry=Retry(max_attempts=3, backoff_ms=1000, factor_pct=300, max_backoff_ms=2000),
    )
    life = Life(Workflow(id="wf", version="1.0.0", steps=(spec,)))
    assert [spec.retry.delay_ms(n) for n in (1, 2, 3, 4)] == [1000, 2000, 2000, 2000]
    life.started()
    for attempt, delay in ((1, 1_000_000), (2, 2_000_000)):
        assert life.propose("a").permits[0].attempt == attempt
        life.fail("a", retriable=True)
        assert state(life) == Pending(attempt + 1, life.now + delay)
        assert life.run.doomed is None
    life.propose("a")
    life.fail("a", retriable=True)
    assert life.run.status == "failed"


def test_what_may_not_be_repeated_is_not_retried() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.fail("a", retriable=False)
    assert life.run.status == "failed"


def test_nothing_is_retried_in_a_run_that_is_failing() -> None:
    life = Life(workflow(step("a", attempts=2), step("b"))).started()
    life.propose("a")
    life.propose("b", DENY)
    life.fail("a", retriable=True)
    assert (life.run.status, life.run.error_code) == ("failed", "policy_denied")


def test_a_client_tries_again_by_reporting_it_running_again() -> None:
    life = Life().started_by_client()
    life.propose("x", kind="OBSERVE")
    life.fail("x")
    assert life.run.status == "running"
    turn = life.propose("x", kind="ACT")
    assert [e.type for e in turn.events] == ["FC-STEP-004", "FC-POLICY-001", "FC-STEP-001"]
    assert turn.permits[0].attempt == 2
    assert turn.events[1].data.action == "step.observe"


# skips


def test_a_skipped_step_lets_others_go_on() -> None:
    life = Life(CHAIN).started()
    refused("step_not_ready", life, SkipStep(step_id="b"))
    refused("step_not_found", life, SkipStep(step_id="ghost"))
    life.do(SkipStep(step_id="a"))
    assert life.run.steps["a"].attempt == 0
    refused("step_not_pending", life, SkipStep(step_id="a"))
    life.propose("b")
    refused("step_not_pending", life, SkipStep(step_id="b"))
    refused("step_not_found", Life().started_by_client(), SkipStep(step_id="x"))


# after a crash


def test_an_idempotent_step_starts_again_with_its_key() -> None:
    life = Life(workflow(step("a", idempotent=True))).started()
    first = life.propose("a")
    turn = life.recover("a")
    assert turn.permits == first.permits
    assert turn.events[0].data.again
    assert turn.events[0].data.idempotency_key == first.events[1].data.idempotency_key
    assert state(life).started_at == first.events[1].at


def in_doubt() -> Life:
    life = Life(ONE).started()
    life.propose("a")
    turn = life.recover("a")
    assert not turn.permits
    return life


def test_any_other_step_is_in_doubt_and_a_person_says_what_happened() -> None:
    life = in_doubt()
    assert life.codes[-3:] == ["FC-STEP-005", "FC-GATE-001", "FC-RUN-002"]
    assert isinstance(state(life), InDoubt)
    assert (life.run.status, life.run.gates["g0"].gate_type) == ("paused", "in_doubt")
    refused("step_not_running", life, RecoverStep(step_id="a"))


@pytest.mark.parametrize(
    "command",
    [
        done(),
        FailStep(step_id="a", error_type="X"),
        FailStep(step_id="a", error_type="X", retriable=True),
        RetryStep(step_id="a"),
    ],
)
def test_nobody_but_a_person_ends_a_doubt(command: Any) -> None:
    """A driver that was thought dead reports late, or the next one is too eager."""
    refused("gate_pending", in_doubt(), command)


def test_it_happened() -> None:
    life = in_doubt()
    life.answer("g0")
    life.complete("a")
    assert isinstance(state(life), Completed)


def test_it_did_not_happen() -> None:
    life = in_doubt()
    life.answer("g0")
    life.do(RetryStep(step_id="a"))
    assert state(life) == Pending(2, life.now)
    assert life.propose("a").permits[0].attempt == 2
    refused("step_not_in_doubt", life, RetryStep(step_id="a"))


def test_giving_up() -> None:
    life = in_doubt()
    life.reject("g0")
    assert (life.run.status, life.run.error_code) == ("failed", "gate_rejected")
    refused("step_not_in_doubt", life, RetryStep(step_id="a"))


def test_what_was_lost_in_a_failing_run_has_failed() -> None:
    life = Life(workflow(step("a", idempotent=True), step("b"))).started()
    life.propose("a")
    life.propose("b", DENY)
    assert not life.recover("a").permits
    assert isinstance(state(life), Failed)
    assert life.run.status == "failed"


def test_only_what_runs_in_a_managed_run_is_recovered() -> None:
    refused("step_not_running", Life(ONE).started(), RecoverStep(step_id="a"))
    refused("step_not_running", Life(ONE).started(), RecoverStep(step_id="ghost"))
    life = Life().started_by_client()
    life.propose("x")
    refused("external_run", life, RecoverStep(step_id="x"))


# GATE steps


def test_a_gate_step_waits_for_its_people() -> None:
    gate = GateSpec("Go?", description="Is it safe?", approvers=("role:fin",), quorum=2)
    life = Life(workflow(gate_step("g", gate=gate), step("a", "g"))).started()
    turn = life.propose("g")
    assert not turn.permits
    assert life.run.gates["g0"].description == "Is it safe?"
    refused("gate_pending", life, done("g"))
    life.approve("g0", APPROVER_1)
    refused("gate_pending", life, done("g"))
    life.approve("g0", APPROVER_2)
    life.complete("g")
    assert list(life.run.ready) == ["a"]


def test_a_gate_step_with_a_schema_keeps_it() -> None:
    gate = GateSpec("Go?", input_schema={"type": "object"})
    life = Life(workflow(gate_step("g", gate=gate))).started()
    turn = life.propose("g")
    assert turn.values == {life.run.gates["g0"].input_schema_hash: {"type": "object"}}


def test_a_gate_step_that_names_nobody_asks_where_policy_flags() -> None:
    life = Life(workflow(gate_step("g"))).started()
    turn = life.propose("g")
    assert [e.type for e in turn.events] == ["FC-POLICY-001", "FC-STEP-001", "FC-STEP-002"]
    assert not turn.permits
    assert list(turn.values.values()) == [{"approved": True, "approved_by": [], "input": None}]
    life = Life(workflow(gate_step("g"))).started()
    life.propose("g", FLAG_FIN)
    life.approve("g0")
    turn = life.propose("g", FLAG_FIN)
    assert next(iter(turn.values.values()))["approved_by"] == ["approver_1"]


def test_a_cancelled_run_does_not_complete_a_gate_step_that_passed() -> None:
    life = Life(workflow(gate_step("g", gate=GateSpec("Go?")))).started()
    life.propose("g")
    life.approve("g0")
    life.change("cancelled")
    refused("run_ended", life, done("g"))
