"""Commands about a run: what they answer, what they refuse, how a run ends."""

from typing import get_args

import msgspec
import pytest
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    DENY,
    FLAG_BOTH,
    FLAG_FIN,
    INPUT,
    LOG,
    OFFICER,
    OUTPUT,
    STARTER,
    STRANGER,
    TENANT,
    Life,
    birth,
    decided,
    same,
    step,
    workflow,
)
from tests.spine_refusals import refused

from federation_core.errors import Forbidden
from federation_core.spine.commands import (
    ChangeStatus,
    CompleteRun,
    CompleteStep,
    FailRun,
    ProposeStep,
    RecordRefusal,
    RequestGate,
    StartRun,
)
from federation_core.spine.decision import Decision
from federation_core.spine.events import RunStatus
from federation_core.spine.handle import handle
from federation_core.spine.handle_run import MAX_REFUSALS
from federation_core.spine.turn import Turn

ONE = workflow(step("a", attempts=2))
PAIR = workflow(step("a"), step("b"))


def patch(status: RunStatus, decision: Decision = ALLOW) -> ChangeStatus:
    return ChangeStatus(status=status, decision=decision)


def status(life: Life) -> str:
    return life.run.status


# birth


def test_a_run_is_born_pending_with_a_decision() -> None:
    life = Life(ONE).born()
    assert life.codes == ["FC-RUN-001", "FC-POLICY-001"]
    assert (life.run.status, life.run.actor_id, life.run.via) == ("pending", "starter", "gateway")
    assert life.run.starter == STARTER
    assert life.run.tenant == TENANT
    assert life.run.input_hash == INPUT


def test_a_denied_birth_is_a_failed_run() -> None:
    life = Life(ONE).born(decision=DENY)
    assert life.codes == ["FC-RUN-001", "FC-POLICY-001", "FC-RUN-003"]
    assert (life.run.status, life.run.error_code) == ("failed", "policy_denied")


def test_a_flagged_birth_waits_for_people_and_then_starts() -> None:
    life = Life(ONE).born(decision=FLAG_BOTH)
    assert list(life.run.open_gates) == ["g0", "g1"]
    refused("invalid_transition", life, StartRun(decision=ALLOW))
    life.approve("g0")
    refused("invalid_transition", life, StartRun(decision=ALLOW))
    life.approve("g1", OFFICER)
    assert status(life) == "pending"
    life.do(StartRun(decision=ALLOW))
    assert status(life) == "running"


def test_a_run_is_created_once_and_first() -> None:
    refused("run_exists", Life(ONE).born(), birth(ONE), STARTER)
    for command in (
        StartRun(decision=ALLOW),
        patch("cancelled"),
        RequestGate(step_id=None, gate_name="x"),
    ):
        refused("run_exists", Life(ONE), command)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("cancelled", "The run is cancelled already; that is final."),
        ("running", "The run is cancelled, and cannot become running; that is final."),
    ],
)
def test_an_end_is_told_as_one(wanted: RunStatus, told: str) -> None:
    life = Life(ONE).started()
    life.change("cancelled")
    assert refused("invalid_transition", life, patch(wanted)).detail == told


# the engine's commands


def test_a_denied_start_ends_the_run() -> None:
    life = Life(ONE).born()
    life.do(StartRun(decision=DENY))
    assert status(life) == "failed"


def test_a_flagged_completion_waits_for_people() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.complete("a")
    life.do(CompleteRun(output_hash=OUTPUT, decision=FLAG_FIN))
    assert (life.run.status, life.run.reason) == ("paused", "waiting at gate run.complete: large")
    life.approve("g0")
    assert status(life) == "running"
    life.do(CompleteRun(output_hash=OUTPUT, decision=FLAG_FIN))
    assert (life.run.status, life.run.output_hash) == ("completed", OUTPUT)


def test_an_approved_completion_is_of_that_output_only() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.complete("a")
    life.do(CompleteRun(output_hash=OUTPUT, decision=FLAG_FIN))
    life.approve("g0")
    life.do(CompleteRun(output_hash=INPUT, decision=FLAG_FIN))
    assert status(life) == "paused"


def test_the_engine_completes_only_what_has_ended_well() -> None:
    complete = CompleteRun(output_hash=OUTPUT, decision=ALLOW)
    refused("invalid_transition", Life(ONE).born(), complete)
    life = Life(ONE).started()
    refused("step_pending", life, complete)
    life.propose("a")
    refused("step_pending", life, complete)
    life.complete("a")
    life.change("paused")
    refused("invalid_transition", life, complete)
    refused("external_run", Life().started_by_client(), complete)
    refused("external_run", Life().born(), StartRun(decision=ALLOW))


