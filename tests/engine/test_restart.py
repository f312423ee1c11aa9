"""Doing a run again from a step on: what is carried over, what done anew, and what refused."""

from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
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
    register,
    resume,
    sql,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.kin_helpers import cancel, child_of, kid, register_kid, restart, whole

from federation_core.errors import Conflict, Forbidden, InvalidInput, NotFound
from federation_core.evidence import verify
from federation_core.service import (
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    RestartRequest,
)
from federation_core.service.views import RunAnswer

NO = forbid("no", 'context.step_id == "bad" && !(context.tags.contains("good"))')
"""The step `bad` fails until the run has the tag `good`."""


def carried(answer: RunAnswer) -> dict[str, str]:
    """Step → run that did it, of the steps that were not done again."""
    return {s.step_id: s.carried_from for s in answer.steps if s.carried_from}


async def failed(fc: FederationCore, *steps: dict[str, Any], **keys: Any) -> str:
    run_id = await begin(fc, *steps, **keys)
    assert (await until(fc, run_id)).run.status == "failed"
    return run_id


async def test_what_ended_well_is_carried_over_and_all_else_done_anew(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(
            fc,
            py("a", with_={"n": "${input.n}"}),
            py("skipped", when="input.n > 100"),
            py("bad"),
            py("after", with_={"got": "${steps.a.output.n}"}),
            given={"n": 5},
            output="${steps.after.output.got}",
        )
        before = await whole(fc, old)
        request = RestartRequest(from_step="bad", tags=["good"])
        made = await fc.runs.restart(fc.call("starter"), old, request)
        assert (made.run.input_payload, made.run.metadata) == ({"n": 5}, {})
        new = made.run.run_id
        answer = await until(fc, new)
        assert await whole(fc, old) == before  # history is not rewritten
    assert (answer.run.status, answer.run.output_payload) == ("completed", 5)
    assert answer.run.restarted_from == old
    assert (answer.run.input_payload, answer.run.workflow_version) == ({"n": 5}, "1.0.0")
    assert stage.effects == [
        (n, f"{r}:{n}:1") for n, r in (("a", old), ("bad", new), ("after", new))
    ]
    assert codes(answer.logs)[:5] == [
        "FC-RUN-001",
        "FC-STEP-008",
        "FC-STEP-008",
        "FC-POLICY-001",
        "FC-POLICY-001",
    ]
    assert carried(answer) == {"a": old}
    assert states(answer) == dict.fromkeys(("a", "bad", "after"), "completed") | {
        "skipped": "skipped"
    }
    assert decisions(answer, "a") == []
    own, was = ({s.step_id: s for s in a.steps}["a"] for a in (answer, before))
    assert (own.receipt_hash, own.output_hash) == (was.receipt_hash, was.output_hash)
    assert own.receipt_hash not in answer.run.receipt_chain


async def test_steps_that_wait_for_the_chosen_one_are_done_again(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(
            fc,
            py("root", needs=[]),
            py("left", needs=["root"]),
            py("right", needs=["root"]),
            py("tip", needs=["left"]),
            py("bad", needs=["tip", "right"]),
        )
        stage.effects.clear()
        answer = await until(fc, await restart(fc, old, "left", tags=["good"]))
    assert carried(answer) == {"root": old, "right": old}
    assert stage.names == ["left", "tip", "bad"]


async def test_from_the_first_step_nothing_is_carried(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(fc, py("a"), py("bad"))
        answer = await until(fc, await restart(fc, old, "a", tags=["good"]))
    assert carried(answer) == {}
    assert stage.names == ["a", "a", "bad"]


async def test_a_restart_can_be_restarted(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        first = await failed(fc, py("a"), py("b"), py("bad"))
        second = await restart(fc, first, "b")
        assert (await until(fc, second)).run.status == "failed"
        answer = await until(fc, await restart(fc, second, "bad", tags=["good"]))
    assert answer.run.restarted_from == second
    assert carried(answer) == {"a": first, "b": second}  # each by the run that did it
    assert stage.names == ["a", "b", "b", "bad"]


async def test_a_cancelled_run_is_restarted_and_given_other_metadata(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a"), gate("ask"), py("b")))
        old = await start(fc, {"n": 1}, tags=["x"], metadata={"try": 1})
        await open_gates(fc, old)
        await cancel(fc, old)
        new = await restart(fc, old, "ask", metadata={"try": 2})
        [asked] = await open_gates(fc, new)
        await approve(fc, asked)
        answer = await until(fc, new)
    assert (answer.run.metadata, answer.run.tags) == ({"try": 2}, ("x",))
    assert stage.names == ["a", "b"]


async def test_values_come_along_with_their_salts(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(
            fc, py("a", sensitive=True, with_={"pin": 7}), py("bad"), output="${steps.a.output.pin}"
        )
        new = await restart(fc, old, "bad", tags=["good"])
        assert (await until(fc, new)).run.output_payload == 7
        query = "SELECT hash, salt FROM payloads WHERE stream = ? AND salt IS NOT NULL"
        rows = [set(sql(tmp_path, query, f"run:{run_id}")) for run_id in (old, new)]
    assert rows[0] < rows[1]  # and the run's own output besides


async def test_a_child_that_completed_is_carried_and_its_step_not_started(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, NO) as fc:
        await register_kid(fc, py("work"))
        old = await failed(fc, kid("sub"), py("bad"))
        answer = await until(fc, await restart(fc, old, "bad", tags=["good"]))
        assert len([r for r in await fc.runs.page(fc.call("x")) if r.parent_run_id]) == 1
    assert carried(answer) == {"sub": old}
    assert stage.names == ["work", "bad"]


async def test_a_restarted_child_is_nobodys_step(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        await register_kid(fc, py("a"), py("bad"))
        old = await failed(fc, kid("sub", sensitive=True, with_={"n": 1}))
        child = await child_of(fc, old, "sub")
        answer = await until(fc, await restart(fc, child, "bad", tags=["good"]))
    assert (answer.run.status, answer.run.parent_run_id) == ("completed", None)
    assert answer.run.input_payload == {"n": 1}
    assert answer.logs[0].details["sensitive"] is True


async def test_a_denied_birth_is_a_failed_run_that_can_be_restarted(
    tmp_path: Path, stage: Stage
) -> None:
    closed = forbid("closed", 'context.tags.contains("closed")', action="run.create")
    async with core(tmp_path, NO, closed) as fc:
        old = await failed(fc, py("a"), py("bad"))
        second = await restart(fc, old, "bad", tags=["closed"])
        assert (await whole(fc, second)).run.status == "failed"
        answer = await until(fc, await restart(fc, second, "bad", tags=["good"]))
    assert answer.run.status == "completed"
    assert carried(answer) == {"a": old}
    assert stage.names == ["a", "bad"]


async def test_an_approval_of_the_old_run_is_none_in_the_new(tmp_path: Path, stage: Stage) -> None:
    """A step that policy flags is approved for one run."""
    policy = flag("risky", 'context.step_id == "bad"')
    async with core(tmp_path, policy) as fc:
        old = await begin(fc, py("a"), py("bad", "fail"))
        [asked] = await open_gates(fc, old)
        await approve(fc, asked)
        assert (await until(fc, old)).run.status == "failed"
        new = await restart(fc, old, "bad")
        [again] = await open_gates(fc, new)
        assert again.gate_id != asked.gate_id
        await approve(fc, again)
        await until(fc, new)


async def test_in_strict_mode_nobody_starts_what_they_let_through(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, NO, mode="strict") as fc:
        old = await begin(fc, py("a"), gate("ask"), py("bad"))
        [asked] = await open_gates(fc, old)
        await approve(fc, asked, "ben")
        assert (await until(fc, old)).run.status == "failed"
        with pytest.raises(Forbidden) as caught:
            await restart(fc, old, "bad", actor="ben")
        assert caught.value.error_code == "separation_of_duties"
        new = await restart(fc, old, "ask", actor="ben", tags=["good"])
        [again] = await open_gates(fc, new)  # he may have it asked again, of somebody else
        await approve(fc, again, "cleo")
        assert (await until(fc, new)).run.status == "completed"
        other = await restart(fc, old, "bad", actor="dan", tags=["good"])
        assert (await until(fc, other)).run.status == "completed"


async def test_a_strict_run_is_not_restarted_as_a_loose_one(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        await register(fc, workflow(py("a"), py("bad")))
        call = fc.call("starter", mode="strict")
        made = await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))
        await until(fc, made.run.run_id)
        answer = await until(fc, await restart(fc, made.run.run_id, "a"))
    assert answer.logs[0].details["policy_mode"] == "strict"


async def test_what_cannot_be_restarted(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(fc, py("a"), py("bad"))
        good = await start(fc, tags=["good"])
        await until(fc, good)
        await register(fc, workflow(gate("ask"), version="2.0.0"))
        waiting = await start(fc)
        await open_gates(fc, waiting)
        outside = CreateRunRequest(workflow_id="outside")
        external = (await fc.runs.create(fc.call("x"), outside)).run.run_id
        cancelled = ChangeStatusRequest(status="cancelled")
        await fc.runs.change_status(fc.call("x"), external, cancelled)
        for run_id, step, kind, code in (
            (good, "bad", Conflict, "run_completed"),
            (waiting, "ask", Conflict, "run_not_ended"),
            (external, "bad", Conflict, "external_run"),
            (old, "nowhere", InvalidInput, "invalid_input"),
            ("no-such-run", "bad", NotFound, "run_not_found"),
        ):
            with pytest.raises(kind) as caught:
                await restart(fc, run_id, step)
            assert caught.value.error_code == code
        stranger = fc.call("starter", tenant="other")
        with pytest.raises(NotFound):
            await fc.runs.restart(stranger, old, RestartRequest(from_step="bad"))
        assert len(await fc.runs.page(fc.call("x"))) == 4


async def test_a_value_that_was_erased_is_not_carried(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        old = await failed(fc, py("a"), py("bad"), given={"n": 1})
        [a] = [s for s in (await whole(fc, old)).steps if s.step_id == "a"]
        erase = EraseRequest(payload_hash=a.output_hash, reason="they asked for it")
        await fc.erasures.erase(fc.call("officer"), erase)
        with pytest.raises(Conflict) as caught:
            await restart(fc, old, "bad")
        assert caught.value.error_code == "payload_erased"
        answer = await until(fc, await restart(fc, old, "a", tags=["good"]))  # done again instead
    assert answer.run.status == "completed"


async def test_what_a_person_entered_comes_along(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, NO) as fc:
        window = py("bad", with_={"window": "${steps.ask.output.input.window}"})
        old = await begin(fc, gate("ask", input_schema={"type": "object"}), window)
        [asked] = await open_gates(fc, old)
        await resume(fc, asked, {"window": "tonight"}, "ben")
        assert (await until(fc, old)).run.status == "failed"
        answer = await until(fc, await restart(fc, old, "bad", tags=["good"]))
    assert answer.run.status == "completed"
    assert carried(answer) == {"ask": old}
    assert answer.gates == []


def test_the_verifier_says_what_a_receipt_has_to_tell() -> None:
    """The spine's words for it and the verifier's are the same, as neither knows the other."""
    from federation_core.spine.receipts import OF_ITS_RUN

    assert verify._OF_ITS_RUN == OF_ITS_RUN
