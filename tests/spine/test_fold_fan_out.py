"""The fold of a fan-out: items that are opened in their order, kept packed, and gathered."""

from typing import Any

import msgspec
import pytest
from tests.spine_helpers import (
    ALLOW,
    DENY,
    FLAG_FIN,
    INPUT,
    OUTPUT,
    Life,
    fan_step,
    same,
    step,
    workflow,
)

from federation_core.errors import Conflict
from federation_core.spine.actions import FanOut, next_actions
from federation_core.spine.commands import CompleteRun, RetryStep, SkipStep, TimeOutRun
from federation_core.spine.items import item_id, item_place
from federation_core.spine.run import Run
from federation_core.spine.steps import Completed, CutOff, Gathered, Step

WF = workflow(step("a"), fan_step("f", "a", attempts=2), step("z", "f"))


def begun() -> Life:
    life = Life(WF).started()
    life.propose("a")
    life.complete("a")
    return life


def fanned(items: int = 3) -> Life:
    life = begun()
    life.fan_out("f", items)
    return life


def states(run: Run) -> dict[str, str]:
    return {step_id: step.state.status for step_id, step in sorted(run.steps.items())}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("f[0]", ("f", 0)),
        ("f[100000]", ("f", 100_000)),
        ("f", None),
        ("f[]", None),
        ("f[01]", None),
        ("f[-1]", None),
        ("f[1][2]", None),
        ("f[1]x", None),
        ("[1]", None),
        ("f[1000000]", None),
        ("f[\u0661]", None),
    ],
)
def test_ids_of_items(text: str, place: tuple[str, int] | None) -> None:
    assert item_place(text) == place
    assert place is None or item_id(*place) == text


def test_a_step_fans_out_before_anything_is_asked() -> None:
    life = begun()
    assert next_actions(life.run, life.now, executing=frozenset()).actions == (FanOut("f"),)
    with pytest.raises(Conflict, match="its items are put to policy"):
        life.propose("f")


def test_items_are_opened_as_others_complete() -> None:
    life = fanned()
    assert list(life.run.ready) == ["f[0]", "f[1]"]
    life.propose("f[0]")
    life.propose("f[1]")
    assert list(life.run.ready) == []
    with pytest.raises(Exception, match=r"no step f\[2\]"):
        life.propose("f[2]")
    life.complete("f[1]")
    assert list(life.run.ready) == ["f[2]"]
    assert states(life.run)["f"] == "running"
    life.propose("f[2]")
    life.complete("f[2]")
    life.complete("f[0]")
    assert isinstance(life.run.steps["f"].state, Gathered)
    assert list(life.run.ready) == ["z"]
    assert same(life.replayed(), life.run)


def test_touched_steps_are_all_whose_row_has_changed() -> None:
    life = begun()
    turn = life.fan_out("f", 3)
    assert list(turn.touched_steps) == ["f", "f[0]", "f[1]"]
    for index in (0, 1, 2):
        life.propose(f"f[{index}]")
        turn = life.complete(f"f[{index}]")
        assert {f"f[{index}]", "f"} <= set(turn.touched_steps)
        assert index or "f[2]" in turn.touched_steps


def test_a_list_of_nothing_is_gathered_at_once() -> None:
    life = fanned(0)
    assert states(life.run) == {"a": "completed", "f": "completed", "z": "pending"}
    assert list(life.run.ready) == ["z"]
    assert same(life.replayed(), life.run)


@pytest.mark.parametrize(
    ("items", "code"), [(-1, "too_many_items"), (100_001, "too_many_items")], ids=str
)
def test_a_number_of_items_that_cannot_be(items: int, code: str) -> None:
    with pytest.raises(Conflict) as refused:
        begun().fan_out("f", items)
    assert refused.value.error_code == code


def test_what_a_fan_out_is_refused_for() -> None:
    with pytest.raises(Conflict, match="needs have not ended"):
        Life(WF).started().fan_out("f", 1)
    with pytest.raises(Conflict, match="fans out once"):
        fanned().fan_out("f", 1)
    with pytest.raises(Conflict, match="does not fan out"):
        Life(WF).started().fan_out("a", 1)
    life = begun()
    life.change("paused")
    with pytest.raises(Conflict, match="paused"):
        life.fan_out("f", 1)
    with pytest.raises(Conflict, match="cannot be skipped"):
        fanned().do(SkipStep(step_id="f[0]"))


def test_a_denied_item_dooms_the_run() -> None:
    life = fanned()
    life.propose("f[1]")
    life.propose("f[0]", DENY)
    assert not life.run.is_ended
    life.complete("f[1]")
    assert life.run.status == "failed"
    assert isinstance(life.run.steps["f"].state, CutOff)
    assert states(life.run)["f[2]"] == "pending"  # opened, and never asked about
    assert same(life.replayed(), life.run)


