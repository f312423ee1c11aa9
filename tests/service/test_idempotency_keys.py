"""The same request again gets the first answer; the same key for another request is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core_helpers import (
    begin,
    bundle,
    core,
    forbid,
    gate,
    open_gates,
    py,
    register,
    sql,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, Forbidden
from federation_core.service import (
    AnswerGateRequest,
    BypassRequest,
    Call,
    ChangeStatusRequest,
    CreateRunRequest,
    FederationCore,
    Key,
    RecordStepRequest,
    RegisterRequest,
    RequestGateRequest,
    ResumeRequest,
)


def keyed(call: Call, key: str = "key", body: str = "body") -> Call:
    """The call with an idempotency key; `body` stands for the hash of the request."""
    return msgspec.structs.replace(call, key=Key(key, body))


UseCase = Callable[[FederationCore, Call, str, str], Awaitable[Any]]
"""Called with the id of a run that is running, or paused at a gate, and the gate's."""

CREATE = CreateRunRequest(workflow_id="outside")
ANSWERED: dict[str, UseCase] = {
    "runs.create": lambda fc, call, _run, _gate: fc.runs.create(call, CREATE),
    "runs.change_status": lambda fc, call, run, _: fc.runs.change_status(
        call, run, ChangeStatusRequest(status="cancelled")
    ),
    "steps.record": lambda fc, call, run, _: fc.steps.record(
        call, run, RecordStepRequest(step_id="s", status="running", input={})
    ),
    "gates.request": lambda fc, call, run, _: fc.gates.request(
        call, run, RequestGateRequest(step_id="s", gate_name="g")
    ),
    "gates.answer": lambda fc, call, run, gate_: fc.gates.answer(
        call, run, gate_, AnswerGateRequest(status="approved")
    ),
    "gates.resume": lambda fc, call, run, gate_: fc.gates.resume(
        call, run, ResumeRequest(gate_id=gate_, decision="approve")
    ),
    "gates.bypass": lambda fc, call, run, gate_: fc.gates.bypass(
        call, run, gate_, BypassRequest(reason="the house is on fire")
    ),
    "workflows.register": lambda fc, call, _run, _gate: fc.workflows.register(
        call, RegisterRequest(workflow_yaml=workflow(py("z"), name="another"))
    ),
    "policies.activate": lambda fc, call, _run, _gate: fc.policies.activate(
        call, bundle(version="2.0.0")
    ),
}
STATUS = {
    "runs.create": 201,
    "gates.request": 201,
    "policies.activate": 201,
}


async def prepared(fc: FederationCore, name: str) -> tuple[str, str]:
    """A run, and a gate, that the use case can be put to."""
    if name == "steps.record":
        created = await fc.runs.create(fc.call("x"), CREATE)
        run_id = created.run.run_id
        await fc.runs.change_status(fc.call("x"), run_id, ChangeStatusRequest(status="running"))
        return run_id, ""
    run_id = await begin(fc, gate("ask", expires="1h"), py("b"))
    [asked] = await open_gates(fc, run_id)
    return run_id, asked.gate_id


@pytest.mark.parametrize("name", ANSWERED)
async def test_the_answer_is_stored_with_the_change(
    tmp_path: Path, stage: Stage, name: str
) -> None:
    async with core(tmp_path) as fc:
        ids = await prepared(fc, name)
        call = keyed(fc.call("x"))
        assert await fc.answers.find(call) is None
        answer = await ANSWERED[name](fc, call, *ids)
        found = await fc.answers.find(call)
        assert found is not None
        assert found.body == msgspec.json.encode(answer)
        assert found.status == STATUS.get(name, 200)
        with pytest.raises(Conflict) as caught:
            await fc.answers.find(keyed(fc.call("x"), body="another body"))
        assert caught.value.error_code == "idempotency_key_reused"
    async with core(tmp_path) as fc:  # and it is durable
        assert await fc.answers.find(call) == found


@pytest.mark.parametrize("name", ["runs.create", "gates.request"])
async def test_a_key_is_used_once_even_where_nobody_looked(
    tmp_path: Path, stage: Stage, name: str
) -> None:
    async with core(tmp_path) as fc:
        ids = await prepared(fc, name)
        call = keyed(fc.call("x"))
        await ANSWERED[name](fc, call, *ids)
        before = sql(tmp_path, "SELECT count(*) FROM events")
        with pytest.raises(Conflict) as caught:
            await ANSWERED[name](fc, call, *ids)
        assert caught.value.error_code == "key_taken"
        assert sql(tmp_path, "SELECT count(*) FROM events") == before


async def test_of_many_requests_at_once_with_one_key_one_is_carried_out(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("a")))
        call = keyed(fc.call("x"))
        request = CreateRunRequest(workflow_id="wf")
        creations = (fc.runs.create(call, request) for _ in range(30))
        outcomes = await asyncio.gather(*creations, return_exceptions=True)
        made = [o for o in outcomes if not isinstance(o, BaseException)]
        refused = [o for o in outcomes if isinstance(o, Conflict) and o.error_code == "key_taken"]
        assert (len(made), len(refused)) == (1, 29)
        runs = await fc.runs.page(fc.call("x"))
        assert [r.run_id for r in runs] == [made[0].run.run_id]
        found = await fc.answers.find(call)
        assert found is not None
        assert found.body == msgspec.json.encode(made[0])
        await until(fc, made[0].run.run_id)
    assert stage.names == ["a"]


async def test_a_refused_request_uses_no_key(tmp_path: Path, stage: Stage) -> None:
    policy = forbid("no", 'principal == Actor::"x"', action="gate.resolve")
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        ids = (run_id, asked.gate_id)
        for name in ("gates.answer", "gates.resume"):
            call = keyed(fc.call("x"), key=name)
            with pytest.raises(Forbidden):
                await ANSWERED[name](fc, call, *ids)
            assert await fc.answers.find(call) is None
        call = keyed(fc.call("y"), key="gates.answer")
        await ANSWERED["gates.answer"](fc, call, *ids)
        assert await fc.answers.find(call) is not None


async def test_a_registration_that_is_there_already_needs_no_answer(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        register_it = ANSWERED["workflows.register"]
        first = await register_it(fc, keyed(fc.call("x"), key="one"), "", "")
        second = await register_it(fc, keyed(fc.call("x"), key="two"), "", "")
        assert (first.idempotent, second.idempotent) == (False, True)


async def test_a_fuller_answer_takes_the_place_of_the_first(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        call = keyed(fc.call("x"))
        await fc.runs.create(call, CREATE)
        await fc.answers.remember(call, 201, b'{"waited": "for"}')
        found = await fc.answers.find(call)
        assert found is not None
        assert found.body == b'{"waited": "for"}'
        await fc.answers.remember(fc.call("x"), 201, b"{}")  # without a key there is nothing to do
