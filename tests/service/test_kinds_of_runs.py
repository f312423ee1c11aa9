"""Managed runs are the server's to execute, external ones the client's; policy decides in both."""

from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    approve,
    begin,
    codes,
    core,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    start,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, Forbidden, InvalidInput
from federation_core.service import (
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    RecordStepRequest,
    RequestGateRequest,
)
from federation_core.service.views import RunAnswer, StepAnswer
from federation_core.spine.canonical import value_hash


async def outside(fc: FederationCore, **keys: Any) -> str:
    """An external run that is running."""
    request = CreateRunRequest(workflow_id="outside", **keys)
    run_id = (await fc.runs.create(fc.call("client"), request)).run.run_id
    await change(fc, run_id, "running", current_step="one")
    return run_id


async def change(fc: FederationCore, run_id: str, status: str, **keys: Any) -> RunAnswer:
    request = ChangeStatusRequest(status=status, **keys)  # type: ignore[arg-type]
    return await fc.runs.change_status(fc.call("client"), run_id, request)


async def record(fc: FederationCore, run_id: str, status: str, **keys: Any) -> StepAnswer:
    request = RecordStepRequest(step_id=keys.pop("step_id", "s"), status=status, **keys)  # type: ignore[arg-type]
    return await fc.steps.record(fc.call("client"), run_id, request)


