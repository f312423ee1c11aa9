"""A node that dies, or is taken for dead: the others take over, and it cannot write any more."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from tests.children import child
from tests.core_helpers import codes, open_gates, py, resume, until, workflow
from tests.nodes.nodes_helpers import audited, eventually, node

from federation_core.ledger.schema import nodes
from federation_core.service import FederationCore

LEASE_S = 1.0


def _effects(folder: Path) -> list[str]:
    path = folder / "effects"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def _definition(folder: Path, *, idempotent: bool) -> None:
    path = {"path": "${input.path}"}
    steps = [py(name, "append", with_=path, idempotent=idempotent) for name in "ab"]
    (folder / "workflow.yaml").write_text(workflow(*steps))


async def _fenced(fc: FederationCore) -> bool:
    def count(c: Connection) -> int:
        return len(c.execute(select(nodes.c.node).where(nodes.c.fenced == 1)).all())

    return await fc._parts.ledger.read(count) > 0


@pytest.mark.parametrize("moment", ["before b", "after b"])
async def test_an_idempotent_step_of_a_killed_node_is_run_again_elsewhere(
    tmp_path: Path, url: str, moment: str
) -> None:
    _definition(tmp_path, idempotent=True)
    with child("stop_in_step", tmp_path, moment, url, LEASE_S) as other:
        assert other.line() == moment
        async with node(tmp_path / "here", url, lease_s=LEASE_S) as fc:
            other.kill()
            answer = await until(fc, (tmp_path / "acknowledged").read_text())
    assert answer.run.status == "completed"
    assert _effects(tmp_path) == (["a", "b"] if moment == "before b" else ["a", "b", "b"])
    starts = [e.details for e in answer.logs if e.event_type == "FC-STEP-001"]
    assert len({s["node"] for s in starts}) == 2
    assert starts[-1]["again"]
    assert starts[-1]["idempotency_key"] == starts[-2]["idempotency_key"]
    await audited(url)


@pytest.mark.parametrize("moment", ["before b", "after b"])
async def test_a_step_of_a_killed_node_that_may_not_be_repeated_is_in_doubt(
    tmp_path: Path, url: str, moment: str
) -> None:
    _definition(tmp_path, idempotent=False)
    with child("stop_in_step", tmp_path, moment, url, LEASE_S) as other:
        assert other.line() == moment
        async with node(tmp_path / "here", url, lease_s=LEASE_S) as fc:
            other.kill()
            run_id = (tmp_path / "acknowledged").read_text()
            [asked] = await open_gates(fc, run_id)
            assert asked.gate_type == "in_doubt"
            happened = moment == "after b"
            said = {"happened": True, "output": {"did": "b"}} if happened else {"happened": False}
            await resume(fc, asked, said)
            assert (await until(fc, run_id)).run.status == "completed"
    assert _effects(tmp_path) == ["a", "b"]
    await audited(url)


async def test_a_node_that_was_frozen_past_its_lease_cannot_write(tmp_path: Path, url: str) -> None:
    """It wakes in the middle of a step that others were told about: its outcome is not taken, and
    it goes on as another node."""
    _definition(tmp_path, idempotent=False)
    with child("stop_in_step", tmp_path, "before b", url, LEASE_S, "then_go_on") as other:
        assert other.line() == "before b"
        async with node(tmp_path / "here", url, lease_s=LEASE_S) as fc:
            other.process.send_signal(signal.SIGSTOP)
            await eventually(lambda: _fenced(fc))
            run_id = (tmp_path / "acknowledged").read_text()
            [asked] = await open_gates(fc, run_id)
            before = (await until(fc, run_id, "paused")).logs
            other.process.send_signal(signal.SIGCONT)
            said = other.line()
            while said and said != "fenced":  # it tells its operator as well
                said = other.line()
            assert said == "fenced"
            after = await until(fc, run_id, "paused")
            assert codes(after.logs) == codes(before)
            await resume(fc, asked, {"happened": True, "output": None})
            assert (await until(fc, run_id)).run.status == "completed"
    assert _effects(tmp_path) == ["a", "b"]
    await audited(url)
