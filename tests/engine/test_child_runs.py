"""Steps that runs of their own execute: one family, from its birth to its end."""

from pathlib import Path
from typing import Any

import pytest
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
    idle,
    open_gates,
    py,
    register,
    sql,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.kin_helpers import cancel, child_of, ended, gate_of_child, kid, register_kid, whole

from federation_core.engine.local import LocalEngine
from federation_core.errors import Conflict
from federation_core.identity import ALL_SCOPES, Caller
from federation_core.ledger.kin import kin_to_wake
from federation_core.service import (
    Call,
    ChangeStatusRequest,
    CreateRunRequest,
    FederationCore,
)
from federation_core.service.views import RunAnswer
from federation_core.spine.actor import Actor
from federation_core.spine.children import MAX_DEPTH


def failure(answer: RunAnswer, step_id: str) -> tuple[str, str]:
    """(type, message) of the step's error."""
    [step] = [s for s in answer.steps if s.step_id == step_id]
    assert step.error is not None
    return step.error["type"], step.error["message"]


async def test_a_child_takes_the_steps_input_and_gives_its_output(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(
            fc,
            py("work", with_={"n": "${input.n}"}),
            input={"type": "object", "required": ["n"]},
            output="${steps.work.output}",
        )
        run_id = await begin(
            fc,
            kid("sub", with_={"n": 7}),
            py("after", with_={"got": "${steps.sub.output.n}"}),
            output="${steps.after.output.got}",
        )
        answer = await until(fc, run_id)
        child = await until(fc, await child_of(fc, run_id, "sub"))
    assert (answer.run.status, answer.run.output_payload) == ("completed", 7)
    assert stage.names == ["work", "after"]
    assert (child.run.parent_run_id, child.run.parent_step) == (run_id, "sub")
    assert child.run.input_payload == {"n": 7}
    [taken] = [s for s in answer.steps if s.step_id == "sub"]
    [end] = [e for e in child.logs if e.event_type == "FC-RUN-003"]
    assert taken.output_hash == end.details["output_hash"]
    assert decisions(answer, "sub") == ["allow"]


async def test_a_child_is_its_parents_starters_with_what_the_parent_was_started_with(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work"))
        await register(fc, workflow(kid("sub")))
        caller = Caller(Actor("ann", "person", ("clerk",)), "default", ALL_SCOPES, "t")
        request = CreateRunRequest(workflow_id="wf", metadata={"case": 0.5}, tags=["a", "b"])
        call = Call(caller, "t:default|c:1", mode="strict")
        run_id = (await fc.runs.create(call, request)).run.run_id
        child = await child_of(fc, run_id, "sub")
        parent, answer = await whole(fc, run_id), await whole(fc, child)
    assert (answer.run.actor_id, answer.logs[0].via) == ("ann", "engine")
    assert answer.run.correlation_id == "t:default|c:1"
    assert answer.run.metadata == {"case": 0.5}
    assert answer.run.tags == ("a", "b")
    for name in ("actor_kind", "actor_roles", "policy_mode", "metadata_hash"):
        assert answer.logs[0].details[name] == parent.logs[0].details[name], name
    assert answer.logs[0].details["policy_mode"] == "strict"


async def test_nobody_approves_in_a_child_what_was_started_through_them(
    tmp_path: Path, stage: Stage
) -> None:
    """Separation of duties reaches through: the child knows through whom its parent was started."""
    async with core(tmp_path, mode="strict") as fc:
        await register_kid(fc, gate("ask"))
        await register(fc, workflow(kid("sub")))
        caller = Caller(Actor("ann", via="desk"), "default", ALL_SCOPES, "t")
        made = await fc.runs.create(Call(caller, "c"), CreateRunRequest(workflow_id="wf"))
        asked = await gate_of_child(fc, made.run.run_id, "sub")
        for own in ("ann", "desk"):
            with pytest.raises(Exception, match="answer"):
                await approve(fc, asked, own)
        await approve(fc, asked, "ben")
        assert (await until(fc, made.run.run_id)).run.status == "completed"


async def test_a_parent_holds_nothing_while_it_waits(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask", "boss"))
        run_id = await begin(fc, kid("sub"), py("after"))
        asked = await gate_of_child(fc, run_id, "sub")
        await idle(fc)
        assert isinstance(fc._engine, LocalEngine)
        assert (fc._engine.driving, fc._engine._timers, fc._engine._tasks) == (0, {}, set())
        assert sql(tmp_path, "SELECT wake_at FROM runs WHERE run_id = ?", run_id) == [(None,)]
        # A sweep finds nothing to do, however many wait.
        assert await fc._parts.ledger.read(kin_to_wake, limit=10) == []
        assert states(await whole(fc, run_id)) == {"sub": "running", "after": "pending"}
        await approve(fc, asked, "boss")
        assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["after"]


async def test_children_work_side_by_side(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        given = {"name": "${input.name}", "other": "${input.other}"}
        await register_kid(fc, py("work", "meet", with_=given))
        run_id = await begin(
            fc,
            kid("a", with_={"name": "a", "other": "b"}, needs=[]),
            kid("b", with_={"name": "b", "other": "a"}, needs=[]),
        )
        assert (await until(fc, run_id)).run.status == "completed"
    assert sorted(stage.names) == ["a", "b"]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (kid("sub", "nobody"), "'nobody' is not registered; register it"),
        (kid("sub", version="6.6.6"), "not registered in version 6.6.6"),
        (kid("sub", version="1.0.0", with_={"n": "many"}), "refuses what stands in with: /n:"),
        (kid("sub", version="1.0.0"), "refuses what stands in with: /:"),
    ],
    ids=["unknown", "version", "input", "no-input"],
)
async def test_a_child_that_cannot_be_born_fails_its_step(
    tmp_path: Path, stage: Stage, step: dict[str, Any], why: str
) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work"), input=schema)
        run_id = await begin(fc, step | {"retry": {"max_attempts": 3}})
        answer = await until(fc, run_id)
        assert len(await fc.runs.page(fc.call("x"))) == 1
    kind, message = failure(answer, "sub")
    assert kind == "ChildRefused"
    assert why in message
    assert answer.steps[0].child_run_id is None
    assert (answer.run.status, answer.steps[0].attempt) == ("failed", 1)


async def test_a_named_version_is_kept_and_else_the_newest_is_taken(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        for version in ("1.0.0", "2.0.0"):
            await register_kid(fc, py(f"v{version[0]}"), version=version)
        run_id = await begin(fc, kid("old", version="1.0.0"), kid("new"))
        await until(fc, run_id)
    assert stage.names == ["v1", "v2"]


async def test_another_tenants_workflow_is_none(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work"), tenant="other")
        answer = await until(fc, await begin(fc, kid("sub")))
    assert failure(answer, "sub")[0] == "ChildRefused"


async def test_a_birth_that_policy_denies_fails_the_step(tmp_path: Path, stage: Stage) -> None:
    no = forbid("no", 'context.workflow_version == "9.0.0"', action="run.create")
    async with core(tmp_path, no) as fc:
        await register_kid(fc, py("work"), version="9.0.0")
        run_id = await begin(fc, kid("sub", retry={"max_attempts": 3, "backoff": "1ms"}))
        answer = await until(fc, run_id)
        child = await until(fc, await child_of(fc, run_id, "sub"))
    assert (child.run.status, codes(child.logs)[-1]) == ("failed", "FC-RUN-003")
    kind, message = failure(answer, "sub")
    assert kind == "ChildFailed"
    assert child.run.run_id in message
    assert "no forbids it" in message
    assert answer.steps[0].attempt == 1  # a deny is final: it is not asked again
    assert stage.effects == []


async def test_a_birth_that_policy_flags_waits_for_people(tmp_path: Path, stage: Stage) -> None:
    ask = flag("ask", 'context.workflow_version == "9.0.0"', action="run.create")
    async with core(tmp_path, ask) as fc:
        await register_kid(fc, py("work"), version="9.0.0")
        run_id = await begin(fc, kid("sub"))
        child = await child_of(fc, run_id, "sub")
        [asked] = (await whole(fc, child)).gates
        await idle(fc)
        assert stage.effects == []
        await approve(fc, asked)
        assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["work"]


async def test_a_step_that_policy_denies_has_no_child(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, forbid("no", 'context.step_id == "sub"')) as fc:
        await register_kid(fc, py("work"))
        answer = await until(fc, await begin(fc, kid("sub")))
        assert len(await fc.runs.page(fc.call("x"))) == 1
    assert states(answer) == {"sub": "denied"}


async def test_each_attempt_is_another_child(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", "fail", with_={"message": "no luck at all"}))
        run_id = await begin(fc, kid("sub", retry={"max_attempts": 2, "backoff": "1ms"}))
        answer = await until(fc, run_id)
        runs = [r for r in await fc.runs.page(fc.call("x")) if r.parent_run_id]
    assert {(r.parent_run_id, r.status) for r in runs} == {(run_id, "failed")}
    started = [e.details["child_run_id"] for e in answer.logs if e.event_type == "FC-STEP-001"]
    assert sorted(started) == sorted(r.run_id for r in runs)
    assert len(set(started)) == 2
    assert decisions(answer, "sub") == ["allow", "allow"]
    assert "no luck at all" in failure(answer, "sub")[1]
    assert answer.steps[0].child_run_id == started[-1]


async def test_what_was_denied_in_a_child_is_not_tried_again(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, forbid("no", 'context.step_id == "work"')) as fc:
        await register_kid(fc, py("work"))
        run_id = await begin(fc, kid("sub", retry={"max_attempts": 5, "backoff": "1ms"}))
        answer = await until(fc, run_id)
    assert (answer.run.status, answer.steps[0].attempt) == ("failed", 1)


async def test_a_workflow_that_starts_itself_for_ever_fails(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("work"), kid("sub", "wf"))
        answer = await until(fc, run_id)
        runs = await fc.runs.page(fc.call("x"), limit=100)
        deepest = await whole(fc, runs[0].run_id)
    assert len(runs) == len(stage.effects) == MAX_DEPTH + 1
    assert {r.status for r in runs} == {"failed"}
    assert "levels deep" in failure(deepest, "sub")[1]
    assert answer.run.status == "failed"


async def test_a_timeout_counts_the_whole_child_and_cancels_it(
    tmp_path: Path, stage: Stage
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await register_kid(fc, py("work"), gate("ask"))
        run_id = await begin(fc, kid("sub", timeout="2h"))
        child = await child_of(fc, run_id, "sub")
        await open_gates(fc, child)
        clock.forward(7_190)
        fc._parts.engine.wake(run_id)
        await idle(fc)
        assert (await whole(fc, run_id)).run.status == "running"
        clock.forward(20)
        fc._parts.engine.wake(run_id)
        answer, [of_child] = await until(fc, run_id), await ended(fc, child)
    assert failure(answer, "sub")[0] == "Timeout"
    assert of_child.run.status == "cancelled"
    assert run_id in of_child.logs[-1].message


async def test_a_timed_out_step_may_try_again_with_another_child(
    tmp_path: Path, stage: Stage
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await register_kid(fc, gate("ask"))
        retry = {"max_attempts": 2, "backoff": "1ms", "max_backoff": "1ms"}
        run_id = await begin(fc, kid("sub", timeout="2h", retry=retry))
        first = await child_of(fc, run_id, "sub")
        await open_gates(fc, first)
        clock.forward(7_201)
        fc._parts.engine.wake(run_id)
        assert (await until(fc, first)).run.status == "cancelled"
        second = await child_of(fc, run_id, "sub")
        while second == first:
            second = await child_of(fc, run_id, "sub")
        [asked] = await open_gates(fc, second)
        await approve(fc, asked)
        assert (await until(fc, run_id)).run.status == "completed"


async def test_a_family_is_cancelled_with_its_eldest(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", "hold"), name="grandkid")
        await register_kid(fc, kid("deeper", "grandkid"))
        run_id = await begin(fc, kid("sub"), py("after"))
        child = await child_of(fc, run_id, "sub")
        grandchild = await child_of(fc, child, "deeper")
        await stage.seen("work began")
        await cancel(fc, run_id)
        await stage.seen("work cut off")
        answers = await ended(fc, run_id, child, grandchild)
    assert [a.run.status for a in answers] == ["cancelled"] * 3
    assert [a.run.error_details for a in answers] == [None] * 3
    assert [a.logs[-1].details.get("error_code") for a in answers[1:]] == ["parent_ended"] * 2
    assert f"step sub of run {run_id}" in answers[1].logs[-1].message
    assert stage.effects == []


async def test_a_parent_that_fails_does_not_wait_for_its_child(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, forbid("no", 'context.step_id == "bad"')) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(
            fc, kid("sub", needs=[]), py("first", "hold", needs=[]), py("bad", needs=["first"])
        )
        child = await child_of(fc, run_id, "sub")
        await open_gates(fc, child)
        stage.go("first may end")
        answers = await ended(fc, run_id, child)
    assert [a.run.status for a in answers] == ["failed", "cancelled"]
    assert states(answers[0]) == {"sub": "failed", "first": "completed", "bad": "denied"}
    assert failure(answers[0], "sub")[0] == "RunEnded"


async def test_a_child_that_somebody_cancels_fails_its_step(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(fc, kid("sub", retry={"max_attempts": 3}))
        await cancel(fc, await child_of(fc, run_id, "sub"))
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert "was cancelled: not needed" in failure(answer, "sub")[1]
    assert answer.steps[0].attempt == 1


async def change(fc: FederationCore, run_id: str, status: str) -> RunAnswer:
    request = ChangeStatusRequest(status=status)  # type: ignore[arg-type]
    return await fc.runs.change_status(fc.call("operator"), run_id, request)


async def test_a_pause_is_of_one_run_and_its_children_go_on(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", "hold"), py("more"))
        run_id = await begin(fc, kid("sub"), py("after"))
        await stage.seen("work began")
        await change(fc, run_id, "paused")
        stage.go("work may end")
        child = await until(fc, await child_of(fc, run_id, "sub"))
        await idle(fc)
        paused = await whole(fc, run_id)
        assert child.run.status == "completed"
        assert (paused.run.status, states(paused)["sub"]) == ("paused", "completed")
        assert stage.names == ["work", "more"]
        await change(fc, run_id, "running")
        assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["work", "more", "after"]


async def test_a_paused_child_is_waited_for(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", "hold"), py("more"))
        run_id = await begin(fc, kid("sub"))
        await stage.seen("work began")
        child = await child_of(fc, run_id, "sub")
        await change(fc, child, "paused")
        stage.go("work may end")
        await idle(fc)
        assert (await whole(fc, run_id)).run.status == "running"
        assert (await whole(fc, child)).run.status == "paused"
        await change(fc, child, "running")
        assert (await until(fc, run_id)).run.status == "completed"


async def test_a_paused_parent_that_is_cancelled_takes_its_children_along(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(fc, kid("sub"))
        child = await child_of(fc, run_id, "sub")
        await change(fc, run_id, "paused")
        await cancel(fc, run_id)
        assert [a.run.status for a in await ended(fc, run_id, child)] == ["cancelled"] * 2


async def test_a_child_that_a_client_made_is_nobodys_step(tmp_path: Path, stage: Stage) -> None:
    """A run that a client calls a child is its own: it does not end with its parent."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"))
        request = CreateRunRequest(workflow_id="wf", parent_run_id=run_id)
        other = (await fc.runs.create(fc.call("x"), request)).run
        assert (other.parent_run_id, other.parent_step) == (run_id, None)
        await open_gates(fc, other.run_id)
        await cancel(fc, run_id)
        await idle(fc)
        assert (await whole(fc, other.run_id)).run.status == "paused"


async def test_a_sensitive_step_has_a_sensitive_child(tmp_path: Path, stage: Stage) -> None:
    """What the step takes and gives is salted in both streams, with one salt and one hash."""
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work"), output="${input.pin}")
        step = kid("sub", with_={"pin": "${input.pin}"}, sensitive=True)
        run_id = await begin(fc, step, given={"pin": 1234})
        answer = await until(fc, run_id)
        child = await until(fc, await child_of(fc, run_id, "sub"))
        [end] = [e for e in child.logs if e.event_type == "FC-RUN-003"]
        hashes = [child.logs[0].details["input_hash"], end.details["output_hash"]]
        assert [answer.steps[0].input_hash, answer.steps[0].output_hash] == hashes
        for stream in (run_id, child.run.run_id):
            for digest in hashes:
                query = "SELECT salt IS NOT NULL FROM payloads WHERE stream = ? AND hash = ?"
                assert sql(tmp_path, query, f"run:{stream}", digest) == [(1,)]


async def test_what_comes_of_a_sensitive_child_is_salted_in_its_parent(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", sensitive=True), output="${steps.work.output.did}")
        run_id = await begin(fc, kid("sub"), output="${steps.sub.output}")
        answer = await until(fc, run_id)
        given = [answer.steps[0].output_hash, answer.logs[-1].details["output_hash"]]
        for digest in given:
            query = "SELECT salt IS NOT NULL FROM payloads WHERE stream = ? AND hash = ?"
            assert sql(tmp_path, query, f"run:{run_id}", digest) == [(1,)]
        assert len(set(given)) == 2  # each has a salt of its own


async def test_nobody_steers_a_child_to_its_end_but_its_work(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(fc, kid("sub"))
        child = await child_of(fc, run_id, "sub")
        for status in ("completed", "failed"):
            with pytest.raises(Conflict):
                await change(fc, child, status)
        await cancel(fc, run_id)
        await ended(fc, child)
