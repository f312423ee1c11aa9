"""Promise 2: what cannot be decided, or read, is not executed."""

import asyncio
import json
from pathlib import Path

import pytest
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
from tests.log_helpers import Warnings

from federation_core.errors import Forbidden
from federation_core.service import ChangeStatusRequest
from federation_core.spine.canonical import value_hash

# A value that is needed was erased.


def erase(folder: Path, value: object) -> None:
    """Erase a payload by hand."""
    digest = value_hash(value)
    assert sql(folder, "SELECT 1 FROM payloads WHERE hash = ?", digest)
    sql(folder, "DELETE FROM payloads WHERE hash = ?", digest)


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
    async with core(tmp_path, *policies, audited=False) as fc:
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
    async with core(tmp_path, FLAG_B, audited=False) as fc:
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
    async with core(tmp_path, LOOKS_BACK, audited=False) as fc:
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
    async with core(tmp_path, LOOKS_BACK, audited=False) as fc:
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
    async with core(tmp_path, FLAG_B, audited=False) as fc:
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
    async with core(tmp_path, audited=False) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert answer.logs[-2].details["error_type"] == "InputErased"
    assert stage.names == ["a"]


async def test_an_erased_answer_is_not_taken_for_a_no(tmp_path: Path, stage: Stage) -> None:
    """It did happen, a person said; that this cannot be read any more does not make it undone."""
    said = {"happened": True, "output": {"done": 1}}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await fc._engine.close(grace=0)
    async with core(tmp_path, audited=False) as fc:
        [asked] = await open_gates(fc, run_id)
        await fc._engine.close()
        await resume(fc, asked, said)
    erase(tmp_path, said)
    async with core(tmp_path, audited=False) as fc:
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
    async with core(tmp_path, audited=False) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert stage.effects == []


# There is no policy that could be asked.


def tampered(folder: Path, how: str) -> None:
    [(body,)] = sql(folder, "SELECT body FROM events WHERE type = ?", "FC-POLICY-002")
    manifest, policy = json.loads(body)["data"]["bundle_hash"], "%permit (%"
    match how:
        case "a policy is changed":
            sql(folder, "UPDATE objects SET body = body || ' ' WHERE body LIKE ?", policy)
        case "a policy is gone":
            sql(folder, "DELETE FROM objects WHERE body LIKE ?", policy)
        case "the manifest is gone":
            sql(folder, "DELETE FROM objects WHERE hash = ?", manifest)
        case _:
            sql(folder, "UPDATE objects SET body = ? WHERE hash = ?", how, manifest)


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
