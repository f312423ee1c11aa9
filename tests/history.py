"""A history in which everything that can happen to a run has happened, for tests that read it."""

from pathlib import Path

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    bundle,
    core,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    resume,
    start,
    until,
    workflow,
)
from tests.core_steps import new_stage
from tests.kin_helpers import cancel, kid, register_kid, restart
from tests.schedule_helpers import add

from federation_core.errors import Forbidden, InvalidInput, NotFound
from federation_core.service import (
    AnswerGateRequest,
    BypassRequest,
    ChangeStatusRequest,
    CreateRunRequest,
    FederationCore,
    RecordStepRequest,
    RequestGateRequest,
)

__all__ = ["make_history", "make_small_history"]

POLICIES = (
    forbid("never", "context.input has unscheduled", action="run.create"),
    flag("risky", 'context.input has risk && context.input.risk == "high"', quorum=2),
    forbid("forbidden", "context.input has forbidden && context.input.forbidden"),
    forbid("closed", "principal has roles && !principal.roles.contains(\"operator\")",
           action="policy.activate"),
)  # fmt: skip

STEPS = (
    py("first", "flaky", with_={"good_at": 2}, retry={"max_attempts": 3, "backoff": "1ms"}),
    py("left", needs=["first"], sensitive=True, with_={"secret": "${input.secret}"}),
    py("right", needs=["first"], when="input.right"),
    gate(
        "ask",
        "approver",
        "second",
        needs=["left", "right"],
        expires="1h",
        input_schema={"type": "object", "required": ["answer"]},
    ),
    py("last", with_={"risk": "${input.risk}", "forbidden": "${input.forbidden}"}),
)
GIVEN = {"secret": "s3cret", "right": True, "risk": "low", "forbidden": False}


async def make_history(folder: Path) -> None:
    """Fill the data directory `folder`. It ends with runs in every status."""
    clock = Clock()
    stage = new_stage()
    async with core(folder, *POLICIES, clock=clock) as fc:
        await register(fc, workflow(*STEPS, output="${steps.last.output}"))
        await _managed(fc, clock)
        await _kin(fc)
        await _external(fc)
        await _administration(fc)
        each = py("each", foreach="input.list", concurrency=2, with_={"name": "${item}"})
        fanned = await begin(fc, each, version="4.0.0", given={"list": ["x", "y", "z"]})
        await until(fc, fanned)
        await _schedules(fc, clock)
        doubtful = await begin(fc, py("held", "hold"), version="3.0.0")
        await stage.seen("held began")
        await fc._engine.close(grace=0)
    async with core(folder, *POLICIES, clock=clock) as fc:
        [asked] = await open_gates(fc, doubtful)
        await resume(fc, asked, {"happened": True, "output": {"seen": 1.5}})
        await until(fc, doubtful)
        await open_gates(fc, await start(fc, GIVEN, workflow_version="1.0.0"))
        stage = new_stage()
        await start(fc, workflow_version="3.0.0")
        await stage.seen("held began")
        await fc._engine.close(grace=0)


async def make_small_history(folder: Path) -> None:
    """One run of one step."""
    async with core(folder, clock=Clock()) as fc:
        await until(fc, await begin(fc, py("only")))


async def _managed(fc: FederationCore, clock: Clock) -> None:
    for changed in ({}, {"right": False}, {"forbidden": True}, {"risk": "high"}):
        run_id = await start(fc, GIVEN | changed, tags=["a", "b"], metadata={"m": 0.5})
        [asked] = await open_gates(fc, run_id)
        await resume(fc, asked, {"answer": "yes"})
        if "risk" in changed:
            await _flagged(fc, run_id)
        await until(fc, run_id)
    paused = [await start(fc, GIVEN) for _ in range(6)]
    gates = [(await open_gates(fc, run_id))[0] for run_id in paused]
    refuse = AnswerGateRequest(status="rejected", rejection_reason="no")
    await fc.gates.answer(fc.call("second"), paused[0], gates[0].gate_id, refuse)
    bypass = BypassRequest(reason="the house is on fire")
    await fc.gates.bypass(fc.call("chief"), paused[1], gates[1].gate_id, bypass)
    cancel = ChangeStatusRequest(status="cancelled", reason="not needed")
    await fc.runs.change_status(fc.call("starter"), paused[2], cancel)
    for stranger in (fc.call("stranger"), fc.call("approver", tenant="other")):
        with pytest.raises((Forbidden, NotFound)):
            await fc.gates.answer(stranger, None, gates[3].gate_id, refuse)
    clock.forward(3601)
    for run_id in paused[3:5]:
        fc._parts.engine.wake(run_id)
        await until(fc, run_id)
    for run_id in (*paused[:3], *paused[3:5]):
        await until(fc, run_id)


