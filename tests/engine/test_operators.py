"""Operators pause, resume and cancel; a deployment lets steps end."""

import asyncio
from pathlib import Path

import pytest
from tests.core_helpers import (
    approve,
    begin,
    codes,
    core,
    idle,
    open_gates,
    py,
    states,
    until,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict
from federation_core.service import ChangeStatusRequest, FederationCore, RequestGateRequest
from federation_core.service.views import RunAnswer


async def change(fc: FederationCore, run_id: str, status: str) -> RunAnswer:
    request = ChangeStatusRequest(status=status, reason="an operator says so")  # type: ignore[arg-type]
    return await fc.runs.change_status(fc.call("operator"), run_id, request)


async def test_cancelling_cuts_off_what_is_under_way(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        answer = await change(fc, run_id, "cancelled")
        assert answer.run.status == "cancelled"
        await stage.seen("a cut off")
        await idle(fc)
        answer = await until(fc, run_id)
    assert stage.effects == []
    assert states(answer) == {"a": "failed", "b": "pending"}
    assert codes(answer.logs)[-2:] == ["FC-STEP-003", "FC-RUN-003"]
    assert answer.logs[-2].details["error_type"] == "RunEnded"
    assert answer.logs[-1].actor_id == "operator"


async def test_an_end_that_comes_after_the_cancellation_is_not_part_of_the_run(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "cleanup"), py("b"))
        await stage.seen("a began")
        await change(fc, run_id, "cancelled")
        await stage.seen("a cut off")
        await idle(fc)
        answer = await until(fc, run_id)
    assert stage.names == ["a"]  # it did end, and the log does not claim that it was a success
    assert states(answer) == {"a": "failed", "b": "pending"}
    assert codes(answer.logs)[-1] == "FC-RUN-003"


async def test_a_pause_lets_a_step_end_and_none_begin(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await change(fc, run_id, "paused")
        stage.go("a may end")
        await idle(fc)
        paused = await until(fc, run_id, "paused")
        assert states(paused) == {"a": "completed", "b": "pending"}
        assert stage.names == ["a"]
        await change(fc, run_id, "running")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]


async def test_a_gate_does_not_end_an_operators_pause(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await change(fc, run_id, "paused")
        request = RequestGateRequest(step_id="b", gate_name="Sure?")
        asked = await fc.gates.request(fc.call("operator"), run_id, request)
        with pytest.raises(Conflict) as caught:
            await change(fc, run_id, "running")
        assert caught.value.error_code == "gate_pending"
        await approve(fc, asked)
        stage.go("a may end")
        await idle(fc)
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "paused"
        assert stage.names == ["a"]
        await change(fc, run_id, "running")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]


async def test_a_gate_that_an_operator_asked_for_holds_the_run(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        request = RequestGateRequest(step_id="b", gate_name="Sure?", required_approvers=["ann"])
        asked = await fc.gates.request(fc.call("operator"), run_id, request)
        stage.go("a may end")
        await idle(fc)
        assert await open_gates(fc, run_id) == [asked]
        assert stage.names == ["a"]
        await approve(fc, asked, "ann")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


@pytest.mark.parametrize("status", ["completed", "failed", "pending"])
async def test_nobody_else_ends_a_managed_run(tmp_path: Path, stage: Stage, status: str) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        with pytest.raises(Conflict):
            await change(fc, run_id, status)
        stage.go("a may end")
        assert (await until(fc, run_id)).run.status == "completed"
        for final in ("running", "paused", "cancelled", "failed", "completed"):
            with pytest.raises(Conflict):
                await change(fc, run_id, final)


async def test_closing_lets_steps_end_and_begins_nothing_new(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        closing = asyncio.create_task(fc._engine.close())
        await asyncio.sleep(0)
        stage.go("a may end")
        await closing
        left = await fc.runs.get(fc.call("x"), run_id, steps=True)
        assert states(left) == {"a": "completed", "b": "pending"}
        assert left.run.status == "running"
    assert stage.names == ["a"]
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.effects == [("a", f"{run_id}:a:1"), ("b", f"{run_id}:b:1")]


async def test_what_does_not_end_in_time_is_in_doubt(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await fc._engine.close(grace=0.001)
        await stage.seen("a cut off")
    async with core(tmp_path) as fc:
        [asked] = await open_gates(fc, run_id)
        assert asked.gate_type == "in_doubt"
    assert stage.names == []
