"""Promise 7: a tenant sees itself alone."""

import inspect
import zipfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core_helpers import (
    approve,
    begin,
    bundle,
    codes,
    core,
    gate,
    open_gates,
    py,
    register,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.schedule_helpers import ticking

from federation_core.errors import Conflict, Forbidden, InvalidInput, NotFound
from federation_core.service import (
    AddScheduleRequest,
    AnswerGateRequest,
    BypassRequest,
    Call,
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    Key,
    RecordStepRequest,
    RequestGateRequest,
    RestartRequest,
    ResumeRequest,
    RotateRequest,
)
from federation_core.spine.canonical import value_hash

UseCase = Callable[[FederationCore, Call, str, str], Awaitable[Any]]
"""Called with a run's and a gate's id."""


async def followed(fc: FederationCore, call: Call, run: str, _gate: str) -> None:
    async for _ in fc.runs.follow(call, run):
        return


async def packed(fc: FederationCore, call: Call, run: str, _gate: str) -> None:
    (await fc.evidence.pack(call, run)).file.close()


APPROVE = AnswerGateRequest(status="approved")
BYPASS = BypassRequest(reason="the house is on fire")
WHY = "they asked for it"

NOTHING = value_hash({})
"""The metadata that every run here has."""

OF_A_RUN: dict[str, UseCase] = {
    "runs.get": lambda fc, call, run, _: fc.runs.get(call, run, logs=True),
    "runs.logs": lambda fc, call, run, _: fc.runs.logs(call, run),
    "runs.payload": lambda fc, call, run, _: fc.runs.payload(call, run, NOTHING),
    "runs.wait": lambda fc, call, run, _: fc.runs.wait(call, run, 0.01),
    "runs.follow": followed,
    "runs.change_status": lambda fc, call, run, _: fc.runs.change_status(
        call, run, ChangeStatusRequest(status="cancelled")
    ),
    "runs.restart": lambda fc, call, run, _: fc.runs.restart(
        call, run, RestartRequest(from_step="ask")
    ),
    "steps.record": lambda fc, call, run, _: fc.steps.record(
        call, run, RecordStepRequest(step_id="s", status="running")
    ),
    "gates.request": lambda fc, call, run, _: fc.gates.request(
        call, run, RequestGateRequest(step_id="s", gate_name="g")
    ),
    "evidence.pack": packed,
    "evidence.receipt": lambda fc, call, run, _: fc.evidence.receipt(call, run),
    "erasures.erase": lambda fc, call, run, _: fc.erasures.erase(
        call, EraseRequest(run_id=run, reason=WHY)
    ),
}
OF_A_GATE: dict[str, UseCase] = {
    "gates.answer": lambda fc, call, run, gate_: fc.gates.answer(call, run, gate_, APPROVE),
    "gates.resume": lambda fc, call, run, gate_: fc.gates.resume(
        call, run, ResumeRequest(gate_id=gate_, decision="approve")
    ),
    "gates.bypass": lambda fc, call, run, gate_: fc.gates.bypass(call, run, gate_, BYPASS),
}
OF_A_SCHEDULE: dict[str, Callable[[FederationCore, Call, str], Awaitable[Any]]] = {
    "schedules.get": lambda fc, call, schedule: fc.schedules.get(call, schedule),
    "schedules.pause": lambda fc, call, schedule: fc.schedules.pause(call, schedule),
    "schedules.resume": lambda fc, call, schedule: fc.schedules.resume(call, schedule),
    "schedules.remove": lambda fc, call, schedule: fc.schedules.remove(call, schedule),
}
OF_THE_TENANT = {
    "answers.find",
    "answers.remember",
    "evidence.pack_of_many",
    "gates.pending",
    "policies.activate",
    "policies.history",
    "runs.create",
    "runs.page",
    "runs.preview",
    "schedules.add",
    "schedules.listed",
    "workflows.register",
    "workflows.registered",
}
OF_THE_LOG: dict[str, Callable[[FederationCore, Call], Awaitable[Any]]] = {
    "log.checkpoint": lambda fc, call: fc.log.checkpoint(call),
    "log.consistency": lambda fc, call: fc.log.consistency(call, 1, 1),
    "log.inclusion": lambda fc, call: fc.log.inclusion(call, 0, 1),
    "log.keys": lambda fc, call: fc.log.keys(call),
    "log.rotate": lambda fc, call: fc.log.rotate(call, RotateRequest()),
    "log.tile": lambda fc, call: fc.log.tile(call, "0/000.p/1"),
    "log.trust": lambda fc, call: fc.log.trust(call),
}
"""Of all tenants together: hashes and keys alone, without an `admin`."""
NOT_A_CALLERS = {"policies.restore", "runs.bear"}
ROOMS = (
    *("answers", "erasures", "evidence", "gates", "log", "policies", "runs", "schedules", "steps"),
    "workflows",
)


async def test_the_tables_name_every_use_case(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        found = {
            f"{room}.{name}"
            for room in ROOMS
            for name, _ in inspect.getmembers(getattr(fc, room), inspect.ismethod)
            if not name.startswith("_")
        }
        rooms = {name for name in vars(fc) if not name.startswith("_")}
    assert rooms == set(ROOMS)
    named = {*OF_A_RUN, *OF_A_GATE, *OF_A_SCHEDULE, *OF_THE_TENANT, *OF_THE_LOG, *NOT_A_CALLERS}
    assert found == named


async def external(fc: FederationCore) -> str:
    call = fc.call("starter")
    created = await fc.runs.create(call, CreateRunRequest(workflow_id="outside"))
    start = ChangeStatusRequest(status="running")
    await fc.runs.change_status(call, created.run.run_id, start)
    return created.run.run_id


@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("kind", ["managed", "external"])
async def test_another_tenants_run_is_not_there(
    tmp_path: Path, stage: Stage, name: str, kind: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask")) if kind == "managed" else await external(fc)
        own = await until(fc, run_id, "paused", "running")
        with pytest.raises(NotFound) as caught:
            await OF_A_RUN[name](fc, fc.call("starter", tenant="other"), run_id, "")
        with pytest.raises(NotFound) as unknown:
            await OF_A_RUN[name](fc, fc.call("starter", tenant="other"), "no-such-run", "")
        # What is somebody else's looks in every way like what does not exist.
        assert caught.value.error_code == unknown.value.error_code == "run_not_found"
        assert caught.value.detail.replace(run_id, "") == unknown.value.detail.replace(
            "no-such-run", ""
        )
        if kind == "external":
            assert await until(fc, run_id, "running") == own


@pytest.mark.parametrize("name", OF_A_GATE)
async def test_another_tenants_gate_is_not_there_and_the_attempt_is_on_record(
    tmp_path: Path, stage: Stage, name: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", "approver"), py("b"))
        [asked] = await open_gates(fc, run_id)
        stranger = fc.call("approver", tenant="other")
        with pytest.raises(NotFound) as caught:
            await OF_A_GATE[name](fc, stranger, run_id, asked.gate_id)
        with pytest.raises(NotFound) as unknown:
            await OF_A_GATE[name](fc, stranger, run_id, "no-such-gate")
        assert unknown.value.error_code in ("run_not_found", "gate_not_found")
        assert caught.value.error_code == "gate_not_found"
        assert await open_gates(fc, run_id) == [asked]
        answer = await until(fc, run_id, "paused")
        refused = [e for e in answer.logs if e.event_type == "FC-AUTH-001"]
        assert [(e.actor_id, e.details["actor_tenant"]) for e in refused] == [("approver", "other")]
        assert refused[0].message.startswith("Refused gate.resolve to approver of tenant other: ")
        assert stage.effects == []
        await approve(fc, asked)
        assert (await until(fc, run_id)).run.status == "completed"


async def test_a_gate_reached_for_without_its_run_is_on_record_too(
    tmp_path: Path, stage: Stage
) -> None:
    """On the alias a gate is named by its id alone."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"))
        [asked] = await open_gates(fc, run_id)
        with pytest.raises(NotFound):
            await fc.gates.answer(fc.call("x", tenant="other"), None, asked.gate_id, APPROVE)
        with pytest.raises(NotFound):
            await fc.gates.answer(fc.call("x"), None, "no-such-gate", APPROVE)
        assert codes((await until(fc, run_id, "paused")).logs).count("FC-AUTH-001") == 1
        await fc.gates.answer(fc.call("x"), None, asked.gate_id, APPROVE)
        assert (await until(fc, run_id)).run.status == "completed"


async def test_a_gate_is_its_own_runs_alone(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask")))
        request = CreateRunRequest(workflow_id="wf")
        runs = [(await fc.runs.create(fc.call("x"), request)).run.run_id for _ in range(2)]
        gates = [(await open_gates(fc, run_id))[0] for run_id in runs]
        for use_case in OF_A_GATE.values():
            with pytest.raises(NotFound) as caught:
                await use_case(fc, fc.call("x"), runs[0], gates[1].gate_id)
            assert caught.value.error_code == "gate_not_found"
        assert [(await open_gates(fc, run_id))[0] for run_id in runs] == gates


@pytest.mark.parametrize("name", OF_A_SCHEDULE)
async def test_another_tenants_schedule_is_not_there(tmp_path: Path, name: str) -> None:
    async with core(tmp_path) as fc:
        own = await ticking(fc)
        if name == "schedules.resume":
            own = await fc.schedules.pause(fc.call("ann"), "s")
        stranger = fc.call("ann", tenant="other")
        told = []
        for schedule_id in ("s", "no-such-schedule"):
            with pytest.raises(NotFound) as caught:
                await OF_A_SCHEDULE[name](fc, stranger, schedule_id)
            assert caught.value.detail.endswith(f" {schedule_id}.")
            told.append((caught.value.error_code, caught.value.detail[: -len(schedule_id) - 1]))
        assert told[0] == told[1]
        assert await fc.schedules.listed(stranger) == []
        assert await fc.schedules.listed(fc.call("ann")) == [own]
        await OF_A_SCHEDULE[name](fc, fc.call("ann"), "s")


async def test_one_schedule_id_in_two_tenants_is_two_schedules(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await ticking(fc)
        stranger = fc.call("bob", tenant="other")
        request = AddScheduleRequest(schedule_id="s", workflow_id="wf", cron="0 0 * * *")
        with pytest.raises(InvalidInput, match="not registered"):  # here it is, there it is not
            await fc.schedules.add(stranger, request)
        await register(fc, workflow(gate("ask")), tenant="other")
        await fc.schedules.add(stranger, request)
        await fc.schedules.remove(stranger, "s")
        assert [s.actor_id for s in await fc.schedules.listed(fc.call("x"))] == ["ann"]


@pytest.mark.parametrize("name", [*OF_A_SCHEDULE, "schedules.add", "schedules.listed"])
async def test_each_use_case_of_schedules_needs_its_scope(tmp_path: Path, name: str) -> None:
    reads = name in ("schedules.get", "schedules.listed")
    scope = "workflow:read" if reads else "workflow:write"
    request = AddScheduleRequest(workflow_id="wf", cron="0 0 * * *")
    use_cases = OF_A_SCHEDULE | {
        "schedules.add": lambda fc, call, _: fc.schedules.add(call, request),
        "schedules.listed": lambda fc, call, _: fc.schedules.listed(call),
    }
    async with core(tmp_path) as fc:
        await ticking(fc)
        without = with_scopes(fc.call("x"), fc.call("x").caller.scopes - {scope, "admin"})
        with pytest.raises(Forbidden, match=scope):
            await use_cases[name](fc, without, "s")
        with suppress(Conflict):
            await use_cases[name](fc, with_scopes(fc.call("x"), frozenset({scope})), "s")


async def test_a_stranger_cannot_make_a_log_grow_for_ever(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation_core.spine.handle_run.MAX_REFUSALS", 3)
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", "approver"))
        [asked] = await open_gates(fc, run_id)
        stranger = fc.call("approver", tenant="other")
        for _ in range(5):
            with pytest.raises(NotFound):
                await fc.gates.answer(stranger, None, asked.gate_id, APPROVE)
        for _ in range(2):
            with pytest.raises(Forbidden):
                await approve(fc, asked, "stranger")
        answer = await until(fc, run_id, "paused")
    assert codes(answer.logs).count("FC-AUTH-001") == 3


async def test_lists_hold_the_tenants_own(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        here, there = fc.call("ann"), fc.call("ann", tenant="other")
        mine = await begin(fc, gate("ask"))
        await open_gates(fc, mine)
        theirs = (await fc.runs.create(there, CreateRunRequest(workflow_id="wf"))).run
        assert theirs.execution == "external"  # what is registered here is not registered there
        assert [r.run_id for r in await fc.runs.page(here)] == [mine]
        assert [r.run_id for r in await fc.runs.page(there)] == [theirs.run_id]
        assert [r.run_id for r in await fc.runs.page(there, cursor=mine)] == []
        assert [g.run_id for g in await fc.gates.pending(here)] == [mine]
        assert await fc.gates.pending(there) == []
        assert await fc.gates.pending(there, approver_id="ann") == []
        assert [w.version for w in await fc.workflows.registered(here)] == ["1.0.0"]
        assert await fc.workflows.registered(there) == []


async def test_a_pack_of_many_holds_the_tenants_own(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        here, there = fc.call("ann"), fc.call("ann", tenant="other")
        request = CreateRunRequest(workflow_id="outside", tags=["t"])
        runs = {}
        for call in (here, there):
            runs[call.tenant] = (await fc.runs.create(call, request)).run.run_id
            end = ChangeStatusRequest(status="cancelled")
            await fc.runs.change_status(call, runs[call.tenant], end)
        for call in (here, there):
            pack = await fc.evidence.pack_of_many(call, tag="t")
            with pack.file as file:
                names = zipfile.ZipFile(file).namelist()
            assert pack.summary.run_ids == (runs[call.tenant],)
            [other] = set(runs.values()) - {runs[call.tenant]}
            assert not [name for name in names if other in name]
        with pytest.raises(NotFound):
            await fc.evidence.pack_of_many(fc.call("ann", tenant="third"), tag="t")


async def test_a_value_is_erased_in_its_own_tenant_alone(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        here, there = fc.call("ann"), fc.call("ann", tenant="other")
        runs = []
        for call in (here, there):
            created = await fc.runs.create(call, CreateRunRequest(workflow_id="outside"))
            runs.append(created.run.run_id)
            end = ChangeStatusRequest(status="cancelled")
            await fc.runs.change_status(call, runs[-1], end)
        request = EraseRequest(payload_hash=NOTHING, reason=WHY)
        assert set((await fc.erasures.erase(there, request)).payloads) == {runs[1]}
        assert (await fc.runs.payload(here, runs[0], NOTHING)).value == {}
        with pytest.raises(NotFound):
            await fc.erasures.erase(fc.call("ann", tenant="third"), request)


async def test_a_parent_is_a_run_of_the_same_tenant(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        parent = await begin(fc, py("a"))
        request = CreateRunRequest(workflow_id="wf", parent_run_id=parent)
        assert (await fc.runs.create(fc.call("x"), request)).run.parent_run_id == parent
        with pytest.raises(InvalidInput, match="to be the parent"):
            await fc.runs.create(fc.call("x", tenant="other"), request)


async def test_workflows_of_one_name_are_two_workflows(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("mine")))
        await register(fc, workflow(py("theirs")), tenant="other")
        for tenant, expected in ((None, "mine"), ("other", "theirs")):
            stage.effects.clear()
            call = fc.call("x", tenant=tenant)
            run = (await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))).run
            await fc.runs.wait(call, run.run_id, 20)
            assert (await fc.runs.get(call, run.run_id)).run.status == "completed"
            assert stage.names == [expected]


async def test_one_tenants_policy_does_not_decide_for_another(tmp_path: Path, stage: Stage) -> None:
    denies = bundle(
        '@id("no") forbid (principal, action == Action::"run.create", resource);', version="2.0.0"
    )
    async with core(tmp_path) as fc:
        other = fc.call("boss", tenant="other")
        await fc.policies.activate(other, denies)
        request = CreateRunRequest(workflow_id="outside")
        assert (await fc.runs.create(other, request)).run.status == "failed"
        assert (await fc.runs.create(fc.call("x"), request)).run.status == "pending"
        third = fc.call("x", tenant="third")
        assert (await fc.runs.create(third, request)).run.status == "pending"
        assert [a.version for a in await fc.policies.history(other)] == ["2.0.0"]
        assert [a.version for a in await fc.policies.history(third)] == ["1.0.0"]
    async with core(tmp_path) as fc:  # and so after a restart
        assert (await fc.runs.create(other, request)).run.status == "failed"
        assert (await fc.runs.create(fc.call("x"), request)).run.status == "pending"


async def test_policy_sees_the_callers_tenant(tmp_path: Path, stage: Stage) -> None:
    policy = '@id("t") forbid (principal, action == Action::"run.create", resource) when { principal.tenant == "other" };'  # noqa: E501
    async with core(tmp_path, policy) as fc:
        request = CreateRunRequest(workflow_id="outside")
        assert (await fc.runs.create(fc.call("x"), request)).run.status == "pending"
        created = await fc.runs.create(fc.call("x", tenant="other"), request)
        assert created.run.status == "failed"


async def test_one_idempotency_key_in_two_tenants_is_two_keys(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        made = {}
        for tenant in ("default", "other"):
            call = msgspec.structs.replace(
                fc.call("x", tenant=tenant), key=Key("the key", f"hash of {tenant}")
            )
            assert await fc.answers.find(call) is None
            made[tenant] = await fc.runs.create(call, CreateRunRequest(workflow_id="outside"))
            found = await fc.answers.find(call)
            assert found is not None
            assert made[tenant].run.run_id.encode() in found.body
        wrong = msgspec.structs.replace(fc.call("x"), key=Key("the key", "hash of other"))
        with pytest.raises(Conflict):
            await fc.answers.find(wrong)


NEEDS = {
    "runs.get": "workflow:read",
    "runs.payload": "workflow:read",
    "runs.logs": "workflow:read",
    "runs.wait": "workflow:read",
    "runs.follow": "workflow:read",
    "runs.change_status": "workflow:write",
    "steps.record": "workflow:write",
    "gates.request": "workflow:write",
    "evidence.pack": "workflow:read",
    "evidence.receipt": "workflow:read",
    "erasures.erase": "admin",
    "gates.answer": "gate:write",
    "gates.resume": "gate:write",
    "gates.bypass": "gate:bypass",
}


@pytest.mark.parametrize(("name", "scope"), NEEDS.items())
async def test_each_use_case_needs_its_scope(
    tmp_path: Path, stage: Stage, name: str, scope: str
) -> None:
    use_case = (OF_A_RUN | OF_A_GATE)[name]
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"))
        [asked] = await open_gates(fc, run_id)
        without = with_scopes(fc.call("x"), fc.call("x").caller.scopes - {scope, "admin"})
        with pytest.raises(Forbidden, match=scope):
            await use_case(fc, without, run_id, asked.gate_id)
        with suppress(Conflict, NotFound):  # it fails for another reason, or for none
            await use_case(fc, with_scopes(fc.call("x"), frozenset({scope})), run_id, asked.gate_id)


@pytest.mark.parametrize("name", OF_THE_LOG)
async def test_what_the_log_shows_needs_its_scope(tmp_path: Path, name: str) -> None:
    scope = "admin" if name == "log.rotate" else "workflow:read"
    async with core(tmp_path) as fc:
        without = with_scopes(fc.call("x"), fc.call("x").caller.scopes - {scope, "admin"})
        with pytest.raises(Forbidden, match=scope):
            await OF_THE_LOG[name](fc, without)
        assert await OF_THE_LOG[name](fc, with_scopes(fc.call("x"), frozenset({scope})))


async def test_events_of_all_tenants_are_an_admins(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        reader = with_scopes(fc.call("x"), frozenset({"workflow:read"}))
        with pytest.raises(Forbidden, match="admin"):
            await fc.log.tile(reader, "entries/000.p/1")
        assert b'"stream":' in await fc.log.tile(fc.call("x"), "entries/000.p/1")


def with_scopes(call: Call, scopes: frozenset[str]) -> Call:
    caller = msgspec.structs.replace(call.caller, scopes=scopes)
    return msgspec.structs.replace(call, caller=caller)
