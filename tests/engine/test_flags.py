"""What policy flags waits for people, and is put to the current bundle again when they have said
yes."""

from pathlib import Path

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    bundle,
    codes,
    core,
    decisions,
    flag,
    forbid,
    idle,
    open_gates,
    py,
    register,
    start,
    states,
    until,
    until_gates,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, Forbidden
from federation_core.service import (
    AnswerGateRequest,
    BypassRequest,
    ChangeStatusRequest,
    CreateRunRequest,
    FederationCore,
)
from federation_core.spine.canonical import value_hash

IS_B = 'context.input.name == "b"'
LARGE = flag("large", IS_B)
TWICE = {"max_attempts": 2, "backoff": "1ms"}
STEPS = (py("a"), py("b"), py("c"))


async def activate(fc: FederationCore, *policies: str) -> None:
    await fc.policies.activate(fc.call("boss"), bundle(*policies, version="2.0.0"))


async def test_a_flagged_step_waits_and_runs_once_it_is_approved(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        assert stage.names == ["a"]
        assert (asked.gate_type, asked.step_id, asked.status) == ("policy_check", "b", "pending")
        waiting = await fc.runs.get(fc.call("x"), run_id, steps=True)
        assert states(waiting) == {"a": "completed", "b": "waiting", "c": "pending"}
        assert (await approve(fc, asked)).approved_by == "approver"
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.names == ["a", "b", "c"]
    assert decisions(answer, "b") == ["flag", "allow"]
    allowed = [e for e in answer.logs if e.step_id == "b" and e.decision == "allow"]
    assert list(allowed[-1].details["covered_by"]) == [asked.gate_id]
    assert list(allowed[-1].details["rules_triggered"]) == ["large"]


async def test_after_approval_a_bundle_that_denies_decides(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        await activate(fc, forbid("never", IS_B))
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert stage.names == ["a"]
    assert answer.run.status == "failed"
    assert states(answer)["b"] == "denied"
    assert decisions(answer, "b") == ["flag", "deny"]


async def test_after_approval_a_bundle_that_flags_something_else_asks_again(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [first] = await open_gates(fc, run_id)
        odd = flag("odd", IS_B)
        await activate(fc, LARGE, odd)
        await approve(fc, first)
        _, second = await until_gates(fc, run_id, 2)
        assert stage.names == ["a"]
        assert "odd" in second.gate_name
        assert "large" not in second.gate_name
        await approve(fc, second)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert decisions(answer, "b") == ["flag", "flag", "allow"]
    last = [e for e in answer.logs if e.step_id == "b" and e.decision == "allow"][-1]
    assert list(last.details["covered_by"]) == [first.gate_id, second.gate_id]


async def test_after_approval_a_bundle_that_asks_other_people_asks_them(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [first] = await open_gates(fc, run_id)
        await activate(fc, flag("large", IS_B, approvers="chief"))
        await approve(fc, first)
        _, second = await until_gates(fc, run_id, 2)
        assert second.required_approvers == ("chief",)
        with pytest.raises(Forbidden):
            await approve(fc, second)
        assert stage.names == ["a"]
        await approve(fc, second, "chief")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


async def test_after_approval_a_bundle_that_allows_lets_it_go_on(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        await activate(fc)
        await approve(fc, asked)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert decisions(answer, "b") == ["flag", "allow"]
    allowed = [e for e in answer.logs if e.step_id == "b" and e.decision == "allow"][-1]
    assert "covered_by" not in allowed.details
    assert allowed.details["policy_hash"] != asked.evidence_pack_hash


async def test_two_flags_for_different_people_are_two_gates(tmp_path: Path, stage: Stage) -> None:
    policies = [
        flag("money", IS_B, approvers="role:finance"),
        flag("law", IS_B, approvers="role:legal"),
    ]
    async with core(tmp_path, *policies) as fc:
        run_id = await begin(fc, *STEPS)
        gates = await open_gates(fc, run_id, count=2)
        by_people = {g.required_approvers: g for g in gates}
        await approve(fc, by_people[("role:finance",)], "fred", roles=["finance"])
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "paused"
        with pytest.raises(Forbidden):
            await approve(fc, by_people[("role:legal",)], "fred", roles=["finance"])
        assert stage.names == ["a"]
        await approve(fc, by_people[("role:legal",)], "lena", roles=["legal"])
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


async def test_a_wrong_approver_changes_nothing_but_the_log(tmp_path: Path, stage: Stage) -> None:
    policy = flag("large", IS_B, approvers="chief")
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        for actor in ("approver", "starter", "role:chief", "Chief"):
            with pytest.raises(Forbidden) as caught:
                await approve(fc, asked, actor)
            assert caught.value.error_code == "not_an_approver"
        answer = await fc.runs.get(fc.call("x"), run_id, logs=True, gates=True)
        refused = [e for e in answer.logs if e.event_type == "FC-AUTH-001"]
        assert [e.actor_id for e in refused] == ["approver", "starter", "role:chief", "Chief"]
        assert {e.details["gate_id"] for e in refused} == {asked.gate_id}
        assert answer.gates == [asked]
        assert answer.run.status == "paused"
        await approve(fc, asked, "chief")
        assert (await until(fc, run_id)).run.status == "completed"


async def test_a_rejected_flag_fails_the_run_and_is_final(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        request = AnswerGateRequest(status="rejected", rejection_reason="too dear")
        await fc.gates.answer(fc.call("approver"), run_id, asked.gate_id, request)
        answer = await until(fc, run_id)
        for again in ("approved", "rejected"):
            with pytest.raises(Conflict):
                await fc.gates.answer(
                    fc.call("chief"),
                    run_id,
                    asked.gate_id,
                    AnswerGateRequest(status=again),
                )
    assert stage.names == ["a"]
    assert answer.run.status == "failed"
    assert answer.run.error_details["code"] == "gate_rejected"
    assert "too dear" in answer.run.error_details["message"]
    assert answer.gates[0].rejection_reason == "too dear"


async def test_a_quorum_is_of_different_people(tmp_path: Path, stage: Stage) -> None:
    policy = flag("large", IS_B, quorum=3)
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        for actor in ("ann", "ben"):
            assert (await approve(fc, asked, actor)).status == "pending"
            with pytest.raises(Conflict) as caught:
                await approve(fc, asked, actor)
            assert caught.value.error_code == "already_answered"
        assert stage.names == ["a"]
        assert (await approve(fc, asked, "cyd")).status == "approved"
        answer = await until(fc, run_id)
    assert [a["actor_id"] for a in answer.gates[0].approvals] == ["ann", "ben", "cyd"]
    assert answer.run.status == "completed"


async def test_in_strict_mode_nobody_approves_what_they_started(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path, LARGE, mode="strict") as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        with pytest.raises(Forbidden) as caught:
            await approve(fc, asked, "starter")
        assert caught.value.error_code == "separation_of_duties"
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "paused"
        await approve(fc, asked, "somebody else")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert codes(answer.logs).count("FC-AUTH-001") == 1


async def test_a_caller_may_tighten_the_mode_of_a_run(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("b", with_={"risk": "unheard of"})))
        loose = await start(fc)
        assert (await until(fc, loose)).run.status == "completed"
        call = fc.call("starter", mode="strict")
        created = await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))
        [asked] = await open_gates(fc, created.run.run_id)
        with pytest.raises(Forbidden) as caught:
            await approve(fc, asked, "starter")
        assert caught.value.error_code == "separation_of_duties"
        await approve(fc, asked, "another")
        answer = await until(fc, created.run.run_id)
    assert answer.run.status == "completed"
    tightened = [e.details["tightened"] for e in answer.logs if "tightened" in e.details]
    assert {t["policy_id"] for t in tightened} == {"strict", "test"}


async def test_a_gate_expires_by_the_clock(tmp_path: Path, stage: Stage) -> None:
    clock = Clock()
    policy = flag("large", IS_B, expires="1h")
    async with core(tmp_path, policy, clock=clock) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        clock.forward(3_590)
        fc._parts.engine.wake(run_id)
        await idle(fc)
        assert await open_gates(fc, run_id) == [asked]
        clock.forward(11)
        with pytest.raises(Conflict) as caught:
            await approve(fc, asked)
        assert caught.value.error_code == "gate_expired"
        fc._parts.engine.wake(run_id)
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert answer.gates[0].status == "expired"
    assert answer.run.error_details["code"] == "gate_expired"
    assert stage.names == ["a"]
    expired = [e for e in answer.logs if e.event_type == "FC-GATE-004"]
    assert [e.actor_id for e in expired] == ["system"]


async def test_a_flagged_start_and_a_flagged_end_wait_as_well(tmp_path: Path, stage: Stage) -> None:
    policies = [flag("begin", action="run.start"), flag("end", action="run.complete")]
    async with core(tmp_path, *policies) as fc:
        run_id = await begin(fc, py("a", sensitive=True), output="${steps.a.output}")
        [first] = await until_gates(fc, run_id, 1)
        assert stage.names == []
        assert (await fc.runs.get(fc.call("x"), run_id)).run.status == "pending"
        await approve(fc, first)
        [end] = await open_gates(fc, run_id)
        assert stage.names == ["a"]
        await approve(fc, end)
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert answer.run.output_payload == {"did": "a"}
    assert len(answer.gates) == 2  # the salted output has one hash, asked about once


async def test_a_sensitive_input_is_salted_and_has_one_hash(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(
            fc,
            py("a"),
            py("b", "flaky", sensitive=True, with_={"good_at": 2}, retry=TWICE),
        )
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        answer = await until(fc, run_id)
        assert answer.run.status == "completed", answer.run.error_details
    asks = [e for e in answer.logs if e.event_type == "FC-POLICY-001" and e.step_id == "b"]
    hashes = {str(e.details["subject_hash"]) for e in asks if "subject_hash" in e.details}
    assert len(hashes) == 1
    assert hashes != {value_hash({"name": "b", "good_at": 2})}
    assert len(answer.gates) == 1
    output = next(s.output_hash for s in answer.steps if s.step_id == "b")
    assert output != value_hash({"did": "b"})


async def test_two_runs_of_one_secret_have_different_hashes(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a", sensitive=True)))
        answers = [await until(fc, await start(fc)) for _ in range(2)]
    assert len({a.steps[0].input_hash for a in answers}) == 2
    assert len({a.steps[0].output_hash for a in answers}) == 2


async def test_an_emergency_bypass_is_loud(tmp_path: Path, stage: Stage) -> None:
    policy = flag("large", IS_B, approvers="chief")
    sly = forbid("sly", 'principal == Actor::"sly"', action="gate.bypass")
    async with core(tmp_path, policy, sly) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        request = BypassRequest(reason="the house is on fire")
        with pytest.raises(Forbidden):
            await fc.gates.bypass(fc.call("sly"), run_id, asked.gate_id, request)
        assert stage.names == ["a"]
        passed = await fc.gates.bypass(fc.call("warden"), run_id, asked.gate_id, request)
        assert (passed.status, passed.approved_by) == ("bypassed", "warden")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    [loud] = [e for e in answer.logs if e.event_type == "FC-GATE-005"]
    assert "EMERGENCY BYPASS" in loud.message
    assert "the house is on fire" in loud.message
    refused = [e for e in answer.logs if e.event_type == "FC-AUTH-001"]
    assert [e.actor_id for e in refused] == ["sly"]


async def test_a_pending_gate_keeps_the_run_paused(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path, LARGE) as fc:
        run_id = await begin(fc, *STEPS)
        [asked] = await open_gates(fc, run_id)
        with pytest.raises(Conflict) as caught:
            await fc.runs.change_status(
                fc.call("starter"), run_id, ChangeStatusRequest(status="running")
            )
        assert caught.value.error_code == "gate_pending"
        cancel = ChangeStatusRequest(status="cancelled")
        await fc.runs.change_status(fc.call("starter"), run_id, cancel)
        with pytest.raises(Conflict):
            await approve(fc, asked)
    assert stage.names == ["a"]
