"""What an approval is good for: one thing, by somebody else, agreed among those who gave it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation_core.errors import Conflict, Forbidden, InvalidInput
from federation_core.policy import shipped_bundle
from federation_core.service import (
    AnswerGateRequest,
    ChangeStatusRequest,
    CreateRunRequest,
    FederationCore,
    RecordStepRequest,
    RegisterRequest,
    RequestGateRequest,
    ResumeRequest,
)
from federation_core.service.views import Gate, StepAnswer
from federation_core.spine.definition import StepType

APPROVED = AnswerGateRequest(status="approved")


@pytest.fixture
async def fc(tmp_path: Path) -> AsyncIterator[FederationCore]:
    async with FederationCore.open(tmp_path / "data", shipped_policy="strict") as opened:
        yield opened


async def running(fc: FederationCore) -> str:
    """An external run of alice's."""
    alice = fc.call("alice")
    run_id = (await fc.runs.create(alice, CreateRunRequest(workflow_id="w"))).run.run_id
    await fc.runs.change_status(alice, run_id, ChangeStatusRequest(status="running"))
    return run_id


async def ask(fc: FederationCore, run_id: str, actor: str) -> StepAnswer:
    request = RecordStepRequest(
        step_id="pay", step_type=StepType.ACT, status="running", input={"risk": "high"}
    )
    return await fc.steps.record(fc.call(actor), run_id, request)


async def flagged(fc: FederationCore, run_id: str, actor: str) -> Gate:
    answer = await ask(fc, run_id, actor)
    assert answer.decision is not None
    assert answer.decision.decision == "flag"
    assert answer.gate is not None
    return answer.gate


async def test_who_asks_for_a_step_does_not_approve_it(fc: FederationCore) -> None:
    run_id = await running(fc)
    gate = await flagged(fc, run_id, "mallory")
    for actor in ("mallory", "alice"):
        with pytest.raises(Forbidden) as caught:
            await fc.gates.answer(fc.call(actor), run_id, gate.gate_id, APPROVED)
        assert caught.value.error_code == "separation_of_duties"
    answered = await fc.gates.answer(fc.call("bob"), run_id, gate.gate_id, APPROVED)
    assert answered.status == "approved"


async def test_an_approval_is_for_one_attempt_of_a_clients_step(fc: FederationCore) -> None:
    run_id = await running(fc)
    gate = await flagged(fc, run_id, "mallory")
    await fc.gates.answer(fc.call("bob"), run_id, gate.gate_id, APPROVED)
    allowed = await ask(fc, run_id, "mallory")
    assert allowed.decision is not None
    assert allowed.decision.decision == "allow"
    failed = RecordStepRequest(step_id="pay", status="failed", error={"message": "again?"})
    await fc.steps.record(fc.call("mallory"), run_id, failed)
    assert (await flagged(fc, run_id, "mallory")).gate_id != gate.gate_id


async def test_a_quorum_is_for_one_input(fc: FederationCore) -> None:
    run_id = await running(fc)
    request = RequestGateRequest(
        step_id="limit", gate_name="Limit", quorum=2, input_schema={"type": "object"}
    )
    gate = await fc.gates.request(fc.call("alice"), run_id, request)
    await fc.gates.answer(fc.call("bob"), run_id, gate.gate_id, APPROVED)
    other = ResumeRequest(gate_id=gate.gate_id, decision="approve", input={"limit": 999_999})
    with pytest.raises(Conflict) as caught:
        await fc.gates.resume(fc.call("carol"), run_id, other)
    assert caught.value.error_code == "input_differs"
    same = ResumeRequest(gate_id=gate.gate_id, decision="approve", input={})
    assert (await fc.gates.resume(fc.call("carol"), run_id, same)).gates[0].status == "approved"


async def test_a_text_that_a_database_would_cut_is_refused(fc: FederationCore) -> None:
    workflow = (
        "workflow: w\nversion: 1.0.0\nsteps: [{id: a, type: ACT, run: expression, value: 1}]\n"
    )
    operator = fc.call("olga", roles=["operator"])
    with pytest.raises(InvalidInput):
        await fc.workflows.register(
            operator, RegisterRequest(workflow_yaml=workflow, prompts_poml="abc\0def")
        )
    assert await fc.workflows.registered(operator) == []


async def test_the_value_behind_a_hash_can_be_read_by_its_tenant(fc: FederationCore) -> None:
    run_id = await running(fc)
    gate = await flagged(fc, run_id, "mallory")
    answer = await fc.runs.get(fc.call("bob"), run_id, steps=True)
    digest = answer.steps[0].input_hash
    assert digest is not None
    seen = await fc.runs.payload(fc.call("bob"), run_id, digest)
    assert seen.value == {"risk": "high"}
    assert gate.step_id == "pay"


async def test_duties_are_separated_from_when_somebody_asks_for_it(tmp_path: Path) -> None:
    """A run that was born in a loose mode: the caller tightens it, and then the tenant does."""
    async with FederationCore.open(tmp_path / "data", shipped_policy="loose") as fc:
        run_id = await running(fc)
        request = RequestGateRequest(step_id="limit", gate_name="Limit", quorum=3)
        gate = await fc.gates.request(fc.call("olga"), run_id, request)
        with pytest.raises(Forbidden, match="somebody else must answer"):
            await fc.gates.answer(fc.call("alice", mode="strict"), run_id, gate.gate_id, APPROVED)
        await fc.gates.answer(fc.call("alice"), run_id, gate.gate_id, APPROVED)
        strict = {name: data.decode() for name, data in shipped_bundle("strict").items()}
        await fc.policies.activate(fc.call("olga"), strict)
        with pytest.raises(Forbidden, match="somebody else must answer"):
            await fc.gates.answer(fc.call("olga"), run_id, gate.gate_id, APPROVED)
        answered = await fc.gates.answer(fc.call("bob"), run_id, gate.gate_id, APPROVED)
        assert [a["actor_id"] for a in answered.approvals] == ["alice", "bob"]
