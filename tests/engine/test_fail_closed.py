"""Promise 2: what cannot be decided, read or recorded is not executed."""

import asyncio
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from tests.core_helpers import (
    approve,
    begin,
    bundle,
    codes,
    core,
    flag,
    forbid,
    gate,
    idle,
    open_gates,
    py,
    register,
    resume,
    sql,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.ledger_helpers import full_disk, held

from federation_core.engine import driver
from federation_core.engine.live import LiveRuns
from federation_core.errors import Forbidden, LedgerUnavailable
from federation_core.ledger import Ledger, database
from federation_core.ledger.writer import Writer
from federation_core.service import ChangeStatusRequest, CreateRunRequest, FederationCore
from federation_core.service.views import RunAnswer
from federation_core.spine.actor import SYSTEM
from federation_core.spine.canonical import value_hash
from federation_core.spine.commands import RecordRefusal
from federation_core.spine.handle import handle
from federation_core.spine.turn import Turn


class Warnings:
    """What the server logs, to be waited for."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def __call__(self, _: Any, _name: str, event: MutableMapping[str, Any]) -> NoReturn:
        self.events.append(dict(event))
        self._more.set()
        raise structlog.DropEvent

    async def seen(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(found := [e for e in self.events if e["event"] == name]) < count:
                self._more.clear()
                await self._more.wait()
        return found


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    seen = Warnings()
    structlog.configure(processors=[seen])
    yield seen
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 10 ms for somebody else's lock, and 1 ms before trying to write again."""
    monkeypatch.setattr(database, "BUSY_MS", 10)
    monkeypatch.setattr(driver, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(driver, "_LONGEST_PAUSE", 0.004)


# A value that is needed was erased.


def erase(folder: Path, value: object) -> None:
    """Erase a payload by hand."""
    digest = value_hash(value)
    assert sql(folder, "SELECT 1 FROM payloads WHERE hash = ?", digest)
    sql(folder, "DELETE FROM payloads WHERE hash = ?", digest)


SEES_INPUT = flag("big", "context.run_input has n && context.run_input.n > 100")
FLAG_B = flag("b", 'context.input.name == "b"')


async def test_an_erased_run_input_is_not_taken_for_an_empty_one(
    tmp_path: Path, stage: Stage
) -> None:
    policies = [flag("no", "!(context.input has n)", action="run.start"), FLAG_B]
    async with core(tmp_path, *policies) as fc:
        await register(fc, workflow(py("a")))
        await fc._engine.close()
        run_id = await start(fc, {"n": 1})
    erase(tmp_path, {"n": 1})
    async with core(tmp_path, *policies) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert "was erased" in answer.run.error_details["message"]
    assert stage.effects == []
    assert answer.gates == []


@pytest.mark.parametrize(
    ("with_", "output"),
    [({"x": "${steps.a.output.did}"}, None), ({}, "${steps.a.output}")],
    ids=["by the step", "by the output"],
)
async def test_a_needed_output_that_was_erased_fails_the_run(
    tmp_path: Path, stage: Stage, with_: dict[str, str], output: str | None
) -> None:
    async with core(tmp_path, FLAG_B) as fc:
        run_id = await begin(fc, py("a"), py("b", with_=with_), output=output)
        [asked] = await open_gates(fc, run_id)
    erase(tmp_path, {"did": "a"})
    async with core(tmp_path, FLAG_B) as fc:
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert "was erased" in answer.run.error_details["message"]
    assert stage.names == (["a", "b"] if output else ["a"])


LOOKS_BACK = flag("o", "context.outputs has a && context.outputs.a has risk")


async def test_an_erased_output_that_policy_looks_at_is_a_deny(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LOOKS_BACK) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        closing = asyncio.create_task(fc._engine.close())
        await asyncio.sleep(0)
        stage.go("a may end")
        await closing
    erase(tmp_path, {"did": "a"})
    async with core(tmp_path, LOOKS_BACK) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert states(answer) == {"a": "completed", "b": "denied"}
    assert "was erased" in answer.run.error_details["message"]
    assert stage.names == ["a"]


async def test_people_cannot_answer_what_policy_cannot_be_asked_about(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LOOKS_BACK) as fc:
        run_id = await begin(fc, py("a"), gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
    erase(tmp_path, {"did": "a"})
    async with core(tmp_path, LOOKS_BACK) as fc:
        with pytest.raises(Forbidden, match="was erased"):
            await approve(fc, asked)
        cancel = ChangeStatusRequest(status="cancelled")
        with pytest.raises(Forbidden, match="was erased"):
            await fc.runs.change_status(fc.call("x"), run_id, cancel)
        answer = await until(fc, run_id, "paused")
        assert codes(answer.logs)[-4:] == ["FC-POLICY-001", "FC-AUTH-001"] * 2
        await fc.policies.activate(fc.call("boss"), bundle(version="2.0.0"))
        await approve(fc, asked)  # the bundle that decides now does not look back
        assert (await until(fc, run_id)).run.status == "completed"


async def test_an_erased_value_that_nobody_needs_is_not_missed(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, FLAG_B) as fc:
        run_id = await begin(fc, py("a"), py("b"))
        [asked] = await open_gates(fc, run_id)
    erase(tmp_path, {"did": "a"})
    async with core(tmp_path, FLAG_B) as fc:
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


@pytest.mark.parametrize("lost", [{"name": "b", "x": "a"}, {"did": "a"}])
async def test_a_step_whose_values_were_erased_is_not_run_again(
    tmp_path: Path, stage: Stage, lost: dict[str, str]
) -> None:
    with_ = {"x": "${steps.a.output.did}"}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), py("b", "hold", idempotent=True, with_=with_), py("c"))
        await stage.seen("b began")
        await fc._engine.close(grace=0)
    erase(tmp_path, lost)
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert answer.logs[-2].details["error"]["type"] == "InputErased"
    assert stage.names == ["a"]


async def test_an_erased_answer_is_not_taken_for_a_no(tmp_path: Path, stage: Stage) -> None:
    """It did happen, a person said; that this cannot be read any more does not make it undone."""
    said = {"happened": True, "output": {"done": 1}}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await fc._engine.close(grace=0)
    async with core(tmp_path) as fc:
        [asked] = await open_gates(fc, run_id)
        await fc._engine.close()
        await resume(fc, asked, said)
    erase(tmp_path, said)
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert "nobody knows what was said" in answer.run.error_details["message"]
    assert stage.effects == []


async def test_an_erased_input_of_a_gate_is_not_taken_for_none(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        await fc._engine.close()
        await resume(fc, asked, {"limit": 5})
    erase(tmp_path, {"limit": 5})
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert stage.effects == []


# The ledger cannot be written, or read.


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
                await resume(fc, asked, {"happened": happened, "output": None})
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


# There is no policy that could be asked.


def tampered(folder: Path, how: str) -> None:
    [manifest] = sql(folder, "SELECT hash FROM objects WHERE body LIKE '{\"files\":%'")
    match how:
        case "a policy is changed":
            sql(folder, "UPDATE objects SET body = body || ' ' WHERE body LIKE '%permit (%'")
        case "a policy is gone":
            sql(folder, "DELETE FROM objects WHERE body LIKE '%permit (%'")
        case "the manifest is gone":
            sql(folder, "DELETE FROM objects WHERE hash = ?", manifest[0])
        case _:
            sql(folder, "UPDATE objects SET body = ? WHERE hash = ?", how, manifest[0])


TAMPERINGS = [
    "a policy is changed",
    "a policy is gone",
    "the manifest is gone",
    "not json",
    "{}",
    "[]",
    '{"files":{}}',
    '{"files":{"bundle.yaml":7}}',
]


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_without_a_policy_that_can_be_believed_everything_is_denied(
    tmp_path: Path, stage: Stage, warnings: Warnings, how: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
    tampered(tmp_path, how)
    async with core(tmp_path, audited=False) as fc:
        await warnings.seen("policy_unusable")
        answer = await until(fc, await start(fc))
        assert answer.run.status == "failed"
        assert "No policy bundle is active" in answer.run.error_details["message"]
        with pytest.raises(Forbidden):
            await approve(fc, asked)
        with pytest.raises(Forbidden):
            await register(fc, workflow(py("z"), version="9.0.0"))
        with pytest.raises(Forbidden):
            await fc.policies.activate(fc.call("boss"), bundle())
        cancel = ChangeStatusRequest(status="cancelled")
        with pytest.raises(Forbidden):
            await fc.runs.change_status(fc.call("starter"), run_id, cancel)
        await idle(fc)
        left = await fc.runs.get(fc.call("x"), run_id, steps=True)
        assert states(left) == {"a": "completed", "ask": "waiting", "b": "pending"}
        assert not any(a.active for a in await fc.policies.history(fc.call("boss")))
    assert stage.names == ["a"]


async def test_a_policy_that_errs_denies(tmp_path: Path, stage: Stage) -> None:
    """Cedar alone would skip a `forbid` that reads what is not there, and let the step through."""
    async with core(tmp_path, forbid("errs", 'context.input.risk == "high"')) as fc:
        answer = await until(fc, await begin(fc, py("a")))
    assert answer.run.status == "failed"
    assert states(answer) == {"a": "denied"}
    assert stage.effects == []


@pytest.mark.parametrize("value", [[None], 0.00001, {"__entity": 1}, 0.5, 2**53 - 1])
async def test_an_input_that_policy_cannot_read_is_denied(
    tmp_path: Path, stage: Stage, value: object
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), py("b", with_={"x": value}))
        answer = await until(fc, run_id)
    readable = value in (0.5, 2**53 - 1)
    assert stage.names == (["a", "b"] if readable else ["a"])
    assert states(answer)["b"] == ("completed" if readable else "denied")


async def test_a_definition_that_was_changed_is_not_run(
    tmp_path: Path, stage: Stage, warnings: Warnings
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        await open_gates(fc, run_id)
    sql(
        tmp_path,
        'UPDATE objects SET body = replace(body, \'"name":"b"\', \'"name":"evil"\')',
    )
    async with core(tmp_path, audited=False) as fc:
        fc._parts.engine.wake(run_id)
        [stopped] = await warnings.seen("run_stopped")
        assert "was changed" in stopped["why"]
    assert stage.effects == []