def test_an_ended_run_takes_nothing_but_refused_attempts() -> None:
    life = Life(PAIR).started()
    life.propose("a")
    life.change("cancelled", reason="enough")
    assert life.run.reason == "enough"
    refused("run_ended", life, FailRun(code="x", reason="x"))
    refused("run_ended", life, RequestGate(step_id=None, gate_name="x"))
    refused("run_ended", life, CompleteStep(step_id="a", output_hash=OUTPUT))
    refused("invalid_transition", life, StartRun(decision=ALLOW))
    propose = ProposeStep(step_id="b", step_type="ACT", input_hash=INPUT, decision=ALLOW)
    refused("run_not_running", life, propose)
    for wanted in get_args(RunStatus):
        refused("invalid_transition", life, patch(wanted), STARTER)
    life.do(RecordRefusal(action="run.pause", code="conflict", reason="ended", decision=DENY))
    assert life.codes[-2:] == ["FC-POLICY-001", "FC-AUTH-001"]
    assert status(life) == "cancelled"


# changes of status by clients


@pytest.mark.parametrize("status", ["completed", "failed", "running", "pending"])
def test_a_client_does_not_run_a_managed_run(status: RunStatus) -> None:
    code = "invalid_transition" if status == "pending" else "managed_run"
    refused(code, Life(ONE).started(), patch(status), STARTER)


def test_an_operators_pause_ends_when_an_operator_says_so() -> None:
    life = Life(PAIR).started()
    life.change("paused", reason="lunch")
    assert life.run.held
    life.request()
    life.approve("g0")
    assert (life.run.status, life.run.held) == ("paused", True)
    life.change("running")
    assert (life.run.status, life.run.held) == ("running", False)


def test_a_pending_gate_holds_the_run() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    refused("gate_pending", life, patch("running"), STARTER)
    life.approve("g0")
    assert status(life) == "running"


def test_a_denied_change_of_status_changes_nothing() -> None:
    error = refused("policy_denied", Life(ONE).started(), patch("paused", DENY), STARTER)
    assert isinstance(error, Forbidden)


def test_a_flagged_change_of_status_is_asked_for_again_once_approved() -> None:
    life = Life(ONE).started()
    life.change("cancelled", FLAG_FIN)
    assert status(life) == "paused"
    life.approve("g0")
    assert status(life) == "running"
    life.change("cancelled", FLAG_FIN)
    assert status(life) == "cancelled"


def test_an_approval_lets_one_change_through() -> None:
    life = Life(ONE).started()
    life.change("paused", FLAG_FIN)
    life.approve("g0")
    life.change("paused", FLAG_FIN)
    life.change("running")
    life.change("paused", FLAG_FIN)
    assert list(life.run.open_gates) == ["g1"]


def test_asking_again_before_people_answered_opens_no_second_gate() -> None:
    life = Life(ONE).started()
    life.change("cancelled", FLAG_FIN)
    life.change("cancelled", FLAG_FIN)
    assert list(life.run.gates) == ["g0"]


def test_a_failing_run_does_not_go_on() -> None:
    """`b` is under way while a gate about the run is rejected."""
    life = Life(PAIR).started()
    life.propose("b")
    life.request()
    life.reject("g0")
    assert (life.run.status, life.run.is_ended) == ("paused", False)
    refused("run_failing", life, patch("running"), STARTER)
    life.complete("b")
    assert (life.run.status, life.run.error_code) == ("failed", "gate_rejected")


def test_a_gate_requested_of_a_failing_run_pauses_it_like_any_other() -> None:
    life = Life(PAIR).started()
    life.propose("b")
    life.propose("a", DENY)
    assert status(life) == "running"
    life.request()
    assert status(life) == "paused"
    life.approve("g0")
    assert status(life) == "paused"
    life.complete("b")
    assert status(life) == "failed"


def test_cancelling_cuts_off_what_is_under_way() -> None:
    life = Life(PAIR).started()
    life.propose("a")
    life.change("cancelled")
    assert life.codes[-3:] == ["FC-POLICY-001", "FC-STEP-003", "FC-RUN-003"]
    assert life.run.steps["a"].state.status == "failed"
    assert not life.run.in_flight


# external runs


def test_an_external_run_is_reported_by_its_client() -> None:
    life = Life().started_by_client()
    life.change("running", current_step="two", step_index=2)
    assert (life.run.current_step, life.run.step_index) == ("two", 2)
    refused("invalid_transition", life, patch("running"), STARTER)
    life.propose("x")
    refused("step_running", life, patch("completed"), STARTER)
    life.complete("x")
    life.change("completed", output_hash=OUTPUT)
    assert (life.run.status, life.run.output_hash) == ("completed", OUTPUT)


