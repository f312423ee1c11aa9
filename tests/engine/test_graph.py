"""What runs when: the graph of `needs`, conditions, the end of a run, and the end by a denial."""

from pathlib import Path

from tests.core_helpers import (
    begin,
    codes,
    core,
    decisions,
    forbid,
    gate,
    idle,
    py,
    register,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.service.views import LogEntry

FORBIDDEN = forbid("forbidden", "context.input has forbidden && context.input.forbidden")


def governed(logs: list[LogEntry]) -> None:
    """Promise 1: each start names a decision before it, an allow of this attempt and input."""
    allows = {e.hash: e for e in logs if e.event_type == "FC-POLICY-001" and e.decision == "allow"}
    for entry in logs:
        if entry.event_type == "FC-STEP-001":
            allow = allows[entry.details["decision_hash"]]
            assert allow.seq < entry.seq
            assert allow.details["subject_hash"] == entry.details["input_hash"]
            assert allow.details["attempt"] == entry.details["attempt"]
            assert allow.step_id == entry.step_id


async def test_independent_steps_run_at_the_same_time(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("left", "meet", needs=[], with_={"other": "right"}, timeout="20s"),
            py("right", "meet", needs=[], with_={"other": "left"}, timeout="20s"),
            py("both", needs=["left", "right"]),
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert sorted(stage.names[:2]) == ["left", "right"]
    assert stage.names[2:] == ["both"]
    governed(answer.logs)


async def test_a_step_waits_for_all_that_it_needs(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("slow", "hold", needs=[]),
            py("quick", needs=[]),
            py("after_quick", "hold", needs=["quick"]),
            py("after_both", needs=["slow", "quick"]),
        )
        await stage.seen("after_quick began")
        assert stage.names == ["quick"]
        stage.go("after_quick may end")
        stage.go("slow may end")
        answer = await until(fc, run_id)
    assert stage.names.index("slow") < stage.names.index("after_both")
    assert states(answer) == dict.fromkeys(
        ["slow", "quick", "after_quick", "after_both"], "completed"
    )


async def test_outputs_reach_the_steps_and_the_output(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("first", with_={"n": "${input.n}"}),
            {
                "id": "sum",
                "type": "TRANSFORM",
                "run": "expression",
                "value": '${ {"sum": steps.first.output.n + 1, "who": run.actor} }',
            },
            output={"result": "${steps.sum.output}", "did": "${steps.first.output.did}"},
            given={"n": 41},
        )
        answer = await until(fc, run_id)
    assert answer.run.output_payload == {
        "result": {"sum": 42, "who": "starter"},
        "did": "first",
    }


async def test_a_step_whose_condition_is_false_is_skipped_and_the_others_go_on(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("a"),
            py("b", when='steps.a.output.did == "something else"'),
            gate("ask", "nobody", when="input.n > 3"),
            py("c", needs=["b", "ask"]),
            output="${steps.b.status}",
            given={"n": 3},
        )
        answer = await until(fc, run_id)
    assert stage.names == ["a", "c"]
    assert states(answer) == {"a": "completed", "b": "skipped", "ask": "skipped", "c": "completed"}
    assert codes(answer.logs).count("FC-STEP-006") == 2
    assert decisions(answer, "b") == []  # there is nothing to allow
    assert answer.run.output_payload == "skipped"


async def test_a_denied_step_ends_the_run_and_nothing_after_it_executes(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, FORBIDDEN) as fc:
        run_id = await begin(
            fc, py("a"), py("b", with_={"forbidden": True}), py("c"), py("d", needs=["a"])
        )
        answer = await until(fc, run_id)
    assert "b" not in stage.names
    assert "c" not in stage.names
    assert answer.run.status == "failed"
    assert states(answer)["b"] == "denied"
    assert states(answer)["c"] == "pending"
    assert decisions(answer, "b") == ["deny"]
    assert answer.run.error_details["code"] == "policy_denied"
    assert "forbidden forbids it" in answer.run.error_details["message"]
    assert codes(answer.logs)[-1] == "FC-RUN-003"
    governed(answer.logs)
    async with core(tmp_path) as fc:  # deny is final, whatever is allowed now
        fc._parts.engine.wake(run_id)
        await idle(fc)
        assert await until(fc, run_id) == answer


async def test_what_is_under_way_when_another_step_is_denied_ends_and_is_recorded(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, FORBIDDEN) as fc:
        run_id = await begin(
            fc,
            py("slow", "hold", needs=[]),
            py("quick", "hold", needs=[]),
            py("bad", needs=["quick"], with_={"forbidden": True}),
            py("late", needs=["slow"]),
        )
        await stage.seen("slow began")
        stage.go("quick may end")
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            answer = await fc.runs.get(fc.call("x"), run_id, steps=True)
            while states(answer)["bad"] != "denied":
                await watch.next()
                answer = await fc.runs.get(fc.call("x"), run_id, steps=True)
        assert answer.run.status == "running"  # something of it is still in the world
        stage.go("slow may end")
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert states(answer) == {
        "slow": "completed",
        "quick": "completed",
        "bad": "denied",
        "late": "pending",
    }
    assert "late" not in stage.names


async def test_a_run_that_may_not_start_or_be_born_executes_nothing(
    tmp_path: Path, stage: Stage
) -> None:
    policies = [
        forbid("unborn", "context.input has born && !context.input.born", action="run.create"),
        forbid("unstarted", "context.input has go && !context.input.go", action="run.start"),
    ]
    async with core(tmp_path, *policies) as fc:
        await register(fc, workflow(py("a")))
        for given, reason in (({"born": False}, "unborn"), ({"go": False}, "unstarted")):
            answer = await until(fc, await start(fc, given))
            assert answer.run.status == "failed"
            assert reason in answer.run.error_details["message"]
    assert stage.effects == []


async def test_a_run_that_may_not_complete_fails(tmp_path: Path, stage: Stage) -> None:
    policy = forbid("unfinished", 'context.outputs.a.did == "a"', action="run.complete")
    async with core(tmp_path, policy) as fc:
        answer = await until(fc, await begin(fc, py("a"), output="${steps.a.output}"))
    assert stage.names == ["a"]
    assert answer.run.status == "failed"
    assert answer.run.output_payload is None


async def test_a_hundred_runs_at_once(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a"), py("b", needs=[]), py("c", needs=["a", "b"])))
        runs = [await start(fc) for _ in range(100)]
        answers = [await until(fc, run_id) for run_id in runs]
    assert {a.run.status for a in answers} == {"completed"}
    assert len(set(stage.effects)) == len(stage.effects) == 300
    for answer in answers:
        governed(answer.logs)


async def test_a_long_chain(tmp_path: Path, stage: Stage) -> None:
    names = [f"s{i}" for i in range(60)]
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, *map(py, names)))
    assert stage.names == names
    assert answer.run.status == "completed"
    assert len(answer.run.receipt_chain) == 60


async def test_a_graph_of_hundreds_of_steps(tmp_path: Path, stage: Stage) -> None:
    """In layers of a hundred, each step of which needs two of the layer before it."""
    value = {"type": "TRANSFORM", "run": "expression"}
    steps = [
        {
            "id": f"s{layer}_{i}",
            "needs": [f"s{layer - 1}_{(i + n) % 100}" for n in (0, 1)] if layer else [],
            "value": f"${{steps.s{layer - 1}_{i}.output + 1}}" if layer else 1,
            **value,
        }
        for layer in range(5)
        for i in range(100)
    ]
    async with core(tmp_path) as fc:
        run_id = await begin(fc, *steps, output="${steps.s4_7.output}")
        before = fc._parts.ledger.commits
        answer = await until(fc, run_id)
        commits = fc._parts.ledger.commits - before
    assert answer.run.output_payload == 5
    assert len(answer.run.receipt_chain) == len(steps)
    assert commits <= 15  # a layer is one append: what ended, its decisions, its starts
