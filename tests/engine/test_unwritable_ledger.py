"""Promise 2: what cannot be recorded is not executed, and what was done is not forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    bundle,
    codes,
    core,
    flag,
    gate,
    idle,
    open_gates,
    py,
    register,
    resume,
    sql,
    start,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.ledger_helpers import full_disk, held
from tests.log_helpers import Warnings

from federation_core.engine import driver, local
from federation_core.engine.live import LiveRuns
from federation_core.engine.local import LocalEngine
from federation_core.errors import LedgerUnavailable
from federation_core.ledger import Ledger, queries, sqlite
from federation_core.ledger.writer import Writer
from federation_core.service import ChangeStatusRequest, CreateRunRequest, FederationCore
from federation_core.service.views import RunAnswer
from federation_core.spine.actor import SYSTEM
from federation_core.spine.commands import RecordRefusal
from federation_core.spine.handle import handle
from federation_core.spine.turn import Turn

FLAG_B = flag("b", 'context.input.name == "b"')


@pytest.fixture(autouse=True)
def each_store() -> str:
    """A disk that is full and a file that is held are SQLite's own troubles."""
    return "sqlite"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 10 ms for somebody else's lock, and 1 ms before trying to write again."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 10)
    monkeypatch.setattr(driver, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(driver, "_LONGEST_PAUSE", 0.004)


async def test_an_outcome_is_kept_while_the_disk_is_full(
    tmp_path: Path, stage: Stage, warnings: Warnings
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        before = await fc.runs.get(fc.call("x"), run_id, logs=True)
        with full_disk(fc._parts.ledger):
            stage.go("a may end")
            seen = await warnings.seen("ledger_unavailable", 3)
            assert "full" in seen[0]["why"]
            request = CreateRunRequest(workflow_id="other", metadata={"x": "x" * 9_000})
            with pytest.raises(LedgerUnavailable):
                await fc.runs.create(fc.call("x"), request)
            assert stage.names == ["a"]  # it had its effect, and nothing that follows has
            assert await fc.runs.get(fc.call("x"), run_id, logs=True) == before
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.effects == [("a", f"{run_id}:a:1"), ("b", f"{run_id}:b:1")]
    assert codes(answer.logs).count("FC-STEP-002") == 2


async def test_an_outcome_is_kept_while_another_process_holds_the_database(
    tmp_path: Path, stage: Stage, warnings: Warnings
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        with held(tmp_path / "fedcore.db"):
            stage.go("a may end")
            await warnings.seen("ledger_unavailable", 2)
            assert stage.names == ["a"]
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]


async def test_a_read_that_fails_for_a_while_does_not_fail_the_run(
    tmp_path: Path, stage: Stage, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read of the engine fails once, as where the file is locked away for a moment."""
    failed: set[str] = set()
    read = Ledger.read

    async def read_at_second_try(self: Ledger, query: Any, *args: Any, **kwargs: Any) -> Any:
        task = asyncio.current_task()
        key = f"{query.__name__} {args}"
        if task is not None and task.get_name().startswith("drive-") and key not in failed:
            failed.add(key)
            raise LedgerUnavailable("The ledger cannot be used now: locked.")
        return await read(self, query, *args, **kwargs)

    async with core(tmp_path, FLAG_B) as fc:
        run_id = await begin(
            fc, py("a"), py("b", with_={"x": "${steps.a.output.did}"}), output="${steps.a.output}"
        )
        [asked] = await open_gates(fc, run_id)
    async with core(tmp_path, FLAG_B) as fc:
        monkeypatch.setattr(Ledger, "read", read_at_second_try)
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert failed
    assert len(await warnings.seen("ledger_unavailable")) == len(failed)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]


async def test_a_look_that_failed_is_made_again(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that nobody was told of is not due for an hour by a clock that was set back; only a
    thorough look finds it."""
    clock, looks, made = Clock(), queries.runs_ahead, list[int]()

    def look(connection: Any, now: int) -> list[str]:
        made.append(now)
        if len(made) == 1:
            raise LedgerUnavailable("The ledger cannot be used now: locked.")
        return looks(connection, now)

    monkeypatch.setattr(local, "_SWEEP_S", 0.05)
    async with core(tmp_path, clock=clock) as fc:
        engine = fc._engine
        assert isinstance(engine, LocalEngine)
        clock.forward(3_600)
        with monkeypatch.context() as patched:
            patched.setattr(fc._parts.ledger, "_listeners", [])  # nobody hears of it
            run_id = await begin(fc, py("a"))
        clock.forward(-3_600)
        monkeypatch.setattr(queries, "runs_ahead", look)
        engine.sweep()
        assert (await until(fc, run_id)).run.status == "completed"
    assert len(made) == 2
    assert stage.names == ["a"]


async def test_what_is_abandoned_before_it_began_is_taken_up_again(
    tmp_path: Path, stage: Stage
) -> None:
    """A node may learn that it was fenced in the moment in which it is told of a run."""
    async with core(tmp_path) as fc:
        engine = fc._engine
        assert isinstance(engine, LocalEngine)
        run_id = await begin(fc, gate("ask"), py("a"))
        [asked] = await open_gates(fc, run_id)
        await idle(fc)
        engine.wake(run_id)
        engine.abandon()
        await approve(fc, asked)
        assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["a"]


async def test_a_driver_that_was_overtaken_reads_again(tmp_path: Path, stage: Stage) -> None:
    """Somebody else appends to the run, as another server would; what this one knew is stale."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        parts = fc._parts
        async with LiveRuns(parts.ledger).hold(run_id) as other:
            turn = Turn(other.run, actor=SYSTEM, now=0, new_id=parts.new_id, log=parts.ledger.log)
            handle(turn, RecordRefusal(action="run.cancel", code="test", reason="by another"))
            await other.commit(turn)
        stage.go("a may end")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]
    assert codes(answer.logs).count("FC-AUTH-001") == 1


async def at_rest(fc: FederationCore, run_id: str) -> RunAnswer:
    """The run, when nobody drives it any more. (Nobody is told of a commit that was reported to
    have failed, so there is nothing to wait for.)"""
    await idle(fc)
    return await fc.runs.get(fc.call("x"), run_id, gates=True)


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("idempotent", [True, False])
async def test_wherever_a_commit_fails_the_run_ends_and_repeats_nothing_unasked(
    tmp_path: Path,
    stage: Stage,
    warnings: Warnings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    persisted: bool,
    idempotent: bool,
) -> None:
    """Each commit of the engine fails in its turn, before it has written or after: the disk that
    reports an error and has the data all the same."""
    commit = Writer._commit
    countdown = -1

    def fail_one(self: Writer, jobs: list[Any]) -> None:
        nonlocal countdown
        countdown -= any(j.append.events and j.append.events[0].via == "engine" for j in jobs)
        fails = countdown == 0
        if persisted or not fails:
            commit(self, jobs)
        if fails:
            countdown = -1
            for job in jobs:
                job.error = LedgerUnavailable("The disk reported an error.")

    monkeypatch.setattr(Writer, "_commit", fail_one)
    steps = [py(name, idempotent=idempotent) for name in ("a", "b", "c", "d")]
    in_doubt = 0
    async with core(tmp_path) as fc:
        await register(fc, workflow(*steps))
        for number in range(1, 8):
            stage.effects.clear()
            countdown = number
            run_id = await start(fc)
            answer = await at_rest(fc, run_id)
            while answer.run.status == "paused":
                in_doubt += 1
                [asked] = await open_gates(fc, run_id)
                happened = asked.step_id in stage.names
                said = {"happened": True, "output": None} if happened else {"happened": False}
                await resume(fc, asked, said)
                answer = await at_rest(fc, run_id)
            assert stage.names == ["a", "b", "c", "d"], number
            assert len({key for _, key in stage.effects}) == 4
        assert countdown >= 0  # the last of them failed nothing: all commits had their turn
    assert bool(in_doubt) is (persisted and not idempotent)


async def test_a_client_is_told_and_nothing_has_happened(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        await register(fc, workflow(py("only"), name="other"))
        before = sql(tmp_path, "SELECT count(*) FROM events")
        with held(tmp_path / "fedcore.db"):
            request = ChangeStatusRequest(status="cancelled")
            for attempt in (
                start(fc),
                approve(fc, asked),
                resume(fc, asked, {}),
                fc.runs.change_status(fc.call("x"), run_id, request),
                register(fc, workflow(py("z"), version="9.0.0")),
                fc.policies.activate(fc.call("x"), bundle()),
            ):
                with pytest.raises(LedgerUnavailable):
                    await attempt
            assert (await fc.runs.get(fc.call("x"), run_id, gates=True)).gates == [asked]
        assert sql(tmp_path, "SELECT count(*) FROM events") == before
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["b"]