def test_an_item_has_gates_retries_and_doubts_of_its_own() -> None:
    life = fanned(1)
    life.propose("f[0]", FLAG_FIN)
    life.approve("g0")
    life.propose("f[0]", FLAG_FIN)
    life.fail("f[0]", retriable=True)
    life.propose("f[0]")
    life.recover("f[0]")
    life.answer("g1")
    life.do(RetryStep(step_id="f[0]"))
    life.propose("f[0]")
    life.complete("f[0]")
    assert life.run.steps["f[0]"].attempt == 3
    assert states(life.run)["f"] == "completed"
    assert same(life.replayed(), life.run)


def test_the_run_completes_when_all_items_have() -> None:
    life = fanned(1)
    with pytest.raises(Conflict, match="have not ended"):
        life.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    life.propose("f[0]")
    life.complete("f[0]")
    life.do(SkipStep(step_id="z"))
    life.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    assert life.run.status == "completed"
    assert [life.run.steps[i].index for i in ("a", "f", "z", "f[0]")] == [0, 1, 2, 3]


def test_indexes_go_on_from_one_fan_out_to_the_next() -> None:
    life = Life(workflow(fan_step("f"), fan_step("g"))).started()
    life.fan_out("g", 2)
    life.fan_out("f", 1)
    assert [life.run.steps[i].index for i in ("f", "g", "g[0]", "g[1]", "f[0]")] == [0, 1, 2, 3, 4]


# packed


def one() -> tuple[Life, Step]:
    life = fanned()
    life.propose("f[0]")
    life.complete("f[0]")
    return life, life.run.steps["f[0]"]


def test_a_packed_item_comes_out_as_it_went_in() -> None:
    life, packed = one()
    assert "f[0]" not in life.run.steps._whole
    assert isinstance(packed.state, Completed)
    assert packed.decision is not None
    assert packed.decision.subject_hash == INPUT == packed.input_hash
    assert packed.state.output_hash == OUTPUT
    assert packed.state.receipt_hash == life.run.receipts[-1]
    assert life.run.steps.copy() == life.run.steps
    assert len(life.run.steps) == len(list(life.run.steps)) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"output_hash": "no hash"},
        {"output_hash": "A" * 64},
        {"receipt_hash": "ab"},
        {"ended_at": 2**70},
    ],
    ids=["text", "capitals", "short", "a time out of range"],
)
def test_what_cannot_be_packed_is_kept_whole(change: dict[str, Any]) -> None:
    life, packed = one()
    odd = msgspec.structs.replace(packed, state=msgspec.structs.replace(packed.state, **change))
    before = life.run.steps.copy()
    life.run.steps["f[0]"] = odd
    assert life.run.steps["f[0]"] == odd
    assert life.run.steps != before


def test_a_step_that_only_looks_like_an_item_is_none() -> None:
    life = Life().started_by_client()
    life.propose("x[3]")
    life.complete("x[3]")
    assert life.run.item("x[3]") is None
    assert life.run.steps["x[3]"].index == 0
    assert "f[2]" not in one()[0].run.steps or one()[0].run.steps["f[2]"].attempt == 1
    assert "f[7]" not in one()[0].run.steps
    with pytest.raises(KeyError):
        one()[0].run.steps["f[7]"]


# the time that a run has


def hurried() -> Life:
    return Life(workflow(step("a"), timeout_ms=10_000)).started()


def test_a_run_has_its_time_from_its_start() -> None:
    life = Life(workflow(step("a"), timeout_ms=10_000)).born()
    assert life.run.deadline is None
    life = hurried()
    assert life.run.deadline == life.now + 10_000_000
    assert next_actions(life.run, life.now, executing=frozenset()).wake_at == life.run.deadline
    with pytest.raises(Conflict, match="time still"):
        life.do(TimeOutRun())


def test_nothing_begins_when_its_time_is_over() -> None:
    life = hurried()
    life.now += 9_000_000
    with pytest.raises(Conflict, match="past its timeout"):
        life.propose("a")
    life = hurried()
    life.propose("a")
    life.complete("a")
    life.now += 9_000_000
    with pytest.raises(Conflict, match="past its timeout"):
        life.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    life.do(TimeOutRun())
    assert (life.run.status, life.run.error_code) == ("failed", "run_timeout")
    assert life.run.reason == "the run did not end within its timeout of 10 s"
    assert same(life.replayed(), life.run)
    with pytest.raises(Conflict, match="failed already"):
        life.do(TimeOutRun())
