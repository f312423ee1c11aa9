"""`foreach`: each item of a list is a step of its own."""

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.children import child
from tests.core_helpers import (
    approve,
    begin,
    core,
    decisions,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    resume,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.engine.test_graph import governed
from tests.stores import target_of

from federation_core.engine.sealing import seal_payload
from federation_core.errors import Forbidden
from federation_core.evidence.audit import audit
from federation_core.ledger import Payload
from federation_core.service import ChangeStatusRequest
from federation_core.spine.canonical import value_hash


def each(step_id: str, call: str = "act", *, over: str = "input.list", **keys: Any) -> Any:
    """A step done for each item of `over`, which is its name's part as well."""
    own = {"at": "${index}"} if call in ("act", "hold") else {}
    given = {"name": "${'" + step_id + "-' + item}", **own, **keys.pop("with_", {})}
    return py(step_id, call, with_=given, foreach=over, **keys)


async def test_each_item_is_a_step_of_its_own(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("act"),
            py("after", with_={"all": "${steps.act.output}", "was": "${steps.act.status}"}),
            output="${steps.act.output.map(x, x.did)}",
            given={"list": ["x", "y", "z"]},
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert sorted(stage.names[:3]) == ["act-x", "act-y", "act-z"]
    assert answer.run.output_payload == ["act-x", "act-y", "act-z"]
    governed(answer.logs)
    steps = {s.step_id: s for s in answer.steps}
    assert [s.step_id for s in answer.steps] == ["act", "after", "act[0]", "act[1]", "act[2]"]
    assert [s.step_index for s in answer.steps] == [0, 1, 2, 3, 4]
    assert states(answer) == dict.fromkeys(steps, "completed")
    assert steps["act"].decision is None
    assert steps["act"].receipt_hash is None
    assert steps["act"].started_at is not None
    assert all(steps[f"act[{i}]"].receipt_hash for i in range(3))
    assert len({key for _, key in stage.effects}) == 4
    assert decisions(answer, "act") == []
    assert decisions(answer, "act[1]") == ["allow"]
    fanned = next(e for e in answer.logs if e.event_type == "FC-STEP-007")
    assert (fanned.details["items"], fanned.step_id) == (3, "act")
    assert fanned.message == "Step act fans out: 3 items"


async def test_no_more_at_a_time_than_the_step_says(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc, each("f", "hold", concurrency=2), given={"list": ["a", "b", "c", "d"]}
        )
        await stage.seen("f-a began")
        await stage.seen("f-b began")
        await fc.runs.get(fc.call("x"), run_id)
        assert not stage.signals["f-c began"].is_set()
        stage.go("f-b may end")
        await stage.seen("f-c began")
        assert not stage.signals["f-d began"].is_set()
        assert stage.names == ["f-b"]
        for name in "acd":
            stage.go(f"f-{name} may end")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert [s.status for s in answer.steps] == ["completed"] * 5


async def test_outputs_stand_in_the_order_of_the_items(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("f", "hold"),
            output="${steps.f.output.map(x, x.at)}",
            given={"list": ["a", "b", "c"]},
        )
        for name in "cab":
            await stage.seen(f"f-{name} began")
            stage.go(f"f-{name} may end")
        answer = await until(fc, run_id)
    assert answer.run.output_payload == [0, 1, 2]


async def test_a_list_of_nothing_is_done_at_once(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc, each("f"), py("after"), output="${steps.f.output}", given={"list": []}
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert answer.run.output_payload == []
    assert states(answer) == {"f": "completed", "after": "completed"}
    assert stage.names == ["after"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("text", "foreach takes a list, not a string"),
        ({"a": 1}, "foreach takes a list, not a map"),
        (None, "foreach takes a list, not null"),
        ([0] * 100_001, "foreach takes at most 100,000 items, not 100,001"),
    ],
    ids=["text", "map", "null", "too many"],
)
async def test_what_is_no_list_fails_the_run(
    tmp_path: Path, stage: Stage, given: Any, why: str
) -> None:
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, each("f"), given={"list": given}))
    assert answer.run.status == "failed"
    assert answer.run.error_details["message"].startswith(
        "step f has no list of items: `input.list`"
    )
    assert why in answer.run.error_details["message"]
    assert stage.effects == []


async def test_a_condition_is_asked_once(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("f", when="input.go"),
            each("g", when="!input.go", needs=[]),
            given={"list": ["a", "b"], "go": False},
        )
        answer = await until(fc, run_id)
    assert states(answer) == {
        "f": "skipped",
        "g": "completed",
        "g[0]": "completed",
        "g[1]": "completed",
    }
    assert sorted(stage.names) == ["g-a", "g-b"]


