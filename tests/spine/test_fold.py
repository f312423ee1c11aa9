"""What the fold refuses of runs, whoever wrote it: what was replayed was lawful.

Each test takes a lawful event from a life and puts another in its place.
"""

from typing import get_args

import pytest
from tests.spine_helpers import (
    ALLOW,
    FLAG_FIN,
    INPUT,
    OTHER_INPUT,
    OUTPUT,
    STARTER,
    Life,
    birth,
    doomed,
    long_life,
    step,
    workflow,
)
from tests.spine_refusals import Spot, here

from federation_core.errors import IntegrityError
from federation_core.spine.actor import Actor
from federation_core.spine.commands import (
    ChangeStatus,
    CompleteRun,
    FailRun,
    FailStep,
    ProposeStep,
    StartRun,
)
from federation_core.spine.decision import Decision
from federation_core.spine.events import (
    AttemptRefused,
    PolicyEvaluated,
    RunEnded,
    RunStatus,
    RunStatusChanged,
    StepRetryScheduled,
)
from federation_core.spine.fold import replay

ONE = workflow(step("a", attempts=2))
CHAIN = workflow(step("a"), step("b", "a"))


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
        spot = here(late)
        spot.refuses("the run is completed|is created once", data=event.data)


def test_after_the_end_no_decision_about_a_step() -> None:
    data = deciding(Life(ONE).started()).event.data
    life = Life(ONE).started()
    life.do(FailRun(code="x", reason="x"))
    here(life).refuses("the run is failed", data=data)


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
                    spot = here(life)
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
    spot = here(life)
    data = RunStatusChanged(previous_status="paused", new_status="running")
    spot.refuses("a gate is pending", data=data)


def test_a_managed_run_reports_no_progress_of_its_own() -> None:
    spot = here(Life(ONE).started())
    data = RunStatusChanged(previous_status="running", new_status="running", current_step="x")
    spot.refuses("its own progress", data=data)


def test_completing_before_the_steps_have_ended() -> None:
    life = Life(CHAIN).started()
    life.propose("a")
    life.complete("a")
    spot = Spot(life, FailRun(code="x", reason="x"), "FC-RUN-003")
    spot.refuses("steps have not ended", new_status="completed")
    life.propose("b")
    spot = here(life)
    spot.refuses("steps are in flight", data=_end("running", "failed"))


def test_a_workflow_receipt_that_tells_something_else() -> None:
    spot = Spot(Life(ONE).started(), FailRun(code="x", reason="x"), "FC-RUN-003")
    spot.refuses("its receipt tells something else", workflow_receipt_hash=OTHER_INPUT)
    spot.refuses("its receipt tells something else", new_status="cancelled")


# what was denied or refused is final


def test_a_doomed_run_neither_goes_on_nor_completes() -> None:
    life = doomed()
    life.change("paused")
    data = RunStatusChanged(previous_status="paused", new_status="running")
    here(life).refuses("what was denied or refused is final", data=data)
    spot = here(doomed())
    spot.refuses("what was denied or refused is final", data=_end("running", "completed"))


def test_a_retry_does_not_undo_a_rejected_gate() -> None:
    """The gate was about the very step that fails afterwards."""
    life = Life(workflow(step("a", attempts=2), step("b"))).started()
    life.propose("a")
    life.request("a")
    life.reject("g0")
    assert life.run.doomed
    spot = Spot(life, FailStep(step_id="a", error_type="X"), "FC-RUN-003")
    late = "2026-11-23T13:00:00.000000Z"
    data = StepRetryScheduled(step_id="a", attempt=2, not_before=late)
    spot.refuses("failing for another reason", data=data)
