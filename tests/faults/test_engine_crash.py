"""Promise 6: a crash loses nothing that was acknowledged, and repeats nothing unasked."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.children import child
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    codes,
    core,
    decisions,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    resume,
    start,
    states,
    until,
    until_gates,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, InvalidInput
from federation_core.service import (
    AnswerGateRequest,
    BypassRequest,
    ChangeStatusRequest,
    FederationCore,
    ResumeRequest,
)
from federation_core.service.views import Gate, LogEntry, RunAnswer

NAMES = ["a", "b", "c", "d"]


def definition(*, idempotent: bool) -> str:
    path = {"path": "${input.path}"}
    steps = [py(name, "append", with_=path, idempotent=idempotent) for name in NAMES]
    return workflow(*steps, output="${steps.b.output}")


def effects(folder: Path) -> list[tuple[str, str]]:
    """(step, idempotency key) of every effect, in order."""
    path = folder / "effects"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, key) for name, key in (line.split() for line in lines)]


def killed_in_step(folder: Path, moment: str, *, idempotent: bool) -> str:
    """Run the workflow in another process, and kill it at `moment`; returns the run's id."""
    (folder / "workflow.yaml").write_text(definition(idempotent=idempotent))
    with child("stop_in_step", folder, moment) as server:
        assert server.line() == moment
        server.kill()
    return (folder / "acknowledged").read_text()


@pytest.mark.parametrize("moment", ["before b", "after b"])
async def test_an_idempotent_step_is_run_again_with_its_key(tmp_path: Path, moment: str) -> None:
    run_id = killed_in_step(tmp_path, moment, idempotent=True)
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    twice = ["b"] if moment == "after b" else []
    assert effects(tmp_path) == [(n, f"{run_id}:{n}:1") for n in ["a", *twice, *NAMES[1:]]]
    starts = [e for e in answer.logs if e.event_type == "FC-STEP-001" and e.step_id == "b"]
    assert [e.details.get("again", False) for e in starts] == [False, True]
    assert len({e.details["idempotency_key"] for e in starts}) == 1
    assert decisions(answer, "b") == ["allow"]  # it is the same attempt, allowed already
    assert answer.gates == []


async def doubt(fc: FederationCore, run_id: str) -> Gate:
    [asked] = await open_gates(fc, run_id)
    assert (asked.gate_type, asked.step_id) == ("in_doubt", "b")
    return asked


@pytest.mark.parametrize("moment", ["before b", "after b"])
async def test_any_other_step_is_in_doubt_and_nothing_runs(tmp_path: Path, moment: str) -> None:
    run_id = killed_in_step(tmp_path, moment, idempotent=False)
    before = effects(tmp_path)
    async with core(tmp_path) as fc:
        await doubt(fc, run_id)
        answer = await until(fc, run_id, "paused")
    assert states(answer) == {"a": "completed", "b": "in_doubt", "c": "pending", "d": "pending"}
    assert codes(answer.logs)[-3:] == ["FC-STEP-005", "FC-GATE-001", "FC-RUN-002"]
    async with core(tmp_path) as fc:  # another restart asks no second time
        await doubt(fc, run_id)
        assert await until(fc, run_id, "paused") == answer
    assert effects(tmp_path) == before


async def test_it_happened_a_person_says(tmp_path: Path) -> None:
    run_id = killed_in_step(tmp_path, "after b", idempotent=False)
    async with core(tmp_path) as fc:
        await resume(fc, await doubt(fc, run_id), {"happened": True, "output": {"id": 7}})
        answer = await until(fc, run_id)
        listed = await fc.runs.get(fc.call("x"), run_id, steps=True)
    assert answer.run.status == "completed"
    assert answer.run.output_payload == {"id": 7}
    [said, done] = told_of_the_doubt(answer)
    assert said == (
        "Gate What happened to step b? approved: "
        "approver said that it happened, with the output given"
    )
    assert done.message == "Step b completed"
    [b] = [step for step in listed.steps if step.step_id == "b"]
    assert b.duration_ms is None  # nobody saw when it ended
    assert b.ended_at == done.timestamp
    assert effects(tmp_path) == [(n, f"{run_id}:{n}:1") for n in NAMES]


async def test_it_did_not_happen_a_person_says(tmp_path: Path) -> None:
    run_id = killed_in_step(tmp_path, "before b", idempotent=False)
    async with core(tmp_path) as fc:
        asked = await doubt(fc, run_id)
        assert f"{run_id}:b:1" in asked.description  # the key that the other system knows
        request = ResumeRequest(
            gate_id=asked.gate_id,
            decision="approve",
            input={"happened": False},
            reason="the bank has no such payment",
        )
        await fc.gates.resume(fc.call("approver"), run_id, request)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert answer.run.output_payload == {"did": "b"}
    assert effects(tmp_path) == [
        (n, f"{run_id}:{n}:{2 if n == 'b' else 1}") for n in NAMES
    ]  # a new attempt, with a new decision
    assert decisions(answer, "b") == ["allow", "allow"]
    [said, again] = told_of_the_doubt(answer)
    assert said == (
        "Gate What happened to step b? approved: approver said that it did not happen: "
        "the bank has no such payment"
    )
    assert again.event_type == "FC-STEP-004"


