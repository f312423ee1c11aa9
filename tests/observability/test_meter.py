"""What is measured of runs, steps, decisions and gates: exactly what became durable."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    DATABASE,
    Clock,
    approve,
    begin,
    core,
    flag,
    forbid,
    gate,
    idle,
    open_gates,
    py,
    resume,
    until,
    until_gates,
)
from tests.core_steps import Stage
from tests.observability.measured import measured, values

from federation_core.engine.local import LocalEngine
from federation_core.errors import Conflict, InvalidInput, LedgerUnavailable, StaleAppend
from federation_core.evidence.collector import WitnessSetting
from federation_core.ledger import queries
from federation_core.ledger.stats import WriterStats
from federation_core.service import ChangeStatusRequest, CreateRunRequest, RecordStepRequest
from federation_core.telemetry import Meter, Telemetry
from federation_core.telemetry.durable import Appended
from federation_core.transparency import SigningKey, VerifierKey
from federation_core.transparency.keys import COSIGNATURE


async def test_a_run_is_counted_with_its_steps_decisions_and_commits(
    tmp_path: Path, stage: Stage
) -> None:
    steps = [py("a"), py("b", kind="OBSERVE"), py("c", when="${false}")]
    async with core(tmp_path, telemetry=Telemetry(meter=Meter())) as fc:
        before = await measured(fc)
        run_id = await begin(fc, *steps)
        await until(fc, run_id)
        await idle(fc)
        found = await measured(fc)
    assert found["fedcore_runs_created", "managed"] == 1
    assert found["fedcore_runs_ended", "completed"] == 1
    assert found["fedcore_steps", "ACT", "completed"] == 1
    assert found["fedcore_steps", "OBSERVE", "completed"] == 1
    assert found["fedcore_steps", "ACT", "skipped"] == 1
    assert found["fedcore_step_seconds", "ACT"] == 1
    assert found["fedcore_decisions", "step.act", "allow"] == 1
    assert found["fedcore_decisions", "run.create", "allow"] == 1
    assert found["fedcore_decision_seconds",] == sum(
        count for name, count in found.items() if name[0] == "fedcore_decisions"
    )
    assert found["fedcore_ledger_commits",] > before["fedcore_ledger_commits",]
    assert found["fedcore_ledger_commit_seconds",] >= before["fedcore_ledger_commit_seconds",] + 2
    assert found["fedcore_ledger_batch_appends",] >= before["fedcore_ledger_batch_appends",] + 2
    assert found["fedcore_ledger_appends", "stored"] > 0
    assert found["fedcore_runs_driving",] == found["fedcore_runs_waiting",] == 0
    assert found["fedcore_engine_up", "local"] == found["fedcore_signer_up",] == 1
    assert found["fedcore_steps_executing",] == 0


async def test_every_event_is_counted_and_none_twice(tmp_path: Path, stage: Stage) -> None:
    told: list[str] = []

    class Witness:
        def committed(self, appends: Sequence[Appended], /) -> None:
            told.extend(event.type for append in appends for event in append.events)

    meter = Meter()
    async with core(tmp_path, telemetry=Telemetry(meter=meter, journal=Witness())) as fc:
        await until(fc, await begin(fc, py("a"), py("b")))
        await idle(fc)
        stored = await fc._parts.ledger.read(queries.count_events)
    counted = {k[1]: v for k, v in values(meter.families()).items() if k[0] == "fedcore_events"}
    assert {code: count for code, count in counted.items() if count} == Counter(told)
    assert len(told) <= stored <= len(told) + 1  # the key of the log came before anyone listened


async def test_denied_failed_and_retried(tmp_path: Path, stage: Stage) -> None:
    flaky = py("flaky", "flaky", with_={"good_at": 2}, retry={"max_attempts": 2, "backoff": "1ms"})
    async with core(
        tmp_path,
        forbid("never", 'context.step_id == "denied"'),
        telemetry=Telemetry(meter=Meter()),
    ) as fc:
        await until(fc, await begin(fc, flaky))
        await until(fc, await begin(fc, py("bad", "fail"), version="1.0.1"))
        await until(fc, await begin(fc, py("denied"), version="1.0.2"))
        found = await measured(fc)
    assert found["fedcore_steps", "ACT", "completed"] == 1
    assert found["fedcore_steps", "ACT", "failed"] == 2
    assert found["fedcore_steps", "ACT", "denied"] == 1
    assert found["fedcore_events", "FC-STEP-004"] == 1
    assert found["fedcore_runs_ended", "failed"] == 2
    assert found["fedcore_decisions", "step.act", "deny"] == 1


async def test_gates_that_wait_and_for_how_long(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(
        tmp_path,
        flag("two", approvers="a,b", quorum=2),
        clock=clock,
        telemetry=Telemetry(meter=Meter()),
    ) as fc:
        found = await measured(fc)
        assert found["fedcore_gates_pending",] == found["fedcore_gates_oldest_seconds",] == 0
        run_id = await begin(fc, gate("ask", "a"), py("act"))
        [first] = await open_gates(fc, run_id)
        clock.forward(100)
        fc._readings._read_at = float("-inf")
        found = await measured(fc)
        assert (found["fedcore_gates_pending",], found["fedcore_gates_in_doubt",]) == (1, 0)
        assert 100 <= found["fedcore_gates_oldest_seconds",] < 200
        assert found["fedcore_gates_requested", "human_approval"] == 1
        await resume(fc, first, {}, "a")
        [_, second] = await until_gates(fc, run_id, 2)
        await approve(fc, second, "a")
        found = await measured(fc)
        assert found["fedcore_gates_closed", "approved"] == 1  # one of two is not yet an end
        assert ("fedcore_gates_closed", "pending") not in found
        await approve(fc, second, "b")
        await until(fc, run_id)
        fc._readings._read_at = float("-inf")
        found = await measured(fc)
    assert found["fedcore_gates_closed", "approved"] == found["fedcore_gate_wait_seconds",] == 2
    assert found["fedcore_gates_pending",] == 0


async def test_steps_in_doubt_are_told_apart(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, audited=False) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        fc._engine._closing = True
        assert isinstance(fc._engine, LocalEngine)
        for task in fc._engine._tasks:
            task.cancel()
        await asyncio.gather(*fc._engine._tasks, return_exceptions=True)
    async with core(tmp_path, telemetry=Telemetry(meter=Meter())) as fc:
        await until(fc, run_id, "paused")
        found = await measured(fc)
        assert (found["fedcore_gates_pending",], found["fedcore_gates_in_doubt",]) == (1, 1)
        assert found["fedcore_steps", "ACT", "in_doubt"] == 1
        assert found["fedcore_gates_in_doubt_oldest_seconds",] >= 0
        [asked] = await open_gates(fc, run_id)
        await resume(fc, asked, {"happened": True, "output": None})
        await until(fc, run_id)
        await idle(fc)
        found = await measured(fc)
        assert found["fedcore_steps", "ACT", "completed"] == 1
        assert not found["fedcore_step_seconds", "ACT"]  # nobody saw how long it took


async def test_a_gate_that_only_talks_of_doubt_is_not_one(tmp_path: Path) -> None:
    """Its name and description may hold anything, the row's own words included."""
    from federation_core.service import RequestGateRequest

    words = '"gate_type":"in_doubt"'
    async with core(tmp_path) as fc:
        for n, tenant in enumerate(["zebra", "acme", "acme", "default"]):
            call = fc.call("alice", tenant=tenant)
            run = (await fc.runs.create(call, CreateRunRequest(workflow_id="x"))).run
            await fc.runs.change_status(call, run.run_id, ChangeStatusRequest(status="running"))
            request = RequestGateRequest(step_id=f"s{n}", gate_name=words, description=words)
            await fc.gates.request(call, run.run_id, request)
        # the gate of a run that has ended waits for nobody
        await fc.runs.change_status(call, run.run_id, ChangeStatusRequest(status="cancelled"))
        found = await measured(fc)
        assert (found["fedcore_gates_pending",], found["fedcore_gates_in_doubt",]) == (3, 0)


