"""`foreach` with `run: workflow`: each item is a run of its own; and what a restart does of it."""

from pathlib import Path

import pytest
from tests.core_helpers import (
    approve,
    begin,
    core,
    forbid,
    gate,
    idle,
    open_gates,
    py,
    register,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.kin_helpers import cancel, child_of, ended, kid, register_kid, restart, whole
from tests.stores import target_of

from federation_core.engine.sealing import seal_payload
from federation_core.errors import Conflict
from federation_core.evidence.audit import audit

LIST = {"list": ["x", "y", "z"]}
EACH = kid("each", foreach="input.list", concurrency=2, with_={"name": "${item + string(index)}"})


async def test_each_item_is_a_run_of_its_own(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        work = py("work", with_={"name": "${input.name}"})
        await register_kid(fc, work, output="${steps.work.output.did}")
        last = py("last", with_={"all": "${steps.each.output}"})
        run_id = await begin(fc, EACH, last, output="${steps.each.output}", given=LIST)
        answer = await until(fc, run_id)
        assert answer.run.status == "completed", answer.run.error_details
        assert answer.run.output_payload == ["x0", "y1", "z2"]
        items = [s for s in answer.steps if s.step_id.startswith("each[")]
        children = [s.child_run_id or "" for s in items]
        assert len(set(children)) == 3
        for step, child in zip(items, await ended(fc, *children), strict=True):
            assert (child.run.parent_run_id, child.run.parent_step) == (run_id, step.step_id)
            assert child.run.status == "completed"
        [fan] = [s for s in answer.steps if s.step_id == "each"]
        assert (fan.child_run_id, fan.status) == (None, "completed")
    assert sorted(stage.names[:3]) == ["x0", "y1", "z2"]
    assert stage.names[3:] == ["last"]


async def test_no_more_children_at_a_time_than_the_step_says(tmp_path: Path, stage: Stage) -> None:
    """Whoever waits for them holds nothing, and a restart of the server finds each of them."""
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"), output="${input.name}")
        run_id = await begin(fc, EACH, output="${steps.each.output}", given=LIST)
        first, second = [await child_of(fc, run_id, f"each[{i}]") for i in range(2)]
        for child in (first, second):
            await open_gates(fc, child)
        await idle(fc)
        assert states(await whole(fc, run_id)) == {
            "each": "running",
            "each[0]": "running",
            "each[1]": "running",
        }
    async with core(tmp_path) as fc:
        for child in (second, first):
            await approve(fc, (await open_gates(fc, child))[0])
        third = await child_of(fc, run_id, "each[2]")
        await approve(fc, (await open_gates(fc, third))[0])
        answer = await until(fc, run_id)
    assert answer.run.output_payload == ["x0", "y1", "z2"]


async def test_children_of_items_end_with_the_run(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(fc, EACH, given=LIST)
        children = [await child_of(fc, run_id, f"each[{i}]") for i in range(2)]
        await cancel(fc, run_id)
        for answer in await ended(fc, *children):
            assert answer.run.status == "cancelled"
            assert answer.logs[-1].details["error_code"] == "parent_ended"
        assert states(await whole(fc, run_id))["each"] == "failed"


async def test_an_item_tries_again_with_another_child(tmp_path: Path, stage: Stage) -> None:
    retry = {"max_attempts": 2, "backoff": "1ms"}
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", "fail", with_={"name": "${input.name}"}))
        run_id = await begin(fc, EACH | {"retry": retry}, given={"list": ["x"]})
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    started = [e.details for e in answer.logs if e.event_type == "FC-STEP-001"]
    assert [d["attempt"] for d in started] == [1, 2]
    assert len({d["child_run_id"] for d in started}) == 2
    assert stage.names == ["x0", "x0"]


async def test_what_comes_of_sensitive_children_of_items_is_salted(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("work", sensitive=True), output="${steps.work.output}")
        run_id = await begin(fc, EACH, output="${steps.each.output}", given=LIST)
        answer = await until(fc, run_id)
        assert answer.run.status == "completed"
        seen = [s.output_hash for s in answer.steps if s.step_id.startswith("each[")]
        said = {"did": "work"}
        assert seal_payload(said).hash not in seen
        end = answer.logs[-1].details["output_hash"]
        assert end != seal_payload([said] * 3).hash
    assert audit(target_of(tmp_path)).error is None


# What has fanned out has no receipt, so it is not carried over.

PLAIN = py("fan", foreach="input.list", with_={"name": "${item}"})


async def test_a_fan_out_is_done_again_only_where_that_was_asked_for(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(
        tmp_path, forbid("no", 'context.input has name && context.input.name == "bad"')
    ) as fc:
        run_id = await begin(
            fc, py("before"), PLAIN, py("after", with_={"name": "bad"}), given=LIST
        )
        assert (await until(fc, run_id)).run.status == "failed"
        assert stage.names == ["before", "x", "y", "z"]
        with pytest.raises(Conflict, match="Step fan fanned out"):
            await restart(fc, run_id, "after")
        again = await restart(fc, run_id, "fan")
        answer = await until(fc, again)
        carried = [s.step_id for s in answer.steps if s.carried_from]
    assert carried == ["before"]
    assert stage.names == ["before", *"xyz", *"xyz"]


async def test_a_fan_out_that_was_skipped_is_carried_over(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        steps = (PLAIN | {"when": "false"}, py("after", "fail"))
        await register(fc, workflow(*steps))
        run_id = await start(fc, LIST)
        assert (await until(fc, run_id)).run.status == "failed"
        again = await restart(fc, run_id, "after")
        answer = await until(fc, again)
    assert states(answer) == {"fan": "skipped", "after": "failed"}
    assert stage.names == ["after", "after"]
