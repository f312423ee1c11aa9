"""What the fold refuses of runs and steps, whoever wrote it: what was replayed was lawful.

Each test takes a lawful event from a life and puts another in its place.
"""

from typing import get_args

import pytest
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    DENY,
    FLAG,
    FLAG_BOTH,
    FLAG_FIN,
    FLAG_OPS,
    INPUT,
    OFFICER,
    OTHER_INPUT,
    OUTPUT,
    STARTER,
    Life,
    Spot,
    birth,
    fork,
    gate_step,
    long_life,
    step,
    workflow,
)

from federation_core.errors import IntegrityError
from federation_core.spine.actor import Actor
from federation_core.spine.commands import (
    ChangeStatus,
    CompleteRun,
    CompleteStep,
    FailRun,
    FailStep,
    ProposeStep,
    RecordRefusal,
    RecoverStep,
    RetryStep,
    SkipStep,
    StartRun,
)
from federation_core.spine.decision import Decision, Flag
from federation_core.spine.definition import GateSpec
from federation_core.spine.events import (
    AttemptRefused,
    PolicyEvaluated,
    RunEnded,
    RunStatus,
    RunStatusChanged,
    StepError,
    StepRetryScheduled,
)
from federation_core.spine.fold import apply, replay

ONE = workflow(step("a", attempts=2))
PAIR = workflow(step("a"), step("b"))
CHAIN = workflow(step("a"), step("b", "a"))
ERROR = StepError(type="X", message="m")


def proposed(step_id: str = "a", decision: Decision = ALLOW) -> ProposeStep:
    return ProposeStep(step_id=step_id, step_type="ACT", input_hash=INPUT, decision=decision)


def starting(life: Life, step_id: str = "a") -> Spot:
    """Where a step starts: its allow is the event before."""
    return Spot(life, proposed(step_id), "FC-STEP-001")


def deciding(life: Life, step_id: str = "a", decision: Decision = ALLOW) -> Spot:
    return Spot(life, proposed(step_id, decision), "FC-POLICY-001")


# the chain


def test_the_order_the_links_and_the_clock() -> None:
    spot = starting(Life(ONE).started())
    spot.refuses("its seq should be", seq=spot.event.seq + 1)
    spot.refuses("its seq should be", seq=spot.event.seq - 1)
    spot.refuses("does not link", prev=OTHER_INPUT)
    spot.refuses("older than the event before", at=spot.event.at - 1)


def test_another_tenant_or_stream() -> None:
    spot = starting(Life(ONE).started())
    spot.refuses("belongs to another tenant", tenant="other")
    spot.refuses("belongs to another stream", stream="run:r2")


def test_an_event_of_another_kind_of_stream() -> None:
    spot = starting(Life(ONE).started())
    stranger = type("Stranger", (AttemptRefused,), {"code": "FC-WF-001"}, frozen=True)
    spot.refuses(
        "is not an event of a run",
        data=stranger(attempted="x", refusal_code="x", reason="x"),
    )


# the run


def test_a_run_begins_with_its_creation_and_has_one() -> None:
    spot = Spot(Life(ONE), birth(ONE), "FC-RUN-001", STARTER)
    spot.refuses(
        "begins with its creation",
        data=RunStatusChanged(previous_status="pending", new_status="running"),
    )
    spot.refuses("its stream names another run", run_id="r2")
    again = starting(Life(ONE).started())
    again.refuses("is created once", data=spot.event.data)


def test_a_managed_run_has_a_definition() -> None:
    life = Life(ONE).born()
    with pytest.raises(IntegrityError, match="its definition is missing"):
        replay(life.events, None)


def test_a_final_status_is_final() -> None:
    late = long_life()
    for event in late.events:
        if isinstance(event.data, (AttemptRefused, PolicyEvaluated)):
            continue
        spot = Spot(late, refusal(), "FC-AUTH-001")
        spot.refuses("the run is completed|is created once", data=event.data)


def test_after_the_end_no_decision_about_a_step() -> None:
    data = deciding(Life(ONE).started()).event.data
    life = Life(ONE).started()
    life.do(FailRun(code="x", reason="x"))
    Spot(life, refusal(), "FC-AUTH-001").refuses("the run is failed", data=data)


def refusal() -> RecordRefusal:
    return RecordRefusal(action="run.pause", code="x", reason="x")


