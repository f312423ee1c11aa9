"""`timeout` of a workflow: how long a run may take, whatever it waits for meanwhile."""

from pathlib import Path

import pytest
from tests.children import child
from tests.core_helpers import (
    Clock,
    begin,
    codes,
    core,
    forbid,
    gate,
    idle,
    open_gates,
    py,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.engine.ports import system_clock
from federation_core.service import ChangeStatusRequest, FederationCore
from federation_core.service.views import RunAnswer

LATE = {"code": "run_timeout", "message": "the run did not end within its timeout of 3,600 s"}


async def late(fc: FederationCore, clock: Clock, run_id: str) -> RunAnswer:
    """The run, an hour later."""
    clock.forward(3_600)
    fc._parts.engine.wake(run_id)
    return await until(fc, run_id)


async def test_a_run_in_time_completes(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, py("a"), timeout="1h"))
    assert answer.run.status == "completed"
    assert stage.names == ["a"]


async def test_its_steps_are_cut_off(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, py("a", "hold", timeout="2h"), py("b"), timeout="1h")
        await stage.seen("a began")
        answer = await late(fc, clock, run_id)
        await stage.seen("a cut off")
    assert (answer.run.status, answer.run.error_details) == ("failed", LATE)
    assert states(answer) == {"a": "failed", "b": "pending"}
    assert codes(answer.logs)[-2:] == ["FC-STEP-003", "FC-RUN-003"]
    assert answer.steps[0].error == {
        "type": "RunEnded",
        "message": "The run ended while it was under way.",
    }
    assert stage.effects == []


async def test_time_alone_ends_it(tmp_path: Path, stage: Stage) -> None:
    """Nobody wakes the engine: the driver waits for the moment itself."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), timeout="50ms")
        answer = await until(fc, run_id)
    assert answer.run.error_details["code"] == "run_timeout"
    assert stage.effects == []


async def test_it_ends_in_time_alone_also_while_people_are_asked(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", "approver"), py("a"), timeout="50ms")
        answer = await until(fc, run_id)
    assert answer.run.error_details["code"] == "run_timeout"
    assert stage.effects == []


async def test_its_gates_wait_for_nobody_any_more(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, gate("ask", "approver"), py("a"), timeout="1h")
        await open_gates(fc, run_id)
        answer = await late(fc, clock, run_id)
        assert await fc.gates.pending(fc.call("approver")) == []
    assert (answer.run.status, answer.run.error_details) == ("failed", LATE)
    assert states(answer) == {"ask": "waiting", "a": "pending"}
    assert stage.effects == []


async def test_a_pause_counts(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"), timeout="1h")
        await stage.seen("a began")
        request = ChangeStatusRequest(status="paused")
        await fc.runs.change_status(fc.call("starter"), run_id, request)
        stage.go("a may end")
        await idle(fc)
        answer = await late(fc, clock, run_id)
    assert (answer.run.status, answer.run.error_details) == ("failed", LATE)
    assert states(answer) == {"a": "completed", "b": "pending"}


async def test_it_is_kept_over_a_restart(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, gate("ask", "approver"), py("a"), timeout="1h")
        await open_gates(fc, run_id)
    async with core(tmp_path, clock=clock) as fc:  # in time still
        await idle(fc)
        await open_gates(fc, run_id)
    clock.forward(3_600)
    async with core(tmp_path, clock=clock) as fc:
        answer = await until(fc, run_id)
    assert (answer.run.status, answer.run.error_details) == ("failed", LATE)
    assert stage.effects == []


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_a_step_that_was_lost_is_not_begun_again_when_its_time_is_over(
    tmp_path: Path,
) -> None:
    steps = [py("b", "append", with_={"path": "${input.path}"}, idempotent=True)]
    (tmp_path / "workflow.yaml").write_text(workflow(*steps, timeout="1h"))
    with child("stop_in_step", tmp_path, "before b") as server:
        assert server.line() == "before b"
        server.kill()
    run_id = (tmp_path / "acknowledged").read_text()
    async with core(tmp_path, clock=lambda: system_clock() + 3_600_000_000) as fc:
        answer = await until(fc, run_id)
    assert (answer.run.status, answer.run.error_details) == ("failed", LATE)
    assert not (tmp_path / "effects").exists()


async def test_a_run_that_was_failing_fails_for_that(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, forbid("no", 'context.step_id == "bad"'), clock=clock) as fc:
        run_id = await begin(
            fc, py("slow", "hold", needs=[], timeout="2h"), py("bad", needs=[]), timeout="1h"
        )
        await stage.seen("slow began")
        answer = await late(fc, clock, run_id)
    assert answer.run.error_details["code"] == "policy_denied"
    assert states(answer) == {"slow": "failed", "bad": "denied"}
