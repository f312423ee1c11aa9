"""What the spine knows of runs that start other runs."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spine_helpers import ALLOW, STARTER, TENANT, birth

from federation_core.errors import Conflict, IntegrityError
from federation_core.evidence import verify
from federation_core.spine.actions import next_actions
from federation_core.spine.children import child_run_id, is_child_id
from federation_core.spine.commands import (
    AbandonRun,
    CompleteStep,
    CreateRun,
    ProposeStep,
    StartRun,
)
from federation_core.spine.definition import ChildWork, StepSpec, StepType, Workflow
from federation_core.spine.events import StepCarried
from federation_core.spine.handle import handle
from federation_core.spine.receipts import receipt_hash
from federation_core.spine.run import Run
from federation_core.spine.times import to_rfc3339
from federation_core.spine.turn import Turn

NOW = 1_795_435_200_123_456
HASH = "a" * 64
UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIMES = st.integers(0, 253_402_300_799_999_999)


def spec(step_id: str, *, child: bool = True, **facts: object) -> StepSpec:
    work = ChildWork("kid") if child else None
    return StepSpec(id=step_id, type=StepType.ACT, work=work, **facts)  # type: ignore[arg-type]


def turn(run: Run, now: int = NOW) -> Turn:
    return Turn(run, actor=STARTER, now=now, new_id=lambda: "g", log="log")


def started(*steps: StepSpec) -> Run:
    """A run whose steps that need nothing have started."""
    workflow = Workflow(id="wf", version="1.0.0", steps=steps)
    run = Run(workflow, "r1", TENANT)
    handle(turn(run), birth(workflow))
    handle(turn(run), StartRun(decision=ALLOW))
    for step in steps:
        if not step.needs:
            command = ProposeStep(step_id=step.id, step_type="ACT", input_hash=HASH, decision=ALLOW)
            made = turn(run)
            handle(made, command)
            assert made.permits == []  # nothing is executed here
    return run


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 99), TIMES)
def test_a_childs_name_is_a_uuid_that_tells_its_time(
    parent: str, step: str, attempt: int, at: int
) -> None:
    named = child_run_id(parent, step, attempt, at)
    assert UUID7.fullmatch(named)
    assert int(named[:13].replace("-", ""), 16) == at // 1000
    assert is_child_id(named, parent, step, attempt)
    assert not is_child_id(named, parent, step, attempt + 1)
    assert not is_child_id(named, f"{parent}x", step, attempt)
    assert not is_child_id(named, parent, f"{step}x", attempt)
    # The verifier, which shares no code with the spine, gives it the same name.
    assert verify._child_id(parent, step, attempt, verify._milliseconds(to_rfc3339(at))) == named


def test_names_do_not_run_into_one_another() -> None:
    assert child_run_id("a", "bc", 1, NOW) != child_run_id("ab", "c", 1, NOW)
    assert child_run_id("a", "b1", 1, NOW) != child_run_id("a", "b", 11, NOW)


@pytest.mark.parametrize("named", ["", "x", "zz" * 16, "01a20bb3-1228-731e-bf61-8a7dfad033d"])
def test_what_is_no_childs_name(named: str) -> None:
    assert not is_child_id(named, "r1", "sub", 1)


def test_a_step_that_waits_for_its_child_asks_for_nothing_but_a_look() -> None:
    run = started(spec("sub", timeout_ms=0))
    following = next_actions(run, NOW, executing=set())
    assert (following.actions, following.wake_at) == ((), None)
    [join] = following.joins
    assert join.child_run_id == child_run_id("r1", "sub", 1, NOW)
    assert (join.input_hash, join.deadline) == (HASH, None)


def test_a_timeout_is_a_time_to_look_also_when_it_is_over() -> None:
    run = started(spec("sub", timeout_ms=5))
    for now in (NOW, NOW + 60_000_000):
        following = next_actions(run, now, executing=set())
        assert (following.actions, following.wake_at) == ((), NOW + 5_000)


def test_a_child_that_ended_lets_the_next_step_be_asked_about() -> None:
    run = started(spec("sub", timeout_ms=0), spec("next", needs=("sub",)))
    handle(turn(run), CompleteStep(step_id="sub", output_hash=HASH))
    following = next_actions(run, NOW, executing=set())
    assert len(following.actions) == 1
    assert following.joins == ()


def test_only_a_child_is_abandoned() -> None:
    run = started(spec("sub"))
    with pytest.raises(Conflict):
        handle(turn(run), AbandonRun())


def child_birth(**facts: object) -> CreateRun:
    workflow = Workflow(id="kid", version="1.0.0", steps=(spec("x"),))
    named = child_run_id("r1", "sub", 1, NOW)
    kin = {"run_id": named, "parent_run_id": "r1", "parent_step": "sub", **facts}
    return msgspec.structs.replace(birth(workflow), **kin)


def bear(command: CreateRun) -> Run:
    workflow = Workflow(id="kid", version="1.0.0", steps=(spec("x"),))
    run = Run(workflow if command.execution == "managed" else None, command.run_id, TENANT)
    handle(turn(run), command)
    return run


def test_a_child_is_abandoned_once_and_for_good() -> None:
    run = bear(child_birth())
    handle(turn(run), AbandonRun())
    assert (run.status, run.error_code) == ("cancelled", "parent_ended")
    with pytest.raises(Conflict):
        handle(turn(run), AbandonRun())


@pytest.mark.parametrize(
    "facts",
    [
        {"run_id": "r2"},
        {"parent_step": "other"},
        {"parent_attempt": 2},
        {"parent_attempt": 0},
        {"parent_run_id": None},
        {"restarted_from": "r0"},
        {"parent_step": None, "parent_attempt": 2},
        {"parent_step": None, "sensitive": True},
        {"execution": "external", "definition_hash": None},
    ],
    ids=str,
)
def test_a_birth_that_does_not_fit_its_parent_is_no_event(facts: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        bear(child_birth(**facts))


# what is carried over


def carry(of: str, /, event: dict[str, object] | None = None, **changed: object) -> StepCarried:
    """The step `of`, its receipt with other facts, and the event with others."""
    receipt = {
        "attempt": 1,
        "decision_hash": HASH,
        "ended_at": to_rfc3339(NOW),
        "input_hash": HASH,
        "output_hash": HASH,
        "prev_receipt_hash": HASH,
        "run_id": "r0",
        "started_at": to_rfc3339(NOW),
        "status": "completed",
        "step_id": of,
        "step_type": "ACT",
        "v": 1,
    } | changed
    told = StepCarried(
        step_id=of,
        from_run="r0",
        attempt=1,
        input_hash=HASH,
        output_hash=HASH,
        receipt=receipt,
        receipt_hash=receipt_hash(receipt),
    )
    return msgspec.structs.replace(told, **(event or {}))


def restarted(*carried: StepCarried, of: str | None = "r0") -> Run:
    steps = (spec("a"), spec("b", needs=("a",)), spec("c", needs=("b",), when="true"))
    workflow = Workflow(id="wf", version="1.0.0", steps=steps)
    run = Run(workflow, "r1", TENANT)
    command = msgspec.structs.replace(birth(workflow), restarted_from=of, carried=carried)
    handle(turn(run), command)
    return run


def test_what_is_carried_over_is_there_before_the_run_begins() -> None:
    skipped = StepCarried(step_id="c", from_run="r0", reason="its condition is false")
    run = restarted(carry("a"), carry("b"), skipped)
    assert [s.state.status for s in run.steps.values()] == ["completed", "completed", "skipped"]
    assert (run.unsatisfied, run.receipts, list(run.ready)) == (0, [], [])


@pytest.mark.parametrize(
    "carried",
    [
        (carry("b"),),
        (carry("a"), carry("a")),
        (carry("nowhere"),),
        (carry("a", run_id="r9"),),
        (carry("a", step_id="b"),),
        (carry("a", step_type="OBSERVE"),),
        (carry("a", status="failed"),),
        (carry("a", attempt=2),),
        (carry("a", v=2),),
        (carry("a", output_hash="b" * 64),),
        (carry("a", more="x"),),
        (carry("a", {"receipt_hash": "b" * 64}),),
        (carry("a", {"reason": "x"}),),
        (carry("a", {"receipt": None}),),
        (StepCarried(step_id="a", from_run="r0", reason="skipped"),),
        (carry("a"), carry("b"), StepCarried(step_id="c", from_run="r0")),
    ],
    ids=range(16),
)
def test_what_cannot_be_carried_over(carried: tuple[StepCarried, ...]) -> None:
    with pytest.raises(IntegrityError):
        restarted(*carried)


def test_nothing_is_carried_into_a_run_that_is_no_restart() -> None:
    with pytest.raises(IntegrityError):
        restarted(carry("a"), of=None)


def test_nothing_is_carried_once_anything_else_was_told() -> None:
    run = restarted(carry("a"))
    with pytest.raises(IntegrityError):
        turn(run).emit(carry("b"))
