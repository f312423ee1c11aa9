"""What the fold refuses of steps, whoever wrote it: decisions, starts, ends, retries, skips."""

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
    PAIR,
    STARTER,
    Life,
    doomed,
    fork,
    gate_step,
    step,
    workflow,
)
from tests.spine_refusals import Spot, here

from federation_core.spine.commands import (
    ChangeStatus,
    CompleteStep,
    FailStep,
    ProposeStep,
    RecoverStep,
    RetryStep,
    SkipStep,
)
from federation_core.spine.decision import Decision, Flag
from federation_core.spine.definition import GateSpec
from federation_core.spine.events import (
    StepRetryScheduled,
)
from federation_core.spine.fold import apply

ONE = workflow(step("a", attempts=2))
CHAIN = workflow(step("a"), step("b", "a"))


def proposed(step_id: str = "a", decision: Decision = ALLOW) -> ProposeStep:
    return ProposeStep(step_id=step_id, step_type="ACT", input_hash=INPUT, decision=decision)


def starting(life: Life, step_id: str = "a") -> Spot:
    """Where a step starts: its allow is the event before."""
    return Spot(life, proposed(step_id), "FC-STEP-001")


def deciding(life: Life, step_id: str = "a", decision: Decision = ALLOW) -> Spot:
    return Spot(life, proposed(step_id, decision), "FC-POLICY-001")


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
    here(life).refuses("the step is running", data=data)
    life = Life(PAIR).started()
    life.propose("b", FLAG_FIN)
    here(life).refuses("the run is paused", data=data)


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
    here(life).refuses("gate g0 does not cover it", data=data)
    life.reject("g0")
    here(life).refuses("gate g0 does not cover it", data=data)


def test_a_change_of_status_uses_an_approval_up() -> None:
    life = Life(ONE).started()
    life.change("paused", FLAG_FIN)
    life.approve("g0")
    pause = ChangeStatus(status="paused", decision=FLAG_FIN)
    data = Spot(life, pause, "FC-POLICY-001", STARTER).event.data
    life.change("paused", FLAG_FIN)
    life.change("running")
    here(life).refuses("gate g0 was used already", data=data)


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
    here(life).refuses("the run is paused", data=data)
    life.approve("g0")
    here(life).refuses("no decision allows it", data=data)


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
    spot = here(life)
    spot.refuses("no decision allows it", data=data)
    spot.refuses("the step is not idempotent", data=data, again=True)
    life.complete("a")
    here(life).refuses("no decision allows it", data=data)


def test_again_is_for_a_running_idempotent_step_of_a_managed_run() -> None:
    life = Life(workflow(step("a", idempotent=True))).started()
    starting(life).refuses("only a running step", again=True)
    life.propose("a")
    again = Spot(life, RecoverStep(step_id="a"), "FC-STEP-001")
    again.refuses("not the attempt and input", input_hash=OTHER_INPUT)
    outside = Life().started_by_client()
    data = starting(outside).event.data
    outside.propose("a")
    here(outside).refuses("not idempotent", data=data, again=True)


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
    failed = Spot(life, FailStep(step_id="a", error_type="X"), "FC-STEP-003")
    failed.refuses("the step is pending", step_id="b")
    failed.refuses("it is another attempt", attempt=2)
    life.complete("a")
    spot = here(life)
    spot.refuses("the step is completed", data=done.event.data)
    spot.refuses("the step is completed", data=failed.event.data)


def test_a_gate_step_ends_when_people_let_it() -> None:
    life = Life(workflow(gate_step("g", gate=GateSpec("Go?")))).started()
    life.propose("g")
    asked = fork(life.run)
    life.approve("g0")
    data = Spot(life, CompleteStep(step_id="g", output_hash=OUTPUT), "FC-STEP-002").event.data
    life.run = asked
    spot = here(life)
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
    failed = Spot(life, FailStep(step_id="a", error_type="X"), "FC-STEP-003").event.data
    spot = here(in_doubt())
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
    fail = FailStep(step_id="a", error_type="X", retriable=True)
    spot = Spot(life, fail, "FC-STEP-004")
    spot.refuses("the next attempt is 2", attempt=3)
    spot.refuses("the next attempt is 2", attempt=1)
    spot.refuses("is not an RFC 3339 time", not_before="soon")
    here(life).refuses("the step is running", data=spot.event.data)
    doubt = in_doubt()
    doubt.answer("g0")
    Spot(doubt, RetryStep(step_id="a"), "FC-STEP-004").refuses("the next attempt is 2", attempt=1)


def test_a_skip_is_of_a_step_that_is_due_and_undecided() -> None:
    spot = Spot(Life(CHAIN).started(), SkipStep(step_id="a"), "FC-STEP-006")
    spot.refuses("have not ended", step_id="b")
    spot.refuses("there is no step", step_id="ghost")
    here(running()).refuses("the step is running", data=spot.event.data)
    life = Life(PAIR).started()
    life.change("paused")
    here(life).refuses("the run is paused", data=spot.event.data)


# what was denied or refused is final


def test_a_denied_step_is_not_decided_again() -> None:
    spot = here(doomed())
    allow = deciding(Life(PAIR).started()).event.data
    spot.refuses("the run is failing", data=allow)


def test_a_denied_step_is_not_started_retried_or_skipped() -> None:
    spot = here(doomed())
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
