"""GATE steps: people are asked, and what they say can be read by the steps after."""

import asyncio
from pathlib import Path

import pytest
from tests.core_helpers import (
    approve,
    begin,
    codes,
    core,
    flag,
    gate,
    idle,
    open_gates,
    py,
    resume,
    states,
    until,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, Forbidden, InvalidInput
from federation_core.service import AnswerGateRequest, ResumeRequest
from federation_core.spine.canonical import value_hash

AMOUNT = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "integer", "maximum": 100}},
    "additionalProperties": False,
}


async def test_what_people_say_can_be_read_by_later_steps(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("a"),
            gate("ask", "approver", input_schema=AMOUNT),
            py("b", with_={"amount": "${steps.ask.output.input.amount}"}),
            output="${steps.b.output.amount}",
        )
        [asked] = await open_gates(fc, run_id)
        assert (asked.gate_type, asked.gate_name) == ("human_approval", "ask")
        assert asked.input_schema == AMOUNT
        assert stage.names == ["a"]
        await resume(fc, asked, {"amount": 42})
        answer = await until(fc, run_id)
    assert answer.run.output_payload == 42
    [resumed] = [e for e in answer.logs if e.event_type == "FC-GATE-003"]
    assert resumed.details["input_hash"] == value_hash({"amount": 42})
    assert answer.gates[0].input_hash == value_hash({"amount": 42})
    assert resumed.actor_id == "approver"


@pytest.mark.parametrize("given", [{}, {"amount": 101}, {"amount": "1"}, {"amount": 1, "x": 2}])
async def test_an_input_that_its_schema_refuses_changes_nothing(
    tmp_path: Path, stage: Stage, given: dict[str, object]
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", input_schema=AMOUNT), py("b"))
        [asked] = await open_gates(fc, run_id)
        before = await fc.runs.get(fc.call("x"), run_id, logs=True, gates=True)
        with pytest.raises(InvalidInput) as caught:
            await resume(fc, asked, given)
        assert caught.value.error_code == "gate_input_invalid"
        assert caught.value.errors[0].path.startswith("/input")
        with pytest.raises(InvalidInput):  # to approve without an input is to give none
            await approve(fc, asked)
        assert await fc.runs.get(fc.call("x"), run_id, logs=True, gates=True) == before
    assert stage.names == []


async def test_an_approval_without_a_schema_needs_no_input(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"), output="${steps.ask.output}")
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked, "ann")
        answer = await until(fc, run_id)
    assert answer.run.output_payload == {"approved": True, "approved_by": ["ann"], "input": None}
    assert stage.names == ["b"]


async def test_people_must_agree_on_one_input(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", input_schema=AMOUNT, quorum=3), py("b"))
        [asked] = await open_gates(fc, run_id)
        await resume(fc, asked, {"amount": 1}, "ann")
        with pytest.raises(Conflict) as caught:
            await resume(fc, asked, {"amount": 2}, "ben")
        assert caught.value.error_code == "input_differs"
        await resume(fc, asked, {"amount": 1}, "ben")
        assert stage.names == []
        await approve(fc, asked, "cyd")  # agrees with what the others said
        answer = await until(fc, run_id)
    assert answer.gates[0].input_hash == value_hash({"amount": 1})
    assert stage.names == ["b"]


async def test_a_rejection_ends_the_run(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask", "approver", input_schema=AMOUNT), py("b"))
        [asked] = await open_gates(fc, run_id)
        deny = ResumeRequest(gate_id=asked.gate_id, decision="deny", input={"why": "no"})
        with pytest.raises(Forbidden):
            await fc.gates.resume(fc.call("stranger"), run_id, deny)
        await fc.gates.resume(fc.call("approver"), run_id, deny)
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert states(answer) == {"ask": "waiting", "b": "pending"}
    assert stage.names == []


async def test_steps_beside_a_gate_go_on_only_after_it(tmp_path: Path, stage: Stage) -> None:
    """What runs when a gate opens may end; nothing begins while people are asked."""
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("slow", "hold", needs=[]),
            gate("ask", needs=[]),
            py("after", needs=["slow"]),
        )
        await stage.seen("slow began")
        [asked] = await open_gates(fc, run_id)
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            stage.go("slow may end")
            await watch.next()
        await idle(fc)
        waiting = await fc.runs.get(fc.call("x"), run_id, steps=True)
        assert states(waiting) == {"slow": "completed", "ask": "waiting", "after": "pending"}
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["slow", "after"]


async def test_a_gate_step_that_names_nobody_asks_where_policy_flags(
    tmp_path: Path, stage: Stage
) -> None:
    policy = flag("ask", "context.run_input.amount > 100", action="step.gate", approvers="chief")
    step = {"id": "g", "type": "GATE"}
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, step, py("b"), given={"amount": 5})
        small = await until(fc, run_id)
        assert small.gates == []
        run_id = await begin(fc, step, py("c"), given={"amount": 500}, version="2.0.0",
                             output="${steps.g.output}")  # fmt: skip
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked, "chief")
        large = await until(fc, run_id)
    assert large.run.output_payload == {"approved": True, "approved_by": ["chief"], "input": None}
    assert stage.names == ["b", "c"]


async def test_a_flagged_gate_step_asks_policy_first_and_people_then(
    tmp_path: Path, stage: Stage
) -> None:
    policy = flag("first", action="step.gate", approvers="chief")
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, gate("ask", "approver"), py("b"))
        [asked] = await open_gates(fc, run_id)
        assert asked.required_approvers == ("chief",)
        await approve(fc, asked, "chief")
        async with fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while len((await fc.runs.get(fc.call("x"), run_id, gates=True)).gates) < 2:
                await watch.next()
        [own] = await open_gates(fc, run_id)
        assert own.required_approvers == ("approver",)
        assert stage.names == []
        await approve(fc, own)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


async def test_of_two_answers_at_once_one_is_taken(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        outcomes = await asyncio.gather(
            *(approve(fc, asked, f"a{i}") for i in range(10)), return_exceptions=True
        )
        assert sorted(type(o).__name__ for o in outcomes) == ["Conflict"] * 9 + ["Gate"]
        answer = await until(fc, run_id)
    assert len(answer.gates[0].approvals) == 1
    assert stage.names == ["b"]


async def test_an_answer_that_comes_twice_is_taken_once(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        request = AnswerGateRequest(status="rejected")
        with pytest.raises(Conflict) as caught:
            await fc.gates.answer(fc.call("late"), run_id, asked.gate_id, request)
        assert caught.value.error_code == "gate_not_pending"
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert codes(answer.logs).count("FC-GATE-002") == 1


async def test_what_policy_let_through_can_be_read_in_the_same_turn(
    tmp_path: Path, stage: Stage
) -> None:
    """Nobody is asked, so the gate ends and the step after it is asked about in one append."""
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            {"id": "check", "type": "GATE"},
            py("b", with_={"passed": "${steps.check.output.approved}"}),
            output="${steps.b.output.passed}",
        )
        answer = await until(fc, run_id)
    assert answer.run.output_payload is True
    assert stage.names == ["b"]
