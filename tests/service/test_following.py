"""`follow` tells every entry once and in order; `wait` returns when there is something to see."""

import asyncio
from pathlib import Path

import pytest
from tests.core_helpers import (
    approve,
    begin,
    core,
    gate,
    open_gates,
    py,
    register,
    start,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import NotFound
from federation_core.service import ChangeStatusRequest, CreateRunRequest, FederationCore
from federation_core.service.views import LogEntry


async def all_of(fc: FederationCore, run_id: str, after: int = -1) -> list[LogEntry]:
    return [entry async for entry in fc.runs.follow(fc.call("x"), run_id, after=after)]


async def test_everything_is_told_once_while_the_run_goes_on(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), *(py(f"s{i}") for i in range(20)), gate("ask"))
        await stage.seen("a began")
        followers = [asyncio.create_task(all_of(fc, run_id, after=n)) for n in (-1, -1, 3, 10)]
        await asyncio.sleep(0)
        stage.go("a may end")
        [asked] = await open_gates(fc, run_id)
        followers.append(asyncio.create_task(all_of(fc, run_id)))
        await approve(fc, asked)
        await until(fc, run_id)
        told = await asyncio.gather(*followers, all_of(fc, run_id))
        logs = await fc.runs.logs(fc.call("x"), run_id, limit=1_000)
    assert [e.seq for e in logs] == list(range(len(logs)))
    assert logs[-1].event_type == "FC-RUN-003"
    for after, entries in zip((-1, -1, 3, 10, -1, -1), told, strict=True):
        assert entries == logs[after + 1 :]


async def test_a_follower_from_the_first_moment_misses_nothing(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a"), py("b")))
        runs = [await start(fc) for _ in range(20)]
        told = await asyncio.gather(*(all_of(fc, run_id) for run_id in runs))
        for run_id, entries in zip(runs, told, strict=True):
            assert entries == await fc.runs.logs(fc.call("x"), run_id, limit=1_000)


async def test_a_life_longer_than_a_page_is_told_whole(tmp_path: Path) -> None:
    steps = [
        {"id": f"s{i}", "type": "TRANSFORM", "run": "expression", "value": i} for i in range(340)
    ]
    async with core(tmp_path, audited=False) as fc:
        run_id = await begin(fc, *steps)
        await until(fc, run_id)
        told = await all_of(fc, run_id)
    assert len(told) > 1_000
    assert [e.seq for e in told] == list(range(len(told)))
    assert told[-1].event_type == "FC-RUN-003"


async def test_what_comes_after_the_end_is_read_and_not_waited_for(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"))
        answer = await until(fc, run_id)
        last = answer.logs[-1].seq
        assert await all_of(fc, run_id, after=last) == []
        assert await all_of(fc, run_id, after=last + 100) == []
        assert [e.seq for e in await all_of(fc, run_id, after=last - 1)] == [last]


async def test_a_follower_who_goes_away_is_forgotten(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"))
        [asked] = await open_gates(fc, run_id)
        follower = asyncio.create_task(all_of(fc, run_id))
        while not fc._parts.ledger._watchers:
            await asyncio.sleep(0)
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        assert fc._parts.ledger._watchers == {}
        await approve(fc, asked)
        await until(fc, run_id)


async def test_there_is_nobody_to_follow(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        with pytest.raises(NotFound):
            await all_of(fc, "no-such-run")
        with pytest.raises(NotFound):
            await fc.runs.wait(fc.call("x"), "no-such-run", 20)


async def test_waiting_ends_with_the_run(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        waiting = asyncio.create_task(fc.runs.wait(fc.call("x"), run_id, 20))
        await asyncio.sleep(0)
        stage.go("a may end")
        await waiting
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "completed"
        await fc.runs.wait(fc.call("x"), run_id, 20)  # it has ended: nothing to wait for


async def test_waiting_ends_with_the_time(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        await fc.runs.wait(fc.call("x"), run_id, 0.001)
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "running"
        stage.go("a may end")
        await until(fc, run_id)


async def begun(fc: FederationCore, run_id: str) -> asyncio.Task[None]:
    """Somebody who waits, and has seen how things stand now."""
    task = asyncio.create_task(fc.runs.wait(fc.call("x"), run_id, 20))
    while not fc._parts.ledger._watchers:
        await asyncio.sleep(0)
    await fc.runs.get(fc.call("x"), run_id)
    return task


async def test_waiting_ends_where_people_are_asked_anew(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), gate("first"), gate("second"), py("b"))
        await stage.seen("a began")
        waiting = await begun(fc, run_id)
        stage.go("a may end")
        await waiting
        [first] = await open_gates(fc, run_id)
        assert first.gate_name == "first"
        waiting = await begun(fc, run_id)
        await approve(fc, first)
        await waiting
        [second] = await open_gates(fc, run_id)
        assert second.gate_name == "second"
        await approve(fc, second)
        await until(fc, run_id)


async def test_any_pause_of_a_newborn_run_is_news(tmp_path: Path, stage: Stage) -> None:
    """Whoever has just created a run is told of its first pause, however soon it came."""
    async with core(tmp_path) as fc:
        await register(fc, workflow(gate("ask")))
        run_id = await start(fc)
        await open_gates(fc, run_id)
        async with asyncio.timeout(10):
            await fc.runs.wait(fc.call("x"), run_id, 20, newborn=True)


async def test_a_page_of_runs_goes_on_where_the_last_one_ended(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a")))
        runs = [await start(fc) for _ in range(7)]
        for run_id in runs:
            await until(fc, run_id)
        call = fc.call("x")
        outside = await fc.runs.create(call, CreateRunRequest(workflow_id="outside"))
        cancel = ChangeStatusRequest(status="cancelled")
        await fc.runs.change_status(call, outside.run.run_id, cancel)
        seen: list[str] = []
        cursor: str | None = None
        while page := await fc.runs.page(call, limit=3, cursor=cursor, workflow_id="wf"):
            assert len(page) <= 3
            seen += [r.run_id for r in page]
            cursor = page[-1].run_id
        assert seen == runs[::-1]
        assert [r.run_id for r in await fc.runs.page(call, status="cancelled")] == [
            outside.run.run_id
        ]
        logs = await fc.runs.logs(call, runs[0], limit=1_000)
        pages = [await fc.runs.logs(call, runs[0], limit=4, offset=o) for o in range(0, 20, 4)]
        assert [e for page in pages for e in page] == logs