def told_of_the_doubt(answer: RunAnswer) -> tuple[str, LogEntry]:
    """What the log says of the answer, and the step's entry after it."""
    seqs = [e.seq for e in answer.logs if e.event_type == "FC-GATE-003"]
    [seq] = seqs
    assert answer.logs[seq].details["reason"] in answer.logs[seq].message
    after = next(e for e in answer.logs[seq:] if e.event_type.startswith("FC-STEP"))
    return answer.logs[seq].message, after


async def test_nobody_knows_a_person_says(tmp_path: Path) -> None:
    run_id = killed_in_step(tmp_path, "after b", idempotent=False)
    async with core(tmp_path) as fc:
        asked = await doubt(fc, run_id)
        request = AnswerGateRequest(status="rejected", rejection_reason="cannot tell")
        await fc.gates.answer(fc.call("approver"), run_id, asked.gate_id, request)
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert "cannot tell" in answer.run.error_details["message"]
    assert [name for name, _ in effects(tmp_path)] == ["a", "b"]


async def test_what_does_not_say_what_happened_is_no_answer(tmp_path: Path) -> None:
    run_id = killed_in_step(tmp_path, "after b", idempotent=False)
    async with core(tmp_path) as fc:
        asked = await doubt(fc, run_id)
        for given, why in (
            ({}, "'happened' is missing"),
            ({"happened": "yes"}, "/happened"),
            ({"happened": True, "output": 1, "more": 1}, "/more"),
            ({"happened": True}, "'output' is missing"),
            ({"happened": False, "output": {"id": 7}}, "/output: nothing may stand here"),
            ({"happened": False, "output": None}, "/output: nothing may stand here"),
        ):
            with pytest.raises(InvalidInput, match=why):
                await resume(fc, asked, given)
        with pytest.raises((InvalidInput, Conflict)):
            await approve(fc, asked)
        request = BypassRequest(reason="never mind what happened")
        with pytest.raises(Conflict):
            await fc.gates.bypass(fc.call("chief"), run_id, asked.gate_id, request)
        assert await doubt(fc, run_id) == asked


# Every place where a process can die: before and after each commit.


def lives(folder: Path, *, idempotent: bool, again: bool = False) -> list[Path]:
    """The data directories that processes left behind which died at each commit in turn."""
    (folder / "definition").write_text(definition(idempotent=idempotent))
    with child("die_at_each_commit", folder, "definition", *(["again"] if again else [])) as it:
        told = it.lines()
    assert told.pop() == "ended 0"
    assert all(line.endswith(" 9") for line in told)
    return [folder / line.split()[0] for line in told]


async def recovered(folder: Path) -> RunAnswer | None:
    """The run of a data directory when it has ended, people having said what was in doubt; None
    where no run was ever acknowledged."""
    async with core(folder) as fc:
        runs = await fc.runs.page(fc.call("x"))
        if not runs:
            assert not (folder / "acknowledged").exists()
            assert effects(folder) == []
            return None
        run_id = runs[0].run_id
        answer = await until(fc, run_id, "completed", "failed", "paused")
        while answer.run.status == "paused":
            [asked] = await open_gates(fc, run_id)
            happened = asked.step_id in dict(effects(folder))
            said: dict[str, Any] = {"happened": happened}
            await resume(fc, asked, said | ({"output": {"did": "b"}} if happened else {}))
            answer = await until(fc, run_id, "completed", "failed")
            if answer.run.status == "paused":
                answer = await until(fc, run_id, "completed", "failed", "paused")
    return answer


@pytest.mark.parametrize("idempotent", [True, False])
async def test_wherever_the_server_dies_the_run_ends_well(
    tmp_path: Path, *, idempotent: bool
) -> None:
    folders = lives(tmp_path, idempotent=idempotent)
    assert len(folders) >= 2 * (3 + len(NAMES))  # policy, registration, creation, each step
    doubtful = repeated = 0
    for folder in folders:
        answer = await recovered(folder)
        if answer is None:
            continue
        assert answer.run.status == "completed", folder
        done = effects(folder)
        assert list(dict.fromkeys(name for name, _ in done)) == NAMES, folder
        assert len(set(done)) == len(NAMES), folder  # one key for each effect, however often
        repeated += len(done) - len(NAMES)
        doubtful += len(answer.gates)
    assert (repeated > 0) is idempotent
    assert (doubtful > 0) is not idempotent


async def test_a_server_that_dies_again_and_again_gets_there(tmp_path: Path) -> None:
    assert len(lives(tmp_path, idempotent=True, again=True)) > len(NAMES)
    answer = await recovered(tmp_path)
    assert answer is not None
    assert answer.run.status == "completed"
    assert {key for _, key in effects(tmp_path)} == {f"{answer.run.run_id}:{n}:1" for n in NAMES}