async def test_one_denied_item_ends_the_run(tmp_path: Path, stage: Stage) -> None:
    policy = forbid("bad", 'context.step_id == "f" && context.input.name == "f-b"')
    async with core(tmp_path, policy) as fc:
        run_id = await begin(
            fc, each("f", "hold", concurrency=2), py("after"), given={"list": ["a", "b", "c"]}
        )
        await stage.seen("f-a began")
        stage.go("f-a may end")
        answer = await until(fc, run_id)
    assert answer.run.error_details["message"] == "step f[1] denied: bad forbids it"
    assert states(answer) == {
        "f": "failed",
        "after": "pending",
        "f[0]": "completed",
        "f[1]": "denied",
        "f[2]": "pending",
    }
    assert stage.names == ["f-a"]
    governed(answer.logs)


async def test_an_item_is_tried_again_by_itself(tmp_path: Path, stage: Stage) -> None:
    tries = {"max_attempts": 3, "backoff": "1ms"}
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("f", "flaky", with_={"good_at": "${item == 'b' ? 3 : 1}"}, retry=tries),
            given={"list": ["a", "b", "c"]},
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert {s.step_id: s.attempt for s in answer.steps} == {"f": 1, "f[0]": 1, "f[1]": 3, "f[2]": 1}
    assert decisions(answer, "f[1]") == ["allow"] * 3
    governed(answer.logs)


async def test_an_item_that_fails_for_good_fails_the_run(tmp_path: Path, stage: Stage) -> None:
    tries = {"max_attempts": 2, "backoff": "1ms"}
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc, each("f", "fail", retry=tries, concurrency=1), given={"list": ["a", "b"]}
        )
        answer = await until(fc, run_id)
    assert answer.run.error_details["code"] == "step_failed"
    assert answer.run.error_details["message"].startswith("step f[0] failed")
    assert stage.names == ["f-a", "f-a"]
    assert states(answer) == {"f": "failed", "f[0]": "failed"}


async def test_a_flagged_item_pauses_the_run_until_people_pass_it(
    tmp_path: Path, stage: Stage
) -> None:
    """Policy sees the step, whatever the item: its resource, and its id in the context."""
    policy = flag("odd", 'resource == Step::"wf/f" && context.input.name == "f-b"')
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, each("f"), given={"list": ["a", "b", "c"]})
        [asked] = await open_gates(fc, run_id)
        assert asked.step_id == "f[1]"
        paused = await until(fc, run_id, "paused")
        assert states(paused)["f"] == "running"
        assert states(paused)["f[1]"] == "waiting"
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert sorted(stage.names) == ["f-a", "f-b", "f-c"]
    assert decisions(answer, "f[1]") == ["flag", "allow"]
    governed(answer.logs)


async def test_any_work_fans_out(tmp_path: Path, stage: Stage) -> None:
    double = {"type": "TRANSFORM", "run": "expression", "value": "${item * 2 + index}"}
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            {"id": "once", **double, "foreach": "${input.list}"},
            {"id": "twice", **double, "foreach": "steps.once.output"},
            output="${steps.twice.output}",
            given={"list": [1, 2, 3]},
        )
        answer = await until(fc, run_id)
    assert answer.run.output_payload == [4, 11, 18]


async def test_values_that_are_not_at_hand_are_loaded_again(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation_core.engine.values.MAX_AT_HAND", 0)
    monkeypatch.setattr("federation_core.engine.item_lists.MAX_LISTS", 0)
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("f", concurrency=1),
            gate("ask", input_schema={"type": "object", "required": ["ok"]}),
            each(
                "g",
                over="steps.f.output",
                with_={"name": "${item.did}", "said": "${steps.ask.output}"},
            ),
            output="${steps.g.output.map(x, x.did)}",
            given={"list": ["a", "b", "c"]},
        )
        [asked] = await open_gates(fc, run_id)
        await resume(fc, asked, {"ok": True})
        answer = await until(fc, run_id)
    assert answer.run.output_payload == ["f-a", "f-b", "f-c"], answer.run.error_details
    assert len(stage.effects) == 6


async def test_it_goes_on_after_a_restart(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("f", concurrency=2),
            gate("ask", "approver"),
            each("g", over="steps.f.output.map(x, x.did)", concurrency=1),
            given={"list": ["a", "b", "c"]},
        )
        await open_gates(fc, run_id)
    async with core(tmp_path, flag("odd", 'context.input.name == "g-f-b"')) as fc:
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        while asked.step_id != "g[1]":
            [asked] = await open_gates(fc, run_id)
    async with core(tmp_path) as fc:
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert stage.names[-3:] == ["g-f-a", "g-f-b", "g-f-c"]
    assert [s.step_index for s in answer.steps] == list(range(9))