async def test_a_run_is_managed_where_its_workflow_is_registered(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        call, request = fc.call("x"), CreateRunRequest(workflow_id="wf")
        before = await fc.runs.create(call, request)
        assert before.run.execution == "external"
        await register(fc, workflow(py("a")))
        managed = await fc.runs.create(call, request)
        assert managed.run.execution == "managed"
        asked = CreateRunRequest(workflow_id="wf", execution="external")
        assert (await fc.runs.create(call, asked)).run.execution == "external"
        with pytest.raises(InvalidInput) as caught:
            await fc.runs.create(call, CreateRunRequest(workflow_id="outside", execution="managed"))
        assert caught.value.error_code == "workflow_not_registered"
        assert (await until(fc, managed.run.run_id)).run.status == "completed"
    assert stage.names == ["a"]  # and nothing of the external ones


async def test_a_tenant_may_require_registration(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, require_registration=True) as fc:
        await register(fc, workflow(py("a")))
        for keys in (
            {"workflow_id": "outside"},
            {"workflow_id": "outside", "execution": "external"},
        ):
            with pytest.raises(InvalidInput) as caught:
                await fc.runs.create(fc.call("x"), CreateRunRequest(**keys))  # type: ignore[arg-type]
            assert caught.value.error_code == "workflow_not_registered"
        await until(fc, await start(fc))


@pytest.mark.parametrize("status", ["running", "completed", "failed"])
async def test_a_client_reports_no_step_of_a_managed_run(
    tmp_path: Path, stage: Stage, status: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("a"))
        await open_gates(fc, run_id)
        for step_id in ("a", "ask", "invented"):
            with pytest.raises(Conflict) as caught:
                await record(fc, run_id, status, step_id=step_id)
            assert caught.value.error_code == "managed_run"
    assert stage.effects == []


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed"])
async def test_a_client_does_not_move_a_managed_run_on(
    tmp_path: Path, stage: Stage, status: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("a"))
        before = await open_gates(fc, run_id)
        with pytest.raises(Conflict):
            await change(fc, run_id, status, current_step="a", output_payload={})
        assert await open_gates(fc, run_id) == before
    assert stage.effects == []


@pytest.mark.parametrize(
    "told",
    [
        {"current_step": "zzz"},
        {"step_index": 77},
        {"output_payload": {"forged": 1}},
        {"error_details": {"message": "forged"}},
    ],
    ids=lambda told: next(iter(told)),
)
async def test_a_client_tells_nothing_of_the_work_of_a_managed_run(
    tmp_path: Path, stage: Stage, told: dict[str, Any]
) -> None:
    """Whoever may pause it does not write what it has done into it."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")

        async def refused(*statuses: str) -> None:
            before = await fc.runs.get(fc.call("x"), run_id, logs=True)
            for status in statuses:
                with pytest.raises(Conflict) as caught:
                    await change(fc, run_id, status, **told)
                assert caught.value.error_code == "managed_run"
                assert next(iter(told)) in caught.value.detail
            assert await fc.runs.get(fc.call("x"), run_id, logs=True) == before

        await refused("paused", "cancelled")
        nulls = {"output_payload": None, "error_details": None, "current_step": None}
        held = await change(fc, run_id, "paused", reason="hold it", **nulls)
        assert (held.run.status, held.run.output_payload) == ("paused", None)
        assert held.run == (await fc.runs.get(fc.call("x"), run_id)).run
        await refused("running", "cancelled")
        await change(fc, run_id, "running", reason="go on")
        stage.go("a may end")
        ended = await until(fc, run_id)
    assert (ended.run.status, ended.run.error_details) == ("completed", None)


async def test_the_server_executes_nothing_of_an_external_run(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a")))
        run_id = await start(fc, execution="external")
        await change(fc, run_id, "running")
        asked = await record(fc, run_id, "running", step_id="a", input={})
        assert asked.decision is not None
        assert asked.decision.decision == "allow"
        fc._parts.engine.wake(run_id)
    async with core(tmp_path) as fc:  # nor recovers it after a restart
        done = await record(fc, run_id, "completed", step_id="a", output={"x": 1})
        assert (done.step.status, done.step.output_hash) == ("completed", value_hash({"x": 1}))
        assert (await change(fc, run_id, "completed")).run.status == "completed"
    assert stage.effects == []


async def test_the_life_of_an_external_run(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = await outside(fc, input_payload={"n": 1})
        await change(fc, run_id, "running", current_step="two", step_index=1)
        with pytest.raises(Conflict):
            await change(fc, run_id, "running", current_step="two")
        await change(fc, run_id, "paused", reason="lunch")
        with pytest.raises(Conflict):
            await record(fc, run_id, "running")
        await change(fc, run_id, "running")
        answer = await change(fc, run_id, "completed", output_payload={"done": True})
        assert answer.run.output_payload == {"done": True}
        assert answer.run.workflow_receipt_hash is not None
        for status in ("running", "paused", "failed", "cancelled", "completed"):
            with pytest.raises(Conflict):
                await change(fc, run_id, status)
        logs = await fc.runs.logs(fc.call("x"), run_id, event_type="FC-RUN-002")
    assert [(e.previous_status, e.new_status) for e in logs] == [
        ("pending", "running"),
        ("running", "running"),
        ("running", "paused"),
        ("paused", "running"),
    ]


async def test_a_step_is_reported_only_after_it_was_allowed(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = await outside(fc)
        for status in ("completed", "failed"):
            with pytest.raises(Conflict) as caught:
                await record(fc, run_id, status)
            assert caught.value.error_code == "step_not_running"
        await record(fc, run_id, "running", input={})
        with pytest.raises(Conflict):
            await record(fc, run_id, "running", input={})
        with pytest.raises(Conflict):  # something of it is still in the world
            await change(fc, run_id, "completed")
        failed = await record(fc, run_id, "failed", error={"type": "Oops", "message": "no"})
        assert failed.step.error == {"type": "Oops", "message": "no"}
        again = await record(fc, run_id, "running", input={})
        assert again.step.attempt == 2
        await record(fc, run_id, "completed", output=None)
        assert (await change(fc, run_id, "completed")).run.status == "completed"


async def test_a_denied_step_ends_an_external_run_too(tmp_path: Path) -> None:
    policy = forbid("no", "context.input has forbidden")
    async with core(tmp_path, policy) as fc:
        run_id = await outside(fc)
        answer = await record(fc, run_id, "running", input={"forbidden": 1})
        assert answer.decision is not None
        assert answer.decision.decision == "deny"
        assert answer.run.status == "failed"
        with pytest.raises(Conflict):
            await record(fc, run_id, "completed")


async def test_a_flagged_step_of_an_external_run_waits_for_people(tmp_path: Path) -> None:
    policy = flag("large", "context.input has large", approvers="ann")
    async with core(tmp_path, policy) as fc:
        run_id = await outside(fc)
        first = await record(fc, run_id, "running", input={"large": 1})
        assert first.decision is not None
        assert first.decision.decision == "flag"
        assert first.gate is not None
        assert first.run.status == "paused"
        with pytest.raises(Conflict):
            await record(fc, run_id, "running", input={"large": 1})
        await approve(fc, first.gate, "ann")
        other = await record(fc, run_id, "running", input={"large": 2})
        assert other.decision is not None
        assert other.decision.decision == "flag"  # approved was another input
        assert other.gate is not None
        await approve(fc, other.gate, "ann")
        again = await record(fc, run_id, "running", input={"large": 2})
        assert again.decision is not None
        assert again.decision.decision == "allow"


async def test_a_flagged_change_of_status_is_let_through_once(tmp_path: Path) -> None:
    async with core(tmp_path, flag("pause", action="run.pause")) as fc:
        run_id = await outside(fc)
        first = await change(fc, run_id, "paused")
        assert first.run.status == "paused"  # at the gate, not yet by the operator
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        assert (await until(fc, run_id, "running")).run.status == "running"
        assert (await change(fc, run_id, "paused")).run.status == "paused"
        await change(fc, run_id, "running")
        await change(fc, run_id, "paused")
        assert len(await open_gates(fc, run_id)) == 1  # another pause is another question


async def test_a_change_that_policy_denies_changes_nothing_but_the_log(tmp_path: Path) -> None:
    async with core(tmp_path, forbid("no", action="run.cancel")) as fc:
        run_id = await outside(fc)
        with pytest.raises(Forbidden):
            await change(fc, run_id, "cancelled")
        answer = await until(fc, run_id, "running")
        assert codes(answer.logs)[-2:] == ["FC-POLICY-001", "FC-AUTH-001"]
        assert (await change(fc, run_id, "failed", error_details="gave up")).run.status == "failed"


async def test_what_no_event_names_is_not_stored(tmp_path: Path) -> None:
    """Only the end of a run tells of an error; an erasure may name only what the run does."""
    async with core(tmp_path, flag("fail", action="run.fail")) as fc:
        run_id = await outside(fc)
        await change(fc, run_id, "paused", error_details="so far", output_payload="so far")
        await change(fc, run_id, "running")
        await change(fc, run_id, "failed", error_details="too soon")  # flagged: it waits
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        await until(fc, run_id, "running")
        done = await change(fc, run_id, "failed", error_details="gave up")
        assert done.run.error_details == "gave up"
        call = fc.call("boss")
        erased = await fc.erasures.erase(call, EraseRequest(run_id=run_id, reason="by law"))
        values: list[Any] = [{}, "so far", "gave up"]
        assert set(erased.payloads[run_id]) == set(map(value_hash, values))


async def test_a_gate_that_a_client_asks_for_pauses_its_run(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = await outside(fc)
        request = RequestGateRequest(step_id="s", gate_name="Sure?", required_approvers=["ann"])
        asked = await fc.gates.request(fc.call("client"), run_id, request)
        assert (await until(fc, run_id, "paused")).gates == [asked]
        assert [g.gate_id for g in await fc.gates.pending(fc.call("x"))] == [asked.gate_id]
        mine = await fc.gates.pending(fc.call("ann"), approver_id="ann")
        assert [g.gate_id for g in mine] == [asked.gate_id]
        assert await fc.gates.pending(fc.call("bob"), approver_id="bob") == []
        with pytest.raises(Conflict) as caught:
            await change(fc, run_id, "running")
        assert caught.value.error_code == "gate_pending"
        await approve(fc, asked, "ann")
        assert (await until(fc, run_id, "running")).run.status == "running"


@pytest.mark.parametrize(
    "keys",
    [
        {"required_approvers": ["ann"], "quorum": 2},
        {"input_schema": {"type": "no such type"}},
    ],
)
async def test_a_gate_that_could_never_pass_is_not_opened(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    async with core(tmp_path) as fc:
        run_id = await outside(fc)
        request = RequestGateRequest(step_id="s", gate_name="Sure?", **keys)
        with pytest.raises(InvalidInput):
            await fc.gates.request(fc.call("client"), run_id, request)
        assert (await until(fc, run_id, "running")).gates == []


@pytest.mark.parametrize("value", ["\ud800", 2**53, float("nan"), {1: 2}, [[]], object()])
async def test_what_no_ledger_can_hold_is_refused(tmp_path: Path, value: Any) -> None:
    for _ in range(40 if value == [[]] else 0):
        value = [value]
    async with core(tmp_path) as fc:
        run_id = await outside(fc)
        before = await until(fc, run_id, "running")
        for attempt in (
            fc.runs.create(
                fc.call("x"), CreateRunRequest(workflow_id="o", input_payload={"v": value})
            ),
            record(fc, run_id, "running", input=value),
            change(fc, run_id, "completed", output_payload=value),
        ):
            with pytest.raises(InvalidInput):
                await attempt
        assert await until(fc, run_id, "running") == before