def test_every_change_of_status_that_the_contract_does_not_have() -> None:
    lawful = {
        "pending": {"running", "cancelled", "failed"},
        "running": {"running", "paused", "completed", "failed", "cancelled"},
        "paused": {"running", "failed", "cancelled"},
    }
    for status, life in _in_each_status().items():
        for wanted in get_args(RunStatus):
            for data in (_change(status, wanted), _end(status, wanted)):
                fits = wanted in lawful[status] and _fits(data, wanted)
                if not fits:
                    spot = Spot(life, refusal(), "FC-AUTH-001")
                    spot.refuses("no transition|is not an end|only a running run", data=data)


def _in_each_status() -> dict[RunStatus, Life]:
    paused = Life().started_by_client()
    paused.change("paused")
    running = Life().started_by_client()
    return {"pending": Life().born(), "running": running, "paused": paused}


def _change(old: RunStatus, new: RunStatus) -> RunStatusChanged:
    return RunStatusChanged(previous_status=old, new_status=new, hold=True)


def _end(old: RunStatus, new: RunStatus) -> RunEnded:
    return RunEnded(previous_status=old, new_status=new, workflow_receipt_hash=INPUT)


def _fits(data: RunStatusChanged | RunEnded, wanted: RunStatus) -> bool:
    return isinstance(data, RunEnded) == (wanted in ("completed", "failed", "cancelled"))


def test_a_change_from_another_status_than_it_has() -> None:
    life = Life(ONE).started()
    pause = ChangeStatus(status="paused", decision=ALLOW)
    Spot(life, pause, "FC-RUN-002", STARTER).refuses("the run is running", previous_status="paused")
    spot = Spot(life, FailRun(code="x", reason="x"), "FC-RUN-003")
    spot.refuses("the run is running", previous_status="paused")


def test_no_start_pause_resume_or_completion_without_an_allow() -> None:
    life = Life(ONE).born()
    undecided(life, StartRun(decision=ALLOW), "FC-RUN-002")
    life.do(StartRun(decision=ALLOW))
    undecided(life, ChangeStatus(status="paused", decision=ALLOW), "FC-RUN-002")
    life.change("paused")
    undecided(life, ChangeStatus(status="running", decision=ALLOW), "FC-RUN-002")
    life.change("running")
    life.propose("a")
    life.complete("a")
    undecided(life, CompleteRun(output_hash=OUTPUT, decision=ALLOW), "FC-RUN-003")


def undecided(life: Life, command: StartRun | ChangeStatus | CompleteRun, code: str) -> None:
    """The event right after an allow is refused where that is of another actor or not there."""
    spot = Spot(life, command, code)
    spot.refuses("no decision allows run", actor=Actor("somebody"))
    before = Spot(life, command, "FC-POLICY-001")
    data = spot.event.data
    if isinstance(data, RunEnded):
        before.refuses("no decision allows run|tells something else", data=data)
    else:
        before.refuses("no decision allows run", data=data)


def test_a_pause_without_a_cause() -> None:
    spot = Spot(
        Life(ONE).started(), ChangeStatus(status="paused", decision=ALLOW), "FC-RUN-002", STARTER
    )
    spot.refuses("no gate is pending", hold=False)


def test_running_on_with_an_open_gate() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    spot = Spot(life, refusal(), "FC-AUTH-001")
    data = RunStatusChanged(previous_status="paused", new_status="running")
    spot.refuses("a gate is pending", data=data)


def test_a_managed_run_reports_no_progress_of_its_own() -> None:
    spot = Spot(Life(ONE).started(), refusal(), "FC-AUTH-001")
    data = RunStatusChanged(previous_status="running", new_status="running", current_step="x")
    spot.refuses("its own progress", data=data)


def test_completing_before_the_steps_have_ended() -> None:
    life = Life(CHAIN).started()
    life.propose("a")
    life.complete("a")
    spot = Spot(life, FailRun(code="x", reason="x"), "FC-RUN-003")
    spot.refuses("steps have not ended", new_status="completed")
    life.propose("b")
    spot = Spot(life, refusal(), "FC-AUTH-001")
    spot.refuses("steps are in flight", data=_end("running", "failed"))


def test_a_workflow_receipt_that_tells_something_else() -> None:
    spot = Spot(Life(ONE).started(), FailRun(code="x", reason="x"), "FC-RUN-003")
    spot.refuses("its receipt tells something else", workflow_receipt_hash=OTHER_INPUT)
    spot.refuses("its receipt tells something else", new_status="cancelled")


