"""Promise 6 for schedules: no tick is missed and none has two runs, whatever happens."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import pytest
import structlog
from tests.core_helpers import Clock, core, forbid, gate, py, register, until, workflow
from tests.core_steps import Stage
from tests.ledger_helpers import held
from tests.log_helpers import Warnings
from tests.schedule_helpers import add, minute, runs_by_tick, ticking

from federation_core.ledger import sqlite
from federation_core.ledger.schedules import ticks_of
from federation_core.service import (
    AddScheduleRequest,
    EraseRequest,
    FederationCore,
    scheduler,
    tick_plan,
)
from federation_core.service.tick_plan import Planned
from federation_core.service.tick_runs import TickRuns
from federation_core.spine.canonical import value_hash
from federation_core.spine.schedule import Schedule, Tick, Ticked
from federation_core.spine.times import from_rfc3339


def once(*minutes: int) -> Counter[str]:
    return Counter(map(minute, minutes))


async def ticks(fc: FederationCore, schedule_id: str = "s") -> list[Tick]:
    """The oldest first."""
    return (await fc.schedules.get(fc.call("x"), schedule_id)).ticks[::-1]


async def test_it_ticks_by_itself(tmp_path: Path, stage: Stage) -> None:
    """It wakes for what is added, and when something is due."""
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await register(fc, workflow(py("a")))
        added = await add(fc)
        async with fc._parts.ledger.watch("schedule:default/s") as watch:
            left = from_rfc3339(added.next_at or "") - clock()
            clock.forward(left / 1_000_000 - 0.1)  # a tenth of a second before the tick
            await add(fc, schedule_id="other", cron="0 0 * * *")
            async with asyncio.timeout(20):
                while (append := await watch.next()) and append.events[-1].type != "FC-SCHED-003":
                    pass
        [tick] = await ticks(fc)
        assert (tick.at, tick.outcome) == (added.next_at, "created")
        assert tick.run_id is not None
        assert (await until(fc, tick.run_id)).run.status == "completed"
    assert stage.names == ["a"]


async def test_no_tick_is_missed_over_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        clock.forward(60)
        await fc._scheduler.turn()
    clock.forward(240)
    async with core(tmp_path, clock=clock) as fc:
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(1, 2, 3, 4, 5)
        assert [t.at for t in await ticks(fc)] == [minute(n) for n in range(1, 6)]
        assert not any(t.skipped_from for t in await ticks(fc))


@pytest.mark.parametrize(
    ("catch_up", "expected"), [("all", range(1, 61)), ("latest", [60]), ("none", [60])]
)
async def test_a_clock_that_jumps_an_hour_fires_what_is_due(
    tmp_path: Path, catch_up: str, expected: list[int]
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, catch_up=catch_up)
        clock.forward(3600)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(*expected)
        last = (await ticks(fc))[-1]
        assert last.skipped_from == (None if catch_up == "all" else minute(1))


async def test_what_is_late_is_missed_where_nothing_is_caught_up(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, catch_up="none", cron="0 * * * *")
        clock.forward(3 * 3600 - 300)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {}
        [tick] = await ticks(fc)
        assert (tick.at, tick.outcome, tick.run_id) == (minute(120), "missed", None)
        assert tick.skipped_from == minute(60)
        clock.forward(330)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(180)


async def test_too_many_missed_ticks_are_cut_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick_plan, "MAX_CATCH_UP", 40)  # over the ticks that share a commit
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        clock.forward(3600)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(*range(21, 61))
        told = await fc._parts.ledger.read(ticks_of, "default", "s", limit=1_000)
    assert [t.skipped_from for t in told] == [None] * 39 + [minute(1)]


async def test_a_clock_that_steps_back_an_hour_doubles_nothing(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        clock.forward(120)
        await fc._scheduler.turn()
        for _ in range(62):
            clock.forward(-3600 if _ == 0 else 60)
            await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(1, 2, 3)


async def test_a_schedule_added_anew_after_a_step_back_doubles_nothing(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        clock.forward(120)
        await fc._scheduler.turn()
        clock.forward(-3600)
        await fc.schedules.remove(fc.call("x"), "s")
        assert (await add(fc)).next_at == minute(3)
        clock.forward(3660)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(1, 2, 3)


async def test_a_tick_that_is_refused_does_not_stop_the_schedule(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, input_payload={"canary": 1})
        strict = {"type": "object", "propertyNames": {"maxLength": 2}}
        await register(fc, workflow(gate("ask"), version="2.0.0", input=strict))
        clock.forward(60)
        await fc._scheduler.turn()
        await register(fc, workflow(gate("ask"), version="3.0.0"))
        clock.forward(60)
        await fc._scheduler.turn()
        first, second = await ticks(fc)
        assert (first.outcome, first.run_id, first.error_code) == (
            "refused",
            None,
            "invalid_input",
        )
        assert (first.reason or "").startswith("The input is refused; start a run with it")
        assert second.outcome == "created"
        assert await runs_by_tick(fc) == once(2)


async def test_a_run_that_policy_denies_is_on_record_and_the_schedule_goes_on(
    tmp_path: Path,
) -> None:
    clock = Clock()
    policy = forbid("odd", f'context.metadata.schedule.at == "{minute(2)}"', action="run.create")
    async with core(tmp_path, policy, clock=clock) as fc:
        await ticking(fc)
        clock.forward(180)
        await fc._scheduler.turn()
        told = await ticks(fc)
        assert [t.outcome for t in told] == ["created", "denied", "created"]
        assert told[1].reason == "odd forbids it"
        assert told[1].run_id is not None
        assert (await fc.runs.get(fc.call("x"), told[1].run_id)).run.status == "failed"


async def test_a_schedule_whose_input_is_gone_is_told_so(tmp_path: Path) -> None:
    """No use case erases it while the schedule is there; a race might."""
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, input_payload={"n": 1})
        found = value_hash({"n": 1})
        original = fc.erasures._must_be_removed
        fc.erasures._must_be_removed = lambda *_: asyncio.sleep(0)  # type: ignore[method-assign]
        await fc.erasures.erase(
            fc.call("x"), EraseRequest(payload_hash=found, reason="asked for it")
        )
        fc.erasures._must_be_removed = original  # type: ignore[method-assign]
        clock.forward(60)
        await fc._scheduler.turn()
        [tick] = await ticks(fc)
        assert (tick.outcome, tick.error_code) == ("refused", "input_erased")
        assert (await fc.schedules.get(fc.call("x"), "s")).schedule.input_payload is None


async def test_many_schedules_and_tenants_tick_together(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        for tenant in (None, "other"):
            await register(fc, workflow(gate("ask")), tenant=tenant)
        for number in range(40):
            await add(fc, schedule_id=f"s{number}")
        other = fc.call("bob", tenant="other")
        request = AddScheduleRequest(schedule_id="s0", workflow_id="wf", cron="* * * * *")
        await fc.schedules.add(other, request)
        clock.forward(60)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {minute(1): 40}
        assert await runs_by_tick(fc, tenant="other") == once(1)


# Others at the same time.


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes' worth of everything may be on one database."""
    monkeypatch.setattr("federation_core.service.core.Exclusive", nullcontext, raising=False)


