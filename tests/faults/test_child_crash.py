"""Promise 6 for families: a crash neither loses nor doubles a child, nor leaves it an orphan."""

from pathlib import Path

from tests.children import child
from tests.core_helpers import (
    approve,
    begin,
    core,
    gate,
    idle,
    open_gates,
    py,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.kin_helpers import cancel, child_of, ended, kid, register_kid, whole

from federation_core.engine.local import LocalEngine
from federation_core.ledger.kin import kin_to_wake
from federation_core.service import FederationCore


def effects(folder: Path) -> list[str]:
    path = folder / "effects"
    return path.read_text().splitlines() if path.exists() else []


def family() -> str:
    """The child and the parent, each with an effect that can be counted."""
    path = {"path": "${input.path}"}
    young = workflow(py("b", "append", with_=path, idempotent=True), name="kid")
    old = workflow(kid("sub", with_=path), py("c", "append", with_=path, idempotent=True))
    return f"{young}\n{old}"


async def test_wherever_the_server_dies_there_is_one_child_and_it_is_waited_for(
    tmp_path: Path,
) -> None:
    """Killed before and after every commit: between the start of the step and the birth of its
    child, between that one's end and the step's, and everywhere else."""
    (tmp_path / "yes").write_text(family())
    with child("die_at_each_commit", tmp_path, "yes") as server:
        *lives, last = server.lines()
    assert last == "ended 0"
    assert len(lives) > 12
    found = 0
    for life in sorted(p for p in tmp_path.iterdir() if (p / "acknowledged").exists()):
        run_id = (life / "acknowledged").read_text()
        async with core(life) as fc:
            answer = await until(fc, run_id)
            runs = await fc.runs.page(fc.call("x"))
            await idle(fc)
            assert await fc._parts.ledger.read(kin_to_wake, limit=10) == []
        assert answer.run.status == "completed", life
        assert [r.status for r in runs] == ["completed"] * 2, life
        keys = set(effects(life))
        assert [k.split()[0] for k in sorted(keys)] == ["b", "c"], life
        assert {k.split()[1].split(":")[0] for k in keys} == {r.run_id for r in runs}
        found += 1
    assert found > 10


async def stopped(fc: FederationCore) -> None:
    """The engine is gone: what becomes durable from now on wakes nobody."""
    await fc._engine.close(grace=0)


async def test_a_server_that_dies_after_the_parents_end_cancels_the_child_at_the_next_start(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"), py("work"))
        run_id = await begin(fc, kid("sub"))
        young = await child_of(fc, run_id, "sub")
        await open_gates(fc, young)
        await stopped(fc)
        await cancel(fc, run_id)
        assert (await whole(fc, young)).run.status == "paused"
        assert await fc._parts.ledger.read(kin_to_wake, limit=10) == [young]
    async with core(tmp_path) as fc:
        [answer] = await ended(fc, young)
    assert answer.run.status == "cancelled"
    assert answer.logs[-1].details["error_code"] == "parent_ended"


async def test_no_step_of_a_child_begins_after_its_parent_has_ended(
    tmp_path: Path, stage: Stage
) -> None:
    """The child could go on at once: its gate was approved. It looks for its parent first."""
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"), py("work"))
        run_id = await begin(fc, kid("sub"))
        young = await child_of(fc, run_id, "sub")
        [asked] = await open_gates(fc, young)
        await stopped(fc)
        await approve(fc, asked)
        await cancel(fc, run_id)
    async with core(tmp_path) as fc:
        [answer] = await ended(fc, young)
    assert answer.run.status == "cancelled"
    assert states(answer)["work"] == "pending"
    assert stage.effects == []


async def test_an_end_that_woke_nobody_is_found_at_the_next_start(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        run_id = await begin(fc, kid("sub"), py("after"))
        young = await child_of(fc, run_id, "sub")
        await open_gates(fc, young)
        await idle(fc)
        await stopped(fc)
        await cancel(fc, young)
        assert await fc._parts.ledger.read(kin_to_wake, limit=10) == [run_id]
    async with core(tmp_path) as fc:
        answer = await until(fc, run_id)
    assert answer.run.status == "failed"
    assert stage.effects == []


async def test_the_sweep_finds_what_the_engine_was_not_told(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"), py("work"))
        run_id = await begin(fc, kid("sub"))
        young = await child_of(fc, run_id, "sub")
        [asked] = await open_gates(fc, young)
        await idle(fc)
        told = fc._parts.ledger._listeners
        told[:] = [one for one in told if getattr(one, "__name__", "") != "heed"]
        await approve(fc, asked)
        await idle(fc)
        assert states(await whole(fc, young))["work"] == "pending"
        assert isinstance(fc._engine, LocalEngine)
        await fc._engine._look(thoroughly=False)
        await until(fc, young)
        await idle(fc)
        assert (await whole(fc, run_id)).run.status == "running"
        await fc._engine._look(thoroughly=False)
        assert (await until(fc, run_id)).run.status == "completed"


async def test_of_those_that_wait_for_the_living_none_is_woken(
    tmp_path: Path, stage: Stage
) -> None:
    """The children of one parent wait for people; the sweep has nothing to do with them."""
    waiting = 6
    async with core(tmp_path) as fc:
        await register_kid(fc, gate("ask"))
        steps = [kid(f"s{n}", needs=[]) for n in range(waiting)]
        run_id = await begin(fc, *steps)
        for n in range(waiting):
            await open_gates(fc, await child_of(fc, run_id, f"s{n}"))
        await idle(fc)
        assert await fc._parts.ledger.read(kin_to_wake, limit=1_000) == []
        assert isinstance(fc._engine, LocalEngine)
        await fc._engine._look(thoroughly=False)
        assert fc.driving == 0
        await cancel(fc, run_id)
        runs = [r.run_id for r in await fc.runs.page(fc.call("x"), limit=100)]
        assert {a.run.status for a in await ended(fc, *runs)} == {"cancelled"}
