"""What the engine promises whoever calls it, Restate being away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api_helpers import SECRET
from tests.core_helpers import Clock, begin, core, py, states, until
from tests.core_steps import Stage, new_stage
from tests.ports import free_ports
from tests.restate.restate_helpers import Node, RestateServer

from federation_core import __version__
from federation_core.engine.restate import Busy, Restate, RestateEngine
from federation_core.engine.restate.options import token_of
from federation_core.errors import LedgerUnavailable
from federation_core.ledger import queries
from federation_core.service import ChangeStatusRequest, FederationCore


@pytest.fixture
def stage() -> Stage:
    return new_stage()


@pytest.fixture
async def fc(tmp_path: Path, stage: Stage) -> AsyncIterator[FederationCore]:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    where = Restate(ingress=url, admin=url, endpoint=url, token="t")
    async with core(tmp_path, restate=where) as opened:
        yield opened


def engine_of(fc: FederationCore) -> RestateEngine:
    assert fc.restate is not None
    return fc.restate


async def test_a_second_call_joins_the_first(fc: FederationCore, stage: Stage) -> None:
    engine = engine_of(fc)
    run_id = await begin(fc, py("a", "hold"))
    first = engine.take(run_id)
    await stage.seen("a began")
    assert engine.take(run_id) is first
    assert engine.driving == 1
    stage.go("a may end")
    await first
    assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["a"]
    assert engine.driving == 0


async def test_a_run_that_is_driven_hears_of_a_change_at_once(
    fc: FederationCore, stage: Stage
) -> None:
    engine = engine_of(fc)
    run_id = await begin(fc, py("a", "hold"))
    assert not engine.nudge(run_id)
    driver = engine.take(run_id)
    await stage.seen("a began")
    request = ChangeStatusRequest(status="cancelled")
    await fc.runs.change_status(fc.call("operator"), run_id, request)
    await stage.seen("a cut off")
    await driver
    assert not engine.nudge(run_id)
    assert stage.names == []


async def test_a_change_elsewhere_is_told_to_those_who_drive(
    fc: FederationCore, stage: Stage
) -> None:
    engine = engine_of(fc)
    run_id = await begin(fc, py("a", "hold"))
    driver = engine.take(run_id)
    await stage.seen("a began")
    nudge = engine._nudges[run_id]
    engine.appended_elsewhere(["policy:default", "run:another", f"run:{run_id}"])
    assert nudge.is_set()
    stage.go("a may end")
    await driver


async def test_what_is_abandoned_is_cut_off(fc: FederationCore, stage: Stage) -> None:
    engine = engine_of(fc)
    run_id = await begin(fc, py("a", "hold"))
    driver = engine.take(run_id)
    await stage.seen("a began")
    engine.abandon()
    await asyncio.wait({driver})
    assert driver.cancelled()
    await stage.seen("a cut off")
    assert engine.driving == 0
    # It is taken up again as after a crash: a step that may not be repeated is in doubt.
    await engine.take(run_id)
    assert states(await until(fc, run_id, "paused")) == {"a": "in_doubt"}


async def test_what_is_abandoned_before_it_began_is_taken_up_again(fc: FederationCore) -> None:
    """A node that wakes from standing still is called, and learns that it was fenced, at once."""
    engine = engine_of(fc)
    run_id = await begin(fc, py("a"))
    driver = engine.take(run_id)
    engine.abandon()
    await asyncio.wait({driver})
    assert driver.cancelled()
    assert engine.driving == 0
    await engine.take(run_id)
    assert (await until(fc, run_id)).run.status == "completed"


async def test_a_node_that_drives_enough_takes_no_more(fc: FederationCore, stage: Stage) -> None:
    engine = engine_of(fc)
    engine._limit = 1
    one = await begin(fc, py("a", "hold"))
    two = await begin(fc, py("b"), version="2.0.0")
    driver = engine.take(one)
    await stage.seen("a began")
    with pytest.raises(Busy):
        engine.take(two)
    assert engine.take(one) is driver
    stage.go("a may end")
    await driver
    await engine.take(two)
    assert (await until(fc, two)).run.status == "completed"


async def test_a_node_that_stops_takes_none(fc: FederationCore, stage: Stage) -> None:
    engine = engine_of(fc)
    run_id = await begin(fc, py("a", "hold"), py("b"))
    driver = engine.take(run_id)
    await stage.seen("a began")
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    assert engine.take(run_id) is driver  # it is there still, and ends what it began
    stage.go("a may end")
    await closing
    with pytest.raises(Busy):
        engine.take(run_id)
    assert states(await until(fc, run_id, "running")) == {"a": "completed", "b": "pending"}
    engine.wake(run_id)  # nobody is there any more: nothing happens
    assert stage.names == ["a"]


async def test_a_moment_that_is_near_is_waited_for(fc: FederationCore, stage: Stage) -> None:
    retry = {"max_attempts": 2, "backoff": "20ms"}
    run_id = await begin(fc, py("a", "flaky", with_={"good_at": 2}, retry=retry))
    await engine_of(fc).take(run_id)
    assert (await until(fc, run_id)).run.status == "completed"
    assert stage.names == ["a", "a"]


async def test_a_run_that_cannot_be_driven_is_no_error_of_the_call(fc: FederationCore) -> None:
    """Restate would try again, at once and without end."""
    await engine_of(fc).take("nobody")
    assert engine_of(fc).driving == 0


async def test_what_a_clock_that_was_set_back_hides_is_sent_although_the_first_look_failed(
    tmp_path: Path, shared_restate: RestateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time of day says that the run has nothing to do for an hour, and the look that knows
    better is made once: it is made until it succeeds. (The node whose address Restate has is dead,
    so what is sent stays in the queue.)"""
    with Node(tmp_path, shared_restate) as node:
        node.until_engine("available")
        node.kill()
    clock = Clock()
    clock.forward(3_600)
    where = Restate(
        ingress=shared_restate.ingress,
        admin=shared_restate.admin,
        endpoint=f"{node.url}/restate",
        token=token_of(SECRET),
        version=__version__,
    )
    [port] = free_ports(1)
    away = f"http://127.0.0.1:{port}"
    nowhere = Restate(ingress=away, admin=away, endpoint=away, token="t")
    database = tmp_path / "fedcore.db"
    async with core(tmp_path, restate=nowhere, clock=clock, database=database) as fc:
        run_id = await begin(fc, py("a"))
    clock.forward(-3_600)
    looks, made = queries.runs_ahead, list[int]()

    def look(connection: Any, now: int) -> list[str]:
        made.append(now)
        if len(made) == 1:
            raise LedgerUnavailable("not now")
        return looks(connection, now)

    monkeypatch.setattr(queries, "runs_ahead", look)
    async with core(tmp_path, restate=where, clock=clock, database=database) as fc:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(shared_restate.invocations, run_id):
                await asyncio.sleep(0.05)
        assert fc.engine_available
    assert len(made) == 2