# what was denied or refused is final


def doomed() -> Life:
    """`b` is in flight, `a` was denied: the run fails when `b` has ended."""
    life = Life(PAIR).started()
    life.propose("b")
    life.propose("a", DENY)
    assert life.run.status == "running"
    return life


def test_a_denied_step_is_not_decided_again() -> None:
    spot = Spot(doomed(), refusal(), "FC-AUTH-001")
    allow = deciding(Life(PAIR).started()).event.data
    spot.refuses("the run is failing", data=allow)


def test_a_denied_step_is_not_started_retried_or_skipped() -> None:
    spot = Spot(doomed(), refusal(), "FC-AUTH-001")
    start = starting(Life(PAIR).started()).event.data
    spot.refuses("the run is failing", data=start)
    late = "2026-11-23T13:00:00.000000Z"
    data = StepRetryScheduled(step_id="a", attempt=2, not_before=late)
    spot.refuses("the step is denied", data=data)
    skip = Spot(Life(PAIR).started(), SkipStep(step_id="a"), "FC-STEP-006").event.data
    spot.refuses("the step is denied", data=skip)


def test_a_step_that_was_allowed_does_not_start_once_another_was_denied() -> None:
    """The allow of `b` is durable, its start is not; then `a` is denied."""
    life = Life(PAIR).started()
    spot = starting(life, "b")
    denied = Spot(life, proposed("a", DENY), "FC-POLICY-001").event.data
    deny = spot.other(data=denied)
    apply(spot.run, deny)
    head = spot.run.head
    spot.refuses("the run is failing", seq=head.seq, prev=head.hash)


def test_a_doomed_run_neither_goes_on_nor_completes() -> None:
    life = doomed()
    life.change("paused")
    data = RunStatusChanged(previous_status="paused", new_status="running")
    Spot(life, refusal(), "FC-AUTH-001").refuses("what was denied or refused is final", data=data)
    spot = Spot(doomed(), refusal(), "FC-AUTH-001")
    spot.refuses("what was denied or refused is final", data=_end("running", "completed"))


def test_a_retry_does_not_undo_a_rejected_gate() -> None:
    """The gate was about the very step that fails afterwards."""
    life = Life(workflow(step("a", attempts=2), step("b"))).started()
    life.propose("a")
    life.request("a")
    life.reject("g0")
    assert life.run.doomed
    spot = Spot(life, FailStep(step_id="a", error=ERROR), "FC-RUN-003")
    late = "2026-11-23T13:00:00.000000Z"
    data = StepRetryScheduled(step_id="a", attempt=2, not_before=late)
    spot.refuses("failing for another reason", data=data)


# decisions about a step


def test_a_decision_is_about_a_step_attempt_type_and_input_of_the_run() -> None:
    spot = deciding(Life(CHAIN).started())
    spot.refuses("the workflow has no step", step_id="ghost")
    spot.refuses("at attempt 1", attempt=2)
    spot.refuses("another's", action="step.observe")
    spot.refuses("another's", step_type="OBSERVE")
    spot.refuses("names its input", subject_hash=None)
    spot.refuses("have not ended", step_id="b")


def test_no_decision_about_a_step_that_has_one_or_while_the_run_waits() -> None:
    life = Life(PAIR).started()
    data = deciding(life).event.data
    life.propose("a")
    Spot(life, refusal(), "FC-AUTH-001").refuses("the step is running", data=data)
    life = Life(PAIR).started()
    life.propose("b", FLAG_FIN)
    Spot(life, refusal(), "FC-AUTH-001").refuses("the run is paused", data=data)


def test_a_flag_says_what_it_flags() -> None:
    deciding(Life(ONE).started(), decision=FLAG_FIN).refuses("says what it flags", flags=())


# flags and the gates that cover them


def flagged(decision: Decision = FLAG_FIN) -> Life:
    """`a` was flagged, and people let it through: `g0` (finance), `g1` (operations)."""
    life = Life(ONE).started()
    life.propose("a", decision)
    life.approve("g0", OFFICER if decision is FLAG_OPS else APPROVER_1)
    if decision is FLAG_BOTH:
        life.approve("g1", OFFICER)
    return life


def test_an_allow_with_flags_that_nothing_covers() -> None:
    spot = deciding(flagged(), decision=FLAG_FIN)
    spot.refuses("its flag large is not covered", covered_by=())
    spot.refuses("there is no gate ghost", covered_by=("ghost",))


