"""What a managed run waits for its driver to do, and when."""

from tests.spine_helpers import (
    ALLOW,
    DENY,
    FLAG_FIN,
    OUTPUT,
    Life,
    gate_step,
    step,
    workflow,
)

from federation_core.spine.actions import (
    Ask,
    AskRun,
    CloseGateStep,
    Expire,
    Finish,
    Next,
    Recover,
    ResolveDoubt,
    next_actions,
)
from federation_core.spine.actor import SYSTEM
from federation_core.spine.commands import CompleteRun, StartRun
from federation_core.spine.definition import GateSpec
from federation_core.spine.turn import Turn

NOTHING = Next((), None)
ONE = workflow(step("a", attempts=2))


def after(life: Life, *executing: str, later: int = 0) -> Next:
    return next_actions(life.run, life.now + later, executing=frozenset(executing))


def test_the_way_of_a_run() -> None:
    life = Life(ONE).born()
    assert after(life) == Next((AskRun(),), None)
    life.do(StartRun(decision=ALLOW))
    assert after(life) == Next((Ask("a", 1),), None)
    life.propose("a")
    assert after(life, "a") == NOTHING
    life.complete("a")
    assert after(life) == Next((Finish(),), None)
    life.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    assert after(life) == NOTHING


def test_a_run_whose_birth_was_flagged_starts_when_people_have_approved() -> None:
    life = Life(ONE).born(decision=FLAG_FIN)
    assert after(life).actions == ()
    life.approve("g0")
    assert after(life).actions == (AskRun(),)


def test_what_nobody_executes_is_recovered_even_while_the_run_waits() -> None:
    life = Life(ONE).started()
    life.propose("a")
    assert after(life) == Next((Recover("a"),), None)
    life.change("paused")
    assert after(life) == Next((Recover("a"),), None)


def test_steps_are_asked_about_when_what_they_need_has_ended() -> None:
    life = Life(workflow(step("a"), step("b"), step("c", "a", "b"))).started()
    assert after(life).actions == (Ask("a", 1), Ask("b", 1))
    life.propose("a")
    life.complete("a")
    assert after(life).actions == (Ask("b", 1),)
    life.propose("b")
    life.complete("b")
    assert after(life).actions == (Ask("c", 1),)


def test_a_retry_waits_for_its_time() -> None:
    life = Life(ONE).started()
    life.propose("a")
    life.fail("a", retriable=True)
    assert after(life) == Next((), life.now + 1_000_000)
    assert after(life, later=1_000_000) == Next((Ask("a", 2),), None)


def test_a_gate_wakes_its_run_when_it_is_due() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    due = life.run.gates["g0"].expires_at
    assert due is not None
    assert after(life) == Next((), due)
    assert next_actions(life.run, due, executing=frozenset()) == Next((Expire("g0"),), None)


def test_a_flagged_step_is_asked_about_again_when_people_have_approved() -> None:
    life = Life(ONE).started()
    life.propose("a", FLAG_FIN)
    life.approve("g0")
    assert after(life).actions == (Ask("a", 1),)


def test_a_gate_step_is_closed_and_a_doubt_resolved_when_people_have_answered() -> None:
    life = Life(workflow(gate_step("g", gate=GateSpec("Go?")))).started()
    life.propose("g")
    assert after(life) == NOTHING
    life.approve("g0")
    assert after(life) == Next((CloseGateStep("g", "g0"),), None)
    doubt = Life(ONE).started()
    doubt.propose("a")
    doubt.recover("a")
    assert after(doubt) == NOTHING
    doubt.answer("g0")
    assert after(doubt) == Next((ResolveDoubt("a", "g0"),), None)


def test_an_operators_pause_stops_what_is_not_under_way() -> None:
    life = Life(workflow(step("a"), step("b"))).started()
    life.propose("a")
    life.change("paused")
    assert after(life, "a") == NOTHING
    life.complete("a")
    assert after(life) == NOTHING


def test_a_failing_run_waits_for_what_is_under_way_and_asks_nothing() -> None:
    life = Life(workflow(step("a"), step("b"), step("c"))).started()
    life.propose("a")
    life.propose("b", DENY)
    assert after(life, "a") == NOTHING
    assert after(life) == Next((Recover("a"),), None)


def test_a_client_drives_its_own_run() -> None:
    life = Life().started_by_client()
    life.propose("x")
    assert after(life) == NOTHING
    life.request(expires_s=60)
    assert after(life, later=60_000_000) == Next((Expire("g0"),), None)


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back() -> None:
    """How long it has waited is not known then; a gate's expiry waits for the clock."""
    life = Life(ONE).started()
    life.propose("a")
    life.fail("a", retriable=True)
    waiting = after(life)
    assert waiting.actions == ()
    assert waiting.wake_at is not None
    behind = next_actions(life.run, life.now, executing=frozenset(), set_back=True)
    assert behind == Next((Ask("a", 2),), None)
    late = life.now - 2_000_000
    assert Turn(life.run, actor=SYSTEM, now=late, new_id=str, log="log").set_back
    assert not Turn(life.run, actor=SYSTEM, now=life.now - 1, new_id=str, log="log").set_back