async def test_a_cancelled_fan_out_is_cut_off(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, each("f", "hold", concurrency=1), given={"list": ["a", "b"]})
        await stage.seen("f-a began")
        request = ChangeStatusRequest(status="cancelled")
        await fc.runs.change_status(fc.call("starter"), run_id, request)
        answer = await until(fc, run_id)
        await stage.seen("f-a cut off")
    assert states(answer) == {"f": "failed", "f[0]": "failed"}
    assert stage.effects == []


async def test_a_list_of_sensitive_items_is_salted(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc, each("f", sensitive=True), output="done", given={"list": ["a", "a"]}
        )
        answer = await until(fc, run_id)
        [fanned] = [e for e in answer.logs if e.event_type == "FC-STEP-007"]
        digests = [fanned.details["items_hash"], *(s.output_hash for s in answer.steps[1:])]
        for digest in digests:
            with pytest.raises(Forbidden):
                await fc.runs.payload(fc.call("x"), run_id, digest)
    assert fanned.details["items_hash"] != value_hash(["a", "a"])
    assert len({s.output_hash for s in answer.steps[1:]}) == 2


async def test_outputs_that_are_too_much_for_one_list_fail_who_looks(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation_core.engine.gathering.MAX_PAYLOAD_BYTES", 50)
    async with core(tmp_path) as fc:
        run_id = await begin(fc, each("f"), py("after"), given={"list": ["a", "b", "c"]})
        assert (await until(fc, run_id)).run.status == "completed"  # nobody looks
        text = workflow(each("f"), output="${steps.f.output}", version="2.0.0")
        await register(fc, text)
        answer = await until(fc, await start(fc, {"list": ["a", "b", "c"]}))
    assert answer.run.status == "failed"
    assert "more than 50 bytes together" in answer.run.error_details["message"]


async def killed(folder: Path, moment: str, *, idempotent: bool, **keys: Any) -> str:
    """A fan-out in another process, killed at `moment`; returns the run's id."""
    given = {"name": "${item}", "path": "${input.path}"}
    step = py("f", "append", with_=given, foreach="['a', 'b', 'c']", concurrency=1)
    (folder / "workflow.yaml").write_text(workflow(step | {"idempotent": idempotent} | keys))
    with child("stop_in_step", folder, moment) as server:
        assert server.line() == moment
        server.kill()
    return (folder / "acknowledged").read_text()


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_an_idempotent_item_is_run_again_with_its_key(tmp_path: Path) -> None:
    run_id = await killed(tmp_path, "after b", idempotent=True)
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    keys = [(n, f"{run_id}:f[{i}]:1") for i, n in ((0, "a"), (1, "b"), (1, "b"), (2, "c"))]
    assert (tmp_path / "effects").read_text().splitlines() == [f"{n} {key}" for n, key in keys]


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_any_other_item_is_in_doubt_and_a_person_says_what_happened(tmp_path: Path) -> None:
    run_id = await killed(tmp_path, "before b", idempotent=False)
    async with core(tmp_path) as fc:
        [asked] = await open_gates(fc, run_id)
        assert (asked.gate_type, asked.step_id) == ("in_doubt", "f[1]")
        assert states(await until(fc, run_id, "paused")) == {
            "f": "running",
            "f[0]": "completed",
            "f[1]": "in_doubt",
        }
        await resume(fc, asked, {"happened": False})
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert {s.step_id: s.attempt for s in answer.steps}["f[1]"] == 2


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_a_timeout_of_an_attempt_holds_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await killed(tmp_path, "before b", idempotent=True, timeout="1s")
    end = threading.Event()
    monkeypatch.setattr("tests.core_steps.moment", lambda _moment: end.wait(20) and None)
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
        end.set()
    assert answer.run.error_details["code"] == "step_failed"
    assert answer.run.error_details["message"].startswith("step f[1] failed: Timeout")


async def test_a_server_that_miscounts_its_items_is_found_out(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did is lawful by itself; the list that it stored says that an item was left out."""

    def longer(value: Any, **more: Any) -> Payload:
        return seal_payload([*value, "left out"] if isinstance(value, list) else value, **more)

    monkeypatch.setattr("federation_core.engine.progress.seal_payload", longer)
    async with core(tmp_path, audited=False) as fc:
        answer = await until(fc, await begin(fc, each("f"), given={"list": ["a", "b"]}))
    assert answer.run.status == "completed"
    report = audit(target_of(tmp_path))
    assert (report.code, report.stream) == ("PAYLOAD_MISMATCH", f"run:{answer.run.run_id}")