def test_a_gate_that_covers_one_flag_of_two() -> None:
    spot = deciding(flagged(FLAG_BOTH), decision=FLAG_BOTH)
    spot.refuses("its flag odd is not covered", covered_by=("g0",))
    spot.refuses("its flag large is not covered", covered_by=("g1",))


def test_a_gate_about_another_input_step_rule_or_action() -> None:
    spot = deciding(flagged(), decision=FLAG_FIN)
    spot.refuses("gate g0 does not cover it", subject_hash=OTHER_INPUT)
    spot.refuses("gate g0 does not cover it", flags=(Flag("odd", FLAG.approvers),))
    spot.refuses("gate g0 does not cover it", action="step.observe")
    life = Life(PAIR).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    data = deciding(life, "a", FLAG_FIN).event.data
    deciding(life, "b").refuses("gate g0 does not cover it", data=data, step_id="b")


def test_a_gate_that_asked_other_people() -> None:
    spot = deciding(flagged(), decision=FLAG_FIN)
    spot.refuses("does not cover it", flags=(Flag("large", ("role:ops",)),))
    spot.refuses("does not cover it", flags=(Flag("large", FLAG.approvers, quorum=2),))


def test_a_gate_that_nobody_passed() -> None:
    data = deciding(flagged(), decision=FLAG_FIN).event.data
    life = Life(PAIR).started()
    life.propose("b")
    life.propose("a", FLAG_FIN)
    Spot(life, refusal(), "FC-AUTH-001").refuses("gate g0 does not cover it", data=data)
    life.reject("g0")
    Spot(life, refusal(), "FC-AUTH-001").refuses("gate g0 does not cover it", data=data)


def test_a_change_of_status_uses_an_approval_up() -> None:
    life = Life(ONE).started()
    life.change("paused", FLAG_FIN)
    life.approve("g0")
    pause = ChangeStatus(status="paused", decision=FLAG_FIN)
    data = Spot(life, pause, "FC-POLICY-001", STARTER).event.data
    life.change("paused", FLAG_FIN)
    life.change("running")
    Spot(life, refusal(), "FC-AUTH-001").refuses("gate g0 was used already", data=data)


def test_a_gate_that_covers_nothing_of_it_is_not_named() -> None:
    spot = deciding(flagged(FLAG_BOTH), decision=FLAG_FIN)
    spot.refuses("gate g1 does not cover it", covered_by=("g0", "g1"))
    plain = deciding(flagged(), decision=ALLOW)
    plain.refuses("gate g0 does not cover it", covered_by=("g0",))
    plain.refuses("gate g0 does not cover it", decision="deny", covered_by=("g0",))


# starts


def test_a_step_that_nothing_decided_does_not_start() -> None:
    life = Life(ONE).started()
    data = starting(life).event.data
    deciding(life).refuses("no decision allows it", data=data)
    deciding(life).refuses("there is no step", data=data, step_id="ghost")


def test_a_step_that_was_flagged_does_not_start() -> None:
    data = starting(Life(ONE).started()).event.data
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    Spot(life, refusal(), "FC-AUTH-001").refuses("the run is paused", data=data)
    life.approve("g0")
    Spot(life, refusal(), "FC-AUTH-001").refuses("no decision allows it", data=data)


def test_a_start_is_of_the_attempt_and_input_that_were_allowed() -> None:
    spot = starting(Life(ONE).started())
    spot.refuses("not the attempt and input", input_hash=OTHER_INPUT)
    spot.refuses("not the attempt and input", attempt=2)
    spot.refuses("not the attempt and input", decision_hash=OTHER_INPUT)
    spot.refuses("type, index or key", idempotency_key="r1:a:2")
    spot.refuses("type, index or key", step_type="OBSERVE")
    spot.refuses("type, index or key", step_index=1)


def test_one_allow_starts_a_step_once() -> None:
    life = Life(ONE).started()
    data = starting(life).event.data
    life.propose("a")
    spot = Spot(life, refusal(), "FC-AUTH-001")
    spot.refuses("no decision allows it", data=data)
    spot.refuses("the step is not idempotent", data=data, again=True)
    life.complete("a")
    Spot(life, refusal(), "FC-AUTH-001").refuses("no decision allows it", data=data)


