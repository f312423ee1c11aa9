"""Two nodes on one PostgreSQL database: each sees what the other does; nothing happens twice."""

import asyncio
from pathlib import Path

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    bundle,
    codes,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.nodes.nodes_helpers import KEY, node, pair

from federation_core.errors import Conflict, FederationError, SettingsError
from federation_core.ledger import queries
from federation_core.service import ChangeStatusRequest, FederationCore


async def test_what_one_node_does_the_other_sees(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("one"), py("two"))
        answer = await until(b, run_id)
        assert answer.run.status == "completed"
        assert stage.names == ["one", "two"]
        assert [e.seq for e in answer.logs] == list(range(len(answer.logs)))


async def test_an_event_follows_on_the_other_node(tmp_path: Path, url: str, stage: Stage) -> None:
    """Watching is prompt: it does not wait for a look at the log."""
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("one", "hold"))

        async def follow() -> list[str]:
            entries = b.runs.follow(b.call("watcher"), run_id)
            return [entry.event_type async for entry in entries]

        following = asyncio.create_task(follow())
        await stage.seen("one began")
        stage.go("one may end")
        async with asyncio.timeout(20):
            seen = await following
        assert seen[0] == "FC-RUN-001"
        assert seen[-1] == "FC-RUN-003"


async def test_a_gate_is_answered_on_the_other_node(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, gate("ask", "approver"), py("then"))
        [asked] = await open_gates(b, run_id)
        await approve(b, asked)
        assert (await until(a, run_id)).run.status == "completed"
        assert stage.names == ["then"]


async def test_a_cancellation_reaches_the_node_that_executes(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("long", "hold"), py("never"))
        await stage.seen("long began")
        request = ChangeStatusRequest(status="cancelled", reason="enough")
        await b.runs.change_status(b.call("operator"), run_id, request)
        await stage.seen("long cut off")
        assert (await until(a, run_id)).run.status == "cancelled"
        assert stage.names == []


async def test_a_step_that_a_living_node_executes_is_left_to_it(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """Both drive the run; the one that does not execute the step neither repeats nor doubts it."""
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("long", "hold", idempotent=True), py("then"))
        await stage.seen("long began")
        for _ in range(3):
            b._engine.wake(run_id)
            while b.driving:
                await asyncio.sleep(0.01)
        stage.go("long may end")
        answer = await until(b, run_id)
        assert stage.names == ["long", "then"]
        assert codes(answer.logs).count("FC-STEP-001") == 2
        assert "FC-STEP-005" not in codes(answer.logs)


async def test_runs_that_both_nodes_drive_have_each_effect_once(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(*(py(f"s{i}") for i in range(4))))
        runs = [await start(a) for _ in range(10)]
        for run_id in runs:
            b._engine.wake(run_id)
        for run_id in runs:
            assert (await until(b, run_id)).run.status == "completed"
        assert len(stage.effects) == len(set(stage.effects)) == 40


async def test_a_bundle_that_one_node_activates_decides_on_the_other_from_the_next_decision_on(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        for number in range(5):
            stricter = bundle(
                forbid("no", "true" if number % 2 else "false"), version=f"2.{number}.0"
            )
            await b.policies.activate(b.call("owner"), stricter)
            answer = await until(a, await start(a))
            assert states(answer)["one"] == ("denied" if number % 2 else "completed"), number


async def test_a_node_that_was_not_told_of_a_bundle_finds_out_when_it_decides(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        tail = b._parts.ledger._tail
        assert tail is not None
        tail.join()  # what is announced is not heard any more
        await a.policies.activate(a.call("owner"), bundle(forbid("no"), version="2.0.0"))
        answer = await until(b, await start(b))
        assert states(answer)["one"] == "denied"


async def test_one_version_with_two_contents_is_registered_once(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        one, other = workflow(py("one")), workflow(py("other"))
        done = await asyncio.gather(register(a, one), register(b, other), return_exceptions=True)
        [refused] = [e for e in done if e is not None]
        assert isinstance(refused, Conflict)
        assert refused.error_code == "version_exists"
        await register(a, one if done[0] is None else other)


async def test_one_gate_takes_each_answer_once(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url, flag("two", approvers="x,y", quorum=2)) as (a, b):
        run_id = await begin(a, py("one"))
        [asked] = await open_gates(a, run_id)
        answers = [(a, "x"), (b, "x"), (b, "y"), (a, "y")]
        done = await asyncio.gather(
            *(approve(fc, asked, actor) for fc, actor in answers), return_exceptions=True
        )
        assert sum(isinstance(d, FederationError) for d in done) == 2
        answer = await until(b, run_id)
        assert codes(answer.logs).count("FC-GATE-002") == 2
        assert stage.names == ["one"]


async def test_both_nodes_sign_one_log(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        for fc in (a, b, a, b):
            await until(fc, await start(fc))
            signed = await fc._parts.ledger.read(queries.setting, "log")
            assert signed == fc._parts.ledger.log
        newest = [(await fc.log.checkpoint(fc.call("auditor"))) for fc in (a, b)]
        assert all(text.startswith(f"{a._parts.ledger.log}\n") for text in newest)


async def test_a_node_with_another_key_is_refused(tmp_path: Path, url: str) -> None:
    async with node(tmp_path / "a", url):
        with pytest.raises(SettingsError, match="is not the key of this log"):
            async with node(tmp_path / "b", url, signing_key=b"\x08" * 32):
                pass
    assert KEY != b"\x08" * 32


async def test_a_node_that_goes_hands_over(tmp_path: Path, url: str, stage: Stage) -> None:
    """What it was to do is done by the other one, without anybody waiting for a lease."""
    async with node(tmp_path / "b", url) as b:
        async with node(tmp_path / "a", url) as a:
            await register(a, workflow(py("one"), py("two", retry={"max_attempts": 2})))
            run_id = await _create_unwoken(a)
        assert (await until(b, run_id)).run.status == "completed"
    assert stage.names == ["one", "two"]


async def test_a_node_whose_clock_is_slow_takes_over_too(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """By its clock nothing of what the other one left is due for another hour."""
    fast = Clock()
    fast.forward(3_600)
    async with node(tmp_path / "b", url, clock=Clock()) as b:
        async with node(tmp_path / "a", url, clock=fast) as a:
            await register(a, workflow(py("one")))
            run_id = await _create_unwoken(a)
        async with asyncio.timeout(10):
            assert (await until(b, run_id)).run.status == "completed"
    assert stage.names == ["one"]


async def _create_unwoken(fc: FederationCore) -> str:
    """A run that its node is told to drive no more."""
    fc._engine._closing = True
    return await start(fc)