def test_a_denied_step_of_an_external_run_ends_it_at_once() -> None:
    life = Life().started_by_client()
    life.propose("x")
    life.propose("y", DENY)
    assert status(life) == "failed"
    assert life.run.steps["x"].state.status == "failed"
    refused("run_ended", life, CompleteStep(step_id="x", output_hash=OUTPUT))


def test_an_external_run_fails_with_what_its_client_says() -> None:
    life = Life().started_by_client()
    life.change("failed", reason="broken", error_code="x", error_hash=INPUT)
    run = life.run
    assert (run.status, run.reason, run.error_code, run.error_hash) == (
        "failed",
        "broken",
        "x",
        INPUT,
    )


# refused attempts


def test_a_refused_attempt_is_only_told() -> None:
    """Neither the deny of a client's wish nor an allow or flag about a step acts on the run."""
    life = Life(ONE).born()
    before = life.run.doomed
    for action, decision in (
        ("run.start", DENY),
        ("run.complete", DENY),
        ("run.create", DENY),
        ("step.act", ALLOW),
        ("step.act", DENY),
        ("run.pause", FLAG_FIN),
    ):
        refusal = RecordRefusal(
            action=action, code="conflict", reason="no", step_id="a", decision=decision
        )
        turn = life.do(refusal, STRANGER)
        assert [e.type for e in turn.events] == ["FC-AUTH-001"]
    assert (life.run.status, life.run.doomed) == ("pending", before)
    assert not life.run.spent


def test_what_policy_denied_a_client_is_told_and_dooms_nothing() -> None:
    life = Life().born()
    for action in ("run.start", "run.complete", "run.pause"):
        refusal = RecordRefusal(action=action, code="policy_denied", reason="no", decision=DENY)
        turn = life.do(refusal, STARTER)
        assert [e.type for e in turn.events] == ["FC-POLICY-001", "FC-AUTH-001"]
    life.change("running")
    assert status(life) == "running"


def test_a_refused_attempt_does_not_use_an_approval_up() -> None:
    life = Life(ONE).started()
    life.change("paused", FLAG_FIN)
    life.approve("g0")
    life.do(RecordRefusal(action="run.pause", code="x", reason="x", decision=FLAG_FIN), STRANGER)
    life.change("paused", FLAG_FIN)
    assert status(life) == "paused"


def test_strangers_cannot_make_a_run_grow_for_ever() -> None:
    life = Life(ONE).born()
    refusal = RecordRefusal(action="run.pause", code="x", reason="x")
    for _ in range(MAX_REFUSALS):
        life.do(refusal, STRANGER)
    assert not life.do(refusal, STRANGER).events


# decisions and turns


def test_a_flag_that_names_no_rule_is_a_deny() -> None:
    """Fail closed: it would ask nobody, and all of nothing is covered."""
    life = Life(ONE).started()
    life.propose("a", decided("flag"))
    assert life.run.steps["a"].state.status == "denied"
    assert status(life) == "failed"
    pending = Life(ONE).born()
    pending.do(StartRun(decision=decided("flag")))
    assert pending.run.status == "failed"


def test_a_stricter_bundle_that_was_asked_too_is_in_the_receipt() -> None:
    strict = decided("deny", policy_hash="9" * 64)
    life = Life(ONE).born(decision=msgspec.structs.replace(DENY, tightened=strict))
    assert list(life.run.policy_hashes) == [DENY.policy_hash, "9" * 64]


def test_a_clock_that_steps_back_does_not_reorder_a_stream() -> None:
    life = Life(ONE).born()
    last = life.run.last_at
    turn = Turn(life.run, actor=APPROVER_1, now=last - 5, new_id=life.next_gate, log=LOG)
    handle(turn, StartRun(decision=ALLOW))
    assert {event.at for event in turn.events} == {last}


def test_a_turn_says_what_it_began_at_and_what_it_touched() -> None:
    life = Life(ONE).started()
    head = life.run.head
    turn = life.propose("a", FLAG_FIN)
    assert turn.base == head
    assert turn.events[0].seq == head.seq
    assert list(turn.touched_steps) == ["a"]
    assert list(turn.touched_gates) == ["g0"]


def test_replay_is_the_state() -> None:
    life = Life(PAIR).started()
    life.propose("a", FLAG_BOTH)
    life.approve("g0")
    assert same(life.replayed(), life.run)
    assert life.replayed().view() == life.run.view()