async def test_what_was_under_way_in_a_failing_run_is_lost(tmp_path: Path, stage: Stage) -> None:
    policy = forbid("no", 'context.input.name == "bad"')
    async with core(tmp_path, policy) as fc:
        run_id = await begin(
            fc,
            py("slow", "hold", needs=[], idempotent=True),
            py("quick", "hold", needs=[]),
            py("bad", needs=["quick"]),
        )
        await stage.seen("slow began")
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            stage.go("quick may end")
            while states(await until(fc, run_id, "running"))["bad"] != "denied":
                await watch.next()
        await fc._engine.close(grace=0)
    async with core(tmp_path, policy) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert states(answer) == {"slow": "failed", "quick": "completed", "bad": "denied"}
    lost = [e for e in answer.logs if e.event_type == "FC-STEP-003"]
    assert [e.details["error_type"] for e in lost] == ["Lost"]
    assert stage.names == ["quick"]


async def test_a_run_in_doubt_can_be_cancelled(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("b", "hold"), py("c"))
        await stage.seen("b began")
        await fc._engine.close(grace=0)
    async with core(tmp_path) as fc:
        await doubt(fc, run_id)
        request = ChangeStatusRequest(status="cancelled")
        answer = await fc.runs.change_status(fc.call("operator"), run_id, request)
        assert answer.run.status == "cancelled"
    async with core(tmp_path) as fc:
        assert await fc.gates.pending(fc.call("x")) == []
    assert stage.effects == []


# What waits goes on waiting.


async def test_a_gate_is_still_there_after_a_restart(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), gate("ask", "approver", quorum=1), py("b"))
        [asked] = await open_gates(fc, run_id)
    async with core(tmp_path) as fc:
        assert await open_gates(fc, run_id) == [asked]
        await fc._engine.close()  # the answer is durable, and nobody has acted on it
        await approve(fc, asked)
    assert stage.names == ["a"]
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b"]


async def test_a_retry_is_still_due_after_a_restart(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    retry = {"max_attempts": 2, "backoff": "2h", "max_backoff": "2h"}
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, py("a", "flaky", with_={"good_at": 2}, retry=retry))
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while "FC-STEP-004" not in codes(await fc.runs.logs(fc.call("x"), run_id)):
                await watch.next()
    assert len(stage.effects) == 1
    clock.forward(7_100)
    async with core(tmp_path, clock=clock) as fc:
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "running"
    assert len(stage.effects) == 1
    clock.forward(101)
    async with core(tmp_path, clock=clock) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.effects == [("a", f"{run_id}:a:1"), ("a", f"{run_id}:a:2")]


async def test_a_gate_that_expired_while_nobody_was_there_is_refused(
    tmp_path: Path, stage: Stage
) -> None:
    clock = Clock()
    policy = flag("slow", expires="1h")
    async with core(tmp_path, policy, clock=clock) as fc:
        run_id = await begin(fc, py("a"))
        await open_gates(fc, run_id)
    clock.forward(3_601)
    async with core(tmp_path, policy, clock=clock) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert answer.gates[0].status == "expired"
    assert stage.effects == []


async def test_a_clock_that_steps_back_reorders_nothing(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        run_id = await begin(fc, py("a"), gate("ask"), py("b"))
        [asked] = await until_gates(fc, run_id, 1)
        clock.forward(-86_400)
        await approve(fc, asked)
        answer = await until(fc, run_id)
    times = [e.timestamp for e in answer.logs]
    assert times == sorted(times)
    assert answer.run.status == "completed"


async def test_a_retry_of_the_near_future_is_not_late_after_a_restart(
    tmp_path: Path, stage: Stage
) -> None:
    """Its timer died with the process: the start sets it again, and not only a sweep."""
    retry = {"max_attempts": 2, "backoff": "700ms", "max_backoff": "700ms"}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "flaky", with_={"good_at": 2}, retry=retry))
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while "FC-STEP-004" not in codes(await fc.runs.logs(fc.call("x"), run_id)):
                await watch.next()
    async with core(tmp_path) as fc, asyncio.timeout(10):
        assert (await until(fc, run_id)).run.status == "completed"


class _Passing(Clock):
    """It is an hour slow, and is set right at its `at`th reading, for the present moment to be
    passed between two readings of a start."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.readings, self._at = 0, at

    def __call__(self) -> int:
        self.readings += 1
        return super().__call__() + (0 if self.readings < self._at else 3_600_000_000)


async def test_what_becomes_due_while_a_server_starts_is_not_overlooked(
    tmp_path: Path, stage: Stage
) -> None:
    now = Clock()
    now.forward(1_800)
    async with core(tmp_path, clock=now) as fc:
        await begin(fc, py("a"))
    counting = _Passing(1_000_000)
    async with core(tmp_path / "empty", clock=counting):
        starting = counting.readings
    for at in range(1, starting + 3):
        now.forward(10)
        async with core(tmp_path, clock=now, audited=False) as fc:
            fc._engine._closing = True
            run_id = await start(fc)
        async with core(tmp_path, clock=_Passing(at), audited=False) as fc, asyncio.timeout(10):
            assert (await until(fc, run_id)).run.status == "completed", at
