"""A version of a workflow never changes."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    Clock,
    begin,
    core,
    forbid,
    gate,
    open_gates,
    py,
    resume,
    start,
    until,
    workflow,
)
from tests.core_steps import Stage

from federation_core.errors import Conflict, Forbidden, InvalidInput
from federation_core.ledger import queries
from federation_core.service import FederationCore, RegisterRequest
from federation_core.service.views import RegisterAnswer
from federation_core.spine.canonical import sha256


async def put(fc: FederationCore, text: str, **keys: Any) -> RegisterAnswer:
    return await fc.workflows.register(
        fc.call("author"), RegisterRequest(workflow_yaml=text, **keys)
    )


async def test_the_same_again_is_the_same_and_anything_else_is_refused(tmp_path: Path) -> None:
    text = workflow(py("a"))
    async with core(tmp_path) as fc:
        first = await put(fc, text)
        assert first.idempotent is False
        assert first.artifact_hashes["workflow.yaml"] == sha256(text.encode())
        again = await put(fc, text)
        assert again.idempotent is True
        assert again.artifact_hashes == first.artifact_hashes
        for other in (
            {"text": workflow(py("b"))},
            {"text": text + "\n"},  # the text is an artifact too
            {"text": text, "prompts_poml": "<poml/>"},
            {"text": text, "schemas": {"s": {}}},
        ):
            with pytest.raises(Conflict) as caught:
                await put(fc, **other)
            assert caught.value.error_code == "version_exists"
        assert len(await fc.workflows.registered(fc.call("x"))) == 1
    async with core(tmp_path) as fc:  # and so after a restart
        assert (await put(fc, text)).idempotent is True
        with pytest.raises(Conflict):
            await put(fc, workflow(py("b")))


async def test_of_many_contents_at_once_one_becomes_the_version(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        texts = [workflow(py(f"s{i}")) for i in range(8)]
        outcomes = await asyncio.gather(*(put(fc, t) for t in texts), return_exceptions=True)
        made = [i for i, o in enumerate(outcomes) if isinstance(o, RegisterAnswer)]
        assert len(made) == 1
        assert {type(o) for o in outcomes} == {RegisterAnswer, Conflict}
        await until(fc, await start(fc))
    assert stage.names == [f"s{made[0]}"]


async def test_of_the_same_content_at_once_one_is_first(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        answers = await asyncio.gather(*(put(fc, workflow(py("a"))) for _ in range(8)))
        assert sorted(a.idempotent for a in answers) == [False] + [True] * 7


async def test_a_run_is_of_the_version_named_else_of_the_newest(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        for version in ("1.0.0", "3.0.0", "2.0.0"):  # newest is what was registered last
            await put(fc, workflow(py(f"v{version[0]}"), version=version))
            await until(fc, await start(fc))
        await until(fc, await start(fc, workflow_version="1.0.0"))
        with pytest.raises(InvalidInput) as caught:
            await start(fc, workflow_version="9.0.0")
        assert caught.value.error_code == "version_not_registered"
    assert stage.names == ["v1", "v3", "v2", "v1"]
    async with core(tmp_path) as fc:
        await until(fc, await start(fc))
    assert stage.names[-1] == "v2"


async def test_newest_is_newest_by_the_log_and_not_by_the_clock(
    tmp_path: Path, stage: Stage
) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await put(fc, workflow(py("v1")))
        clock.forward(-86_400)
        await put(fc, workflow(py("v2"), version="2.0.0"))
        await until(fc, await start(fc))
    assert stage.names == ["v2"]


async def test_a_run_keeps_the_definition_that_it_began_with(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, gate("ask"), py("old"))
        [asked] = await open_gates(fc, run_id)
        await put(fc, workflow(gate("ask"), py("new"), version="2.0.0"))
    async with core(tmp_path) as fc:
        await resume(fc, asked, {})
        answer = await until(fc, run_id)
    assert (answer.run.workflow_version, stage.names) == ("1.0.0", ["old"])


async def test_a_lookup_that_was_overtaken_by_a_registration_is_not_remembered(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, found, may_end = queries.newest_workflow, threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        doc = read(*args)
        found.set()
        assert may_end.wait(20)
        return doc

    async with core(tmp_path) as fc:
        await put(fc, workflow(py("v1")))
        monkeypatch.setattr(queries, "newest_workflow", slow)
        overtaken = asyncio.create_task(start(fc))
        await asyncio.to_thread(found.wait, 20)
        await put(fc, workflow(py("v2"), version="2.0.0"))
        may_end.set()
        await until(fc, await overtaken)
        await until(fc, await start(fc))
    assert stage.names == ["v1", "v2"]


async def test_what_is_wrong_with_a_file_is_said_and_nothing_is_registered(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        with pytest.raises(InvalidInput) as caught:
            await put(fc, workflow(py("a", needs=["b"]), py("b", needs=["a"])))
        assert "a → b → a" in caught.value.detail
        for keys in ({"workflow_id": "another"}, {"version": "9.0.0"}):
            with pytest.raises(InvalidInput, match="make them agree"):
                await put(fc, workflow(py("a")), **keys)
        assert await fc.workflows.registered(fc.call("x")) == []


async def test_policy_decides_who_registers_and_a_refusal_is_on_record(tmp_path: Path) -> None:
    rule = forbid("no", 'principal != Actor::"chief"', action="workflow.register")
    async with core(tmp_path, rule) as fc:
        with pytest.raises(Forbidden):
            await put(fc, workflow(py("a")))
        assert await fc.workflows.registered(fc.call("x")) == []
        bodies = await fc._parts.ledger.read(queries.bodies, "workflow:default/wf")
        assert [b"FC-POLICY-001" in b or b"FC-AUTH-001" in b for b in bodies] == [True, True]
        request = RegisterRequest(workflow_yaml=workflow(py("a")))
        await fc.workflows.register(fc.call("chief"), request)
        assert len(await fc.workflows.registered(fc.call("x"))) == 1


async def test_an_input_that_the_schema_refuses_makes_no_run(tmp_path: Path, stage: Stage) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    async with core(tmp_path) as fc:
        await put(fc, workflow(py("a"), input=schema))
        for given in ({}, {"n": "1"}):
            for execution in (None, "external"):
                with pytest.raises(InvalidInput) as caught:
                    await start(fc, given, execution=execution)
                assert caught.value.errors[0].path.startswith("/input_payload")
        assert await fc.runs.page(fc.call("x")) == []
        await until(fc, await start(fc, {"n": 1}))


async def test_a_folder_of_workflows_is_registered_at_start(tmp_path: Path, stage: Stage) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "one.yaml").write_text(workflow(py("a"), name="wf"))
    (folder / "two.yml").write_text(workflow(py("b"), name="two"))
    (folder / "notes.txt").write_text("not a workflow")
    for _ in range(2):
        async with core(tmp_path, workflow_dir=folder) as fc:
            found = await fc.workflows.registered(fc.call("x"))
            assert sorted(w.workflow_id for w in found) == ["two", "wf"]
            await until(fc, await start(fc))
    (folder / "bad.yaml").write_text("workflow: bad")
    with pytest.raises(InvalidInput, match=r"bad\.yaml"):
        async with core(tmp_path, workflow_dir=folder):
            pass