async def test_what_clients_report_of_external_runs_is_counted(tmp_path: Path) -> None:
    async with core(tmp_path, telemetry=Telemetry(meter=Meter())) as fc:
        call = fc.call("alice")
        run = (await fc.runs.create(call, CreateRunRequest(workflow_id="job"))).run
        await fc.runs.change_status(call, run.run_id, ChangeStatusRequest(status="running"))
        for status in ("running", "completed"):
            request = RecordStepRequest(step_id="s", status=status)
            await fc.steps.record(call, run.run_id, request)
        await fc.runs.change_status(call, run.run_id, ChangeStatusRequest(status="cancelled"))
        found = await measured(fc)
    assert found["fedcore_runs_created", "external"] == 1
    assert found["fedcore_steps", "ACT", "completed"] == 1
    assert found["fedcore_runs_ended", "cancelled"] == 1


async def test_executions_and_threads_are_counted_while_they_last(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        found = await measured(fc)
        assert found["fedcore_steps_executing",] == found["fedcore_runs_driving",] == 1
        stage.go("a may end")
        await until(fc, run_id)
        await idle(fc)
        assert (await measured(fc))["fedcore_steps_executing",] == 0


async def test_the_checkpoint_lags_until_it_is_signed(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await fc.runs.create(fc.call("alice"), CreateRunRequest(workflow_id="job"))
        await fc.log.checkpoint(fc.call("alice"))
        found = await measured(fc)
        size = await fc._parts.ledger.read(queries.count_events)
        assert found["fedcore_ledger_size",] == size
        assert (
            found["fedcore_checkpoint_size",] + found["fedcore_checkpoint_behind_events",] == size
        )
        assert found["fedcore_checkpoint_age_seconds",] >= 0


async def test_what_waits_to_be_written_is_told(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        writer = fc._parts.ledger._writer
        with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            first = asyncio.create_task(fc.check())
            await asyncio.sleep(0)
            while writer.waiting:  # until the writer has taken it, and waits for the lock
                await asyncio.sleep(0)
            rest = [asyncio.create_task(fc.check()) for _ in range(3)]
            await asyncio.sleep(0)
            assert (await measured(fc))["fedcore_ledger_queue",] >= 3
            other.execute("ROLLBACK")
        await asyncio.gather(first, *rest)


def test_each_append_is_counted_by_what_became_of_it() -> None:
    stats = WriterStats()
    stats.took(0.1, [None, StaleAppend("x"), Conflict("x"), LedgerUnavailable("x")], None)
    stats.took(0.1, [InvalidInput("x")], None)
    found = values(stats.families())
    outcomes = ("stored", "stale", "conflict", "unavailable", "refused")
    assert [found["fedcore_ledger_appends", outcome] for outcome in outcomes] == [1] * 5
    assert found["fedcore_ledger_commit_seconds",] == 2
    assert stats.size is None


async def test_a_witness_that_is_gone_lags_by_the_whole_log(tmp_path: Path) -> None:
    import structlog
    from tests.log_helpers import Warnings

    key = VerifierKey.of("w1", SigningKey(bytes(32)).public, COSIGNATURE)
    warnings = Warnings()
    structlog.configure(processors=[warnings])
    try:
        async with core(tmp_path, witnesses=[WitnessSetting("http://127.0.0.1:1", key)]) as fc:
            await warnings.seen("witness_failed")
            found = await measured(fc)
            newest = found["fedcore_checkpoint_size",]
    finally:
        structlog.reset_defaults()
    assert found["fedcore_witness_failures", "w1"] >= 1
    assert found["fedcore_witness_lag_events", "w1"] == newest > 0


async def test_a_size_is_told_while_a_commit_is_under_way(tmp_path: Path) -> None:
    """The writer has no tree meanwhile, and yet no figure is missing."""
    async with core(tmp_path) as fc:
        await fc.check()
        ledger = fc._parts.ledger
        tree, ledger._writer.tree = ledger._writer.tree, None
        found = await measured(fc)
        ledger._writer.tree = tree
    assert tree is not None
    assert found["fedcore_ledger_size",] == tree.size
    assert ("fedcore_checkpoint_behind_events",) in found


# Reading is quick, whatever the database does


async def test_the_gates_are_read_again_only_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = queries.gates_waiting

    def counted(connection: Any) -> Any:
        asked.append(connection)
        return real(connection)

    async with core(tmp_path) as fc:
        monkeypatch.setattr(queries, "gates_waiting", counted)
        for _ in range(5):
            await measured(fc)
        assert len(asked) == 1
        fc._readings._read_at -= 11
        await measured(fc)
        assert len(asked) == 2


async def test_a_database_that_does_not_answer_holds_no_reading_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    hang = threading.Event()
    asked: list[Any] = []

    def hung(_connection: Any) -> Any:
        asked.append(1)
        hang.wait()
        return queries.GatesWaiting()

    monkeypatch.setattr("federation_core.service.readings._PATIENCE_S", 0.01)
    async with core(tmp_path) as fc:
        await measured(fc)
        monkeypatch.setattr(queries, "gates_waiting", hung)
        fc._readings._read_at -= 1_000
        try:
            for _ in range(5):
                found = await measured(fc)
            assert found["fedcore_gates_pending",] == 0  # what is known
            assert found["fedcore_gates_read_age_seconds",] >= 1_000  # and since when
            assert (
                found["fedcore_ledger_reads",] == len(asked) == 1
            )  # and nobody else is sent to wait
        finally:
            hang.set()