def test_again_is_for_a_running_idempotent_step_of_a_managed_run() -> None:
    life = Life(workflow(step("a", idempotent=True))).started()
    starting(life).refuses("only a running step", again=True)
    life.propose("a")
    again = Spot(life, RecoverStep(step_id="a"), "FC-STEP-001")
    again.refuses("not the attempt and input", input_hash=OTHER_INPUT)
    outside = Life().started_by_client()
    data = starting(outside).event.data
    outside.propose("a")
    Spot(outside, refusal(), "FC-AUTH-001").refuses("not idempotent", data=data, again=True)


# ends


def running() -> Life:
    life = Life(PAIR).started()
    life.propose("a")
    return life


def test_a_step_that_is_not_running_does_not_end() -> None:
    life = running()
    done = Spot(life, CompleteStep(step_id="a", output_hash=OUTPUT), "FC-STEP-002")
    done.refuses("the step is pending", step_id="b")
    done.refuses("there is no step", step_id="ghost")
    done.refuses("it is another attempt", attempt=2)
    failed = Spot(life, FailStep(step_id="a", error=ERROR), "FC-STEP-003")
    failed.refuses("the step is pending", step_id="b")
    failed.refuses("it is another attempt", attempt=2)
    life.complete("a")
    spot = Spot(life, refusal(), "FC-AUTH-001")
    spot.refuses("the step is completed", data=done.event.data)
    spot.refuses("the step is completed", data=failed.event.data)


def test_a_gate_step_ends_when_people_let_it() -> None:
    life = Life(workflow(gate_step("g", gate=GateSpec("Go?")))).started()
    life.propose("g")
    asked = fork(life.run)
    life.approve("g0")
    data = Spot(life, CompleteStep(step_id="g", output_hash=OUTPUT), "FC-STEP-002").event.data
    life.run = asked
    spot = Spot(life, refusal(), "FC-AUTH-001")
    spot.refuses("its gate was not approved", data=data)
    never = Spot(Life(life.definition).started(), proposed("g"), "FC-GATE-001")
    never.refuses("its gate was never requested", data=data)


def in_doubt() -> Life:
    life = running()
    life.recover("a")
    return life


def test_a_step_in_doubt_ends_when_people_say_so() -> None:
    life = running()
    late = "2026-11-23T13:00:00.000000Z"
    retry = StepRetryScheduled(step_id="a", attempt=2, not_before=late)
    done = Spot(life, CompleteStep(step_id="a", output_hash=OUTPUT), "FC-STEP-002").event.data
    failed = Spot(life, FailStep(step_id="a", error=ERROR), "FC-STEP-003").event.data
    spot = Spot(in_doubt(), refusal(), "FC-AUTH-001")
    for data in (retry, done, failed):
        spot.refuses("its gate (was|is) not approved", data=data)


def test_only_a_running_attempt_is_in_doubt() -> None:
    spot = Spot(running(), RecoverStep(step_id="a"), "FC-STEP-005")
    spot.refuses("the step is pending", step_id="b")
    spot.refuses("it is another attempt", attempt=2)


# retries and skips


def test_a_retry_is_the_next_attempt_of_what_failed() -> None:
    life = Life(ONE).started()
    life.propose("a")
    fail = FailStep(step_id="a", error=ERROR, retriable=True)
    spot = Spot(life, fail, "FC-STEP-004")
    spot.refuses("the next attempt is 2", attempt=3)
    spot.refuses("the next attempt is 2", attempt=1)
    spot.refuses("is not an RFC 3339 time", not_before="soon")
    Spot(life, refusal(), "FC-AUTH-001").refuses("the step is running", data=spot.event.data)
    doubt = in_doubt()
    doubt.answer("g0")
    Spot(doubt, RetryStep(step_id="a"), "FC-STEP-004").refuses("the next attempt is 2", attempt=1)


def test_a_skip_is_of_a_step_that_is_due_and_undecided() -> None:
    spot = Spot(Life(CHAIN).started(), SkipStep(step_id="a"), "FC-STEP-006")
    spot.refuses("have not ended", step_id="b")
    spot.refuses("there is no step", step_id="ghost")
    Spot(running(), refusal(), "FC-AUTH-001").refuses("the step is running", data=spot.event.data)
    life = Life(PAIR).started()
    life.change("paused")
    Spot(life, refusal(), "FC-AUTH-001").refuses("the run is paused", data=spot.event.data)