async def _kin(fc: FederationCore) -> None:
    """A child, and a run that is done again from its gate on."""
    failed = await fc.runs.page(fc.call("x"), status="failed")
    [rejected] = [r for r in failed if r.error_details["code"] == "gate_rejected"]
    again = await restart(fc, rejected.run_id, "ask")
    await open_gates(fc, again)
    await cancel(fc, again)
    await register_kid(fc, py("inner"))
    await until(fc, await begin(fc, kid("sub", sensitive=True), version="5.0.0"))


async def _flagged(fc: FederationCore, run_id: str) -> None:
    gates = (await fc.runs.get(fc.call("x"), run_id, gates=True)).gates
    while not any(g.status == "pending" for g in gates):
        await until(fc, run_id, "paused")
        gates = (await fc.runs.get(fc.call("x"), run_id, gates=True)).gates
    [asked] = [g for g in gates if g.status == "pending"]
    await approve(fc, asked, "approver")
    await approve(fc, asked, "second")


async def _external(fc: FederationCore) -> None:
    alice = fc.call("alice")

    async def change(run_id: str, **request: object) -> None:
        await fc.runs.change_status(alice, run_id, ChangeStatusRequest(**request))  # type: ignore[arg-type]

    async def born(name: str = "outside", tenant: str | None = None) -> str:
        call = fc.call("alice", tenant=tenant)
        request = CreateRunRequest(workflow_id=name, input_payload={"x": [1, {}]})
        return (await fc.runs.create(call, request)).run.run_id

    await born()
    await born(tenant="other")
    run_id = await born()
    await change(run_id, status="running", current_step="one")
    await change(run_id, status="running", current_step="two", step_index=1)
    for step_id, end in (("one", "completed"), ("two", "failed"), ("two", "completed")):
        ask = RecordStepRequest(step_id=step_id, status="running", input={"n": 1})
        await fc.steps.record(alice, run_id, ask)
        told = RecordStepRequest(step_id=step_id, status=end, output=[1], error={"message": "x"})  # type: ignore[arg-type]
        await fc.steps.record(alice, run_id, told)
    wanted = RequestGateRequest(step_id="two", gate_name="Sure?", input_schema={"type": "object"})
    asked = await fc.gates.request(alice, run_id, wanted)
    await approve(fc, asked)
    await change(run_id, status="paused", reason="lunch")
    await change(run_id, status="running")
    await change(run_id, status="completed", output_payload={"done": True})
    denied = await born()
    await change(denied, status="running")
    ask = RecordStepRequest(step_id="bad", status="running", input={"forbidden": True})
    await fc.steps.record(alice, denied, ask)


async def _schedules(fc: FederationCore, clock: Clock) -> None:
    call, hourly = fc.call("ann"), {"cron": "0 * * * *", "workflow_version": "2.0.0"}
    with pytest.raises(Forbidden):
        await add(fc, **hourly, input_payload={"unscheduled": True})
    await add(fc, **hourly, input_payload={"x": 0.5}, metadata={"m": 1}, tags=["t"])
    await add(fc, **hourly, schedule_id="late", catch_up="none")
    await add(fc, **hourly, schedule_id="gone")
    await fc.schedules.remove(call, "gone")
    await fc.schedules.pause(call, "late")
    await fc.schedules.resume(call, "late")
    clock.forward(3 * 3600 - clock() // 1_000_000 % 3600 - 600)  # ten minutes before an hour
    await fc._scheduler.turn()
    for tick in (await fc.schedules.get(call, "s")).ticks:
        await until(fc, str(tick.run_id))
    await fc.schedules.pause(call, "late")


async def _administration(fc: FederationCore) -> None:
    second = bundle(*POLICIES, version="2.0.0")
    with pytest.raises(Forbidden):
        await fc.policies.activate(fc.call("alice"), second)
    await fc.policies.activate(fc.call("boss", roles=["operator"]), second)
    await register(fc, workflow(py("only"), version="2.0.0"))
    await register(fc, workflow(py("only")), tenant="other")
    with pytest.raises(InvalidInput):
        await register(fc, "workflow: wf")
    await fc.runs.create(
        fc.call("bob", tenant="other"), CreateRunRequest(workflow_id="wf", workflow_version="1.0.0")
    )
