"""Adding, seeing, holding and removing schedules."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core_helpers import Clock, core, flag, forbid, gate, py, register, workflow
from tests.core_steps import Stage
from tests.schedule_helpers import add, minute, runs_by_tick, ticking

from federation_core.errors import Conflict, Forbidden, InvalidInput, NotFound
from federation_core.ledger import queries
from federation_core.service import AddScheduleRequest, Call, EraseRequest, FederationCore, Key
from federation_core.spine.canonical import value_hash
from federation_core.spine.schedule import schedule_stream, tick_run_id
from federation_core.spine.times import from_rfc3339

STREAM = schedule_stream("default", "s")


async def events(fc: FederationCore) -> list[dict[str, Any]]:
    bodies = await fc._parts.ledger.read(queries.bodies, STREAM)
    return [msgspec.json.decode(body) for body in bodies]


async def test_a_schedule_is_added_and_seen(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, clock=Clock()) as fc:
        given = {"given": {"n": 1}, "metadata": {"m": 0.5}}
        added = await ticking(
            fc, input_payload=given["given"], metadata=given["metadata"], tags=["t"]
        )
        assert (added.status, added.next_at, added.last_tick) == ("active", minute(1), None)
        assert (added.actor_id, added.input_payload, added.metadata, added.tags) == (
            "ann",
            {"n": 1},
            {"m": 0.5},
            ("t",),
        )
        assert await fc.schedules.listed(fc.call("x")) == [added]
        answer = await fc.schedules.get(fc.call("x"), "s")
        assert (answer.schedule, answer.ticks) == (added, [])
        told = await events(fc)
    assert [e["type"] for e in told] == ["FC-POLICY-001", "FC-SCHED-001"]
    assert told[1]["data"]["actor_roles"] == ["ops"]
    assert "given" not in str(told)  # values stand beside the events


async def test_an_id_is_made_where_none_is_given(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        first, second = await ticking(fc, schedule_id=None), await add(fc, schedule_id=None)
        found = await fc.schedules.listed(fc.call("x"))
    assert {s.schedule_id for s in found} == {first.schedule_id, second.schedule_id}


async def test_an_id_is_taken_until_it_is_removed(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        with pytest.raises(Conflict) as caught:
            await add(fc, cron="0 0 * * *")
        assert caught.value.error_code == "schedule_exists"
        assert (await fc.schedules.remove(fc.call("x"), "s")).status == "removed"
        clock.forward(600)
        await fc._scheduler.turn()
        again = await add(fc, "bob", cron="30 * * * *")
        assert (again.actor_id, again.next_at) == ("bob", minute(30))
        assert await runs_by_tick(fc) == {}


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({"cron": "61 * * * *"}, "/cron"),
        ({"cron": "0 0 */31 2 MON#5"}, "/cron"),
        ({"timezone": "Mars/Base"}, "/timezone"),
        ({"metadata": {"schedule": {}}}, "/metadata/schedule"),
        ({"input_payload": {"n": "many"}}, "/input_payload/n"),
        ({"input_payload": {"n": 2**60}}, "/input_payload/n"),
    ],
)
async def test_what_could_not_tick_is_not_added(
    tmp_path: Path, request_: dict[str, Any], path: str
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask"), input=schema))
        with pytest.raises(InvalidInput) as caught:
            await add(fc, **request_)
        assert [e.path for e in caught.value.errors] == [path]
        assert await fc.schedules.listed(fc.call("x")) == []
        assert await events(fc) == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"workflow_id": "other"}, "workflow_not_registered"),
        ({"workflow_version": "2.0.0"}, "version_not_registered"),
    ],
)
async def test_the_workflow_is_registered(
    tmp_path: Path, request_: dict[str, Any], code: str
) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask")))
        with pytest.raises(InvalidInput) as caught:
            await add(fc, **request_)
        assert caught.value.error_code == code
        assert await events(fc) == []


async def test_policy_sees_the_first_run_when_a_schedule_is_added(tmp_path: Path) -> None:
    policy = forbid(
        "late",
        'context.metadata.schedule.id == "s" && context.input.n == 7 && principal.kind == "service"'
        ' && principal.roles.contains("ops") && context.workflow_version == "1.0.0"',
        action="run.create",
    )
    async with core(tmp_path, policy) as fc:
        with pytest.raises(Forbidden) as caught:
            await ticking(fc, input_payload={"n": 7})
        assert caught.value.error_code == "policy_denied"
        told = await events(fc)
        assert [e["type"] for e in told] == ["FC-POLICY-001", "FC-AUTH-001"]
        assert (told[0]["data"]["action"], told[0]["actor"]) == ("run.create", "ann")
        assert await fc.schedules.listed(fc.call("x")) == []
        with pytest.raises(NotFound):
            await fc.schedules.get(fc.call("x"), "s")
        assert (await add(fc, input_payload={"n": 8})).status == "active"


async def test_a_flag_is_answered_at_each_run(tmp_path: Path) -> None:
    clock = Clock()
    policy = flag("ask", action="run.create", approvers="boss")
    async with core(tmp_path, policy, clock=clock) as fc:
        await register(fc, workflow(py("a")))
        await add(fc)
        clock.forward(60)
        await fc._scheduler.turn()
        [run] = await fc.runs.page(fc.call("x"))
        assert run.status == "pending"
        [asked] = await fc.gates.pending(fc.call("x"))
        assert asked.required_approvers == ("boss",)


async def test_a_paused_schedule_has_no_ticks(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        call = fc.call("operator")
        paused = await fc.schedules.pause(call, "s")
        assert (paused.status, paused.next_at) == ("paused", None)
        with pytest.raises(Conflict):
            await fc.schedules.pause(call, "s")
        clock.forward(600)
        await fc._scheduler.turn()
        resumed = await fc.schedules.resume(call, "s")
        assert (resumed.status, resumed.next_at) == ("active", minute(11))
        with pytest.raises(Conflict):
            await fc.schedules.resume(call, "s")
        clock.forward(60)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {minute(11): 1}
        [run] = await fc.runs.page(call)
        assert run.actor_id == "ann"  # who added it, not who let it go on


@pytest.mark.parametrize("use_case", ["get", "remove", "pause", "resume"])
async def test_what_is_not_there_is_not_found(tmp_path: Path, use_case: str) -> None:
    async with core(tmp_path) as fc:
        await ticking(fc)
        await fc.schedules.remove(fc.call("x"), "s")
        for schedule_id in ("s", "other"):
            with pytest.raises(NotFound) as caught:
                await getattr(fc.schedules, use_case)(fc.call("x"), schedule_id)
            assert caught.value.error_code == "schedule_not_found"


async def test_the_run_of_a_tick(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await register(fc, workflow(gate("ask"), version="1.2.0"))
        await register(fc, workflow(gate("ask"), version="1.3.0"))
        call = msgspec.structs.replace(fc.call("ann", roles=["ops"], kind="agent"), mode="strict")
        await fc.schedules.add(
            call,
            AddScheduleRequest(
                schedule_id="s",
                workflow_id="wf",
                workflow_version="1.2.0",
                cron="* * * * *",
                input_payload={"n": 1},
                metadata={"m": 2},
                tags=["t"],
            ),
        )
        clock.forward(60)
        await fc._scheduler.turn()
        [run] = await fc.runs.page(fc.call("x"))
        [born] = await fc.runs.logs(fc.call("x"), run.run_id, limit=1)
        answer = await fc.schedules.get(fc.call("x"), "s")
    assert run.run_id == tick_run_id("default", "s", from_rfc3339(minute(1)))
    assert (run.workflow_version, run.input_payload, run.tags) == ("1.2.0", {"n": 1}, ("t",))
    assert run.metadata == {"m": 2, "schedule": {"id": "s", "at": minute(1)}}
    assert run.correlation_id == f"t:default|c:{run.run_id}"
    assert (born.actor_id, born.via) == ("ann", "schedule")
    told = born.details
    assert (told["actor_kind"], told["actor_roles"]) == ("agent", ("ops",))
    assert (told["policy_mode"], told["execution"]) == ("strict", "managed")
    [tick] = answer.ticks
    assert (tick.at, tick.outcome, tick.run_id) == (minute(1), "created", run.run_id)
    assert answer.schedule.last_tick == tick
    assert answer.schedule.next_at == minute(2)


async def test_an_idempotency_key_adds_once(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask")))
        call = msgspec.structs.replace(fc.call("ann"), key=Key("k", "hash"))
        request = AddScheduleRequest(workflow_id="wf", cron="0 0 * * *")
        added = await fc.schedules.add(call, request)
        found = await fc.answers.find(call)
        assert found is not None
        assert (found.status, found.body) == (201, msgspec.json.encode(added))
        with pytest.raises(Conflict):
            await fc.schedules.add(call, request)
        assert len(await fc.schedules.listed(call)) == 1


# Erasure.


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_what_a_schedule_needs_is_not_erased(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, input_payload={"name": "Erika"})
        request = EraseRequest(
            payload_hash=value_hash({"name": "Erika"}), reason="she asked for it"
        )
        with pytest.raises(Conflict) as caught:
            await fc.erasures.erase(fc.call("x"), request)
        assert caught.value.error_code == "schedule_not_removed"
        await fc.schedules.remove(fc.call("x"), "s")
        erased = await fc.erasures.erase(fc.call("x"), request)
        assert erased.payloads == {STREAM: [request.payload_hash]}
        await add(fc, input_payload={"name": "Erika"})  # anew, and it is there again
        clock.forward(60)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {minute(1): 1}
    assert b"Erika" in (tmp_path / "fedcore.db").read_bytes()


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_erasure_takes_the_answers_that_tell_of_it_and_no_others(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask")))
        calls = {}
        for name, given in (("s", {"name": "Erika"}), ("s2", {"n": 1})):
            key = Key(name, "hash")
            calls[name] = msgspec.structs.replace(fc.call("ann"), key=key)
            await fc.schedules.add(
                calls[name],
                AddScheduleRequest(
                    schedule_id=name, workflow_id="wf", cron="0 0 * * *", input_payload=given
                ),
            )
        await fc.schedules.remove(fc.call("x"), "s")
        request = EraseRequest(
            payload_hash=value_hash({"name": "Erika"}), reason="she asked for it"
        )
        await fc.erasures.erase(fc.call("x"), request)
        told = {name: await fc.answers.find(call) for name, call in calls.items()}
    assert told["s"] is not None
    assert told["s2"] is not None
    assert (told["s"].status, told["s2"].status) == (410, 201)
    assert b"Erika" not in (tmp_path / "fedcore.db").read_bytes()


@pytest.mark.parametrize("use_case", ["remove", "pause", "resume"])
async def test_in_strict_mode_a_schedule_is_its_own_actors(tmp_path: Path, use_case: str) -> None:
    async with core(tmp_path, mode="strict") as fc:
        added = await ticking(fc)
        if use_case == "resume":
            added = await fc.schedules.pause(fc.call("ann"), "s")

        def by(actor: str, *scopes: str) -> Call:
            call = fc.call(actor)
            caller = msgspec.structs.replace(call.caller, scopes=frozenset(scopes))
            return msgspec.structs.replace(call, caller=caller)

        act = getattr(fc.schedules, use_case)
        with pytest.raises(Forbidden) as caught:
            await act(by("bob", "workflow:write"), "s")
        assert caught.value.error_code == "not_the_scheduler"
        assert await fc.schedules.listed(fc.call("x")) == [added]
        refused = (await events(fc))[-1]
        assert (refused["type"], refused["actor"]) == ("FC-AUTH-001", "bob")
        assert refused["data"]["attempted"] == f"schedule.{use_case}"
        actor, scope = ("ann", "workflow:write") if use_case == "pause" else ("chief", "admin")
        assert (await act(by(actor, scope), "s")).status != added.status


async def test_in_loose_mode_whoever_may_write_may_hold_a_schedule(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await ticking(fc)
        call = fc.call("bob")
        caller = msgspec.structs.replace(call.caller, scopes=frozenset({"workflow:write"}))
        call = msgspec.structs.replace(call, caller=caller)
        assert (await fc.schedules.pause(call, "s")).status == "paused"
        with pytest.raises(Forbidden):  # the caller may ask for more
            await fc.schedules.remove(msgspec.structs.replace(call, mode="strict"), "s")


async def test_removing_is_on_record_and_codes_are_the_schedules(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await ticking(fc)
        await fc.schedules.pause(fc.call("bob"), "s")
        await fc.schedules.resume(fc.call("bob"), "s")
        await fc.schedules.remove(fc.call("carol"), "s")
        told = await events(fc)
    assert [(e["type"], e["actor"]) for e in told] == [
        ("FC-POLICY-001", "ann"),
        ("FC-SCHED-001", "ann"),
        ("FC-SCHED-004", "bob"),
        ("FC-SCHED-004", "bob"),
        ("FC-SCHED-002", "carol"),
    ]