async def test_several_nodes_tick_once(tmp_path: Path, two_nodes: None) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(core(tmp_path, clock=clock, audited=False))
            for _ in range(3)
        ]
        await ticking(nodes[0])
        for step in (60, 600, 60, 180):
            clock.forward(step)
            await asyncio.gather(*(n._scheduler.turn() for n in nodes for _ in range(3)))
        assert await runs_by_tick(nodes[0]) == once(*range(1, 16))
        assert [t.at for t in await ticks(nodes[1])] == [minute(n) for n in range(1, 16)]
    async with core(tmp_path, clock=clock) as fc:  # and the ledger holds
        assert await runs_by_tick(fc) == once(*range(1, 16))


async def test_what_another_node_removed_ticks_no_more(tmp_path: Path, two_nodes: None) -> None:
    clock = Clock()
    async with (
        core(tmp_path, clock=clock, audited=False) as one,
        core(tmp_path, clock=clock, audited=False) as two,
    ):
        await ticking(one)
        await two.schedules.remove(two.call("x"), "s")
        clock.forward(300)
        await asyncio.gather(one._scheduler.turn(), two._scheduler.turn())
        assert await runs_by_tick(one) == {}


async def test_a_schedule_removed_between_a_run_and_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        make = TickRuns.make

        async def late(self: TickRuns, planned: Planned) -> Ticked:
            made = await make(self, planned)
            if (await fc.schedules.listed(fc.call("x"))) != []:
                await fc.schedules.remove(fc.call("x"), "s")
            return made

        monkeypatch.setattr(TickRuns, "make", late)
        clock.forward(60)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(1)
        assert await fc.schedules.listed(fc.call("x")) == []


# What goes wrong.


@pytest.fixture
def warnings() -> object:
    seen = Warnings()
    structlog.configure(processors=[seen])
    yield seen
    structlog.reset_defaults()


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_a_ledger_that_cannot_be_written_for_a_while(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 10)
    monkeypatch.setattr(scheduler, "_RETRY_S", 0.01)
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        with held(tmp_path / "fedcore.db"):
            clock.forward(120)
            assert await fc._scheduler.turn() == 0.01
            await warnings.seen("schedule_not_ticked", 2)
            assert await runs_by_tick(fc) == {}
        async with asyncio.timeout(20):
            while await runs_by_tick(fc) != once(1, 2):
                await asyncio.sleep(0)
        while len(await ticks(fc)) < 2:
            await asyncio.sleep(0)


async def test_one_schedule_that_cannot_be_read_stops_no_other(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, schedule_id="bad")
        await add(fc, schedule_id="good")
        planned = scheduler._planned

        def plan(schedule: Schedule, now: int) -> list[Planned]:
            if schedule.schedule_id == "bad":
                raise ZeroDivisionError
            return planned(schedule, now)

        monkeypatch.setattr(scheduler, "_planned", plan)
        clock.forward(60)
        await fc._scheduler.turn()
        seen = await warnings.seen("schedule_not_ticked")
        assert seen[0]["schedule_id"] == "bad"
        [run] = await fc.runs.page(fc.call("x"))
        assert run.metadata["schedule"]["id"] == "good"


async def test_a_looker_that_fails_is_back_at_the_next_look(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_POLL_S", 0.01)
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        turn = fc._scheduler.turn
        fc._scheduler.turn = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        fc._scheduler._nudge.set()
        await warnings.seen("schedules_not_read", 2)
        clock.forward(60)
        fc._scheduler.turn = turn  # type: ignore[method-assign]
        async with asyncio.timeout(20):
            while await runs_by_tick(fc) != once(1):
                await asyncio.sleep(0)


async def test_a_process_that_ends_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc)
        await fc._scheduler.close()
        clock.forward(300)
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {}
    async with core(tmp_path, clock=clock) as fc:
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == once(1, 2, 3, 4, 5)
