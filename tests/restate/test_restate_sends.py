"""What is sent to Restate: little, and never more than there is to do."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.core_helpers import core
from tests.ports import free_ports
from tests.restate.restate_helpers import Node, RestateServer

from federation_core.engine.restate import Restate
from federation_core.engine.restate.sends import Sends

RUN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def service(shared_restate: RestateServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a service whose only node has died: whatever is sent stays in Restate's queue."""
    with Node(tmp_path_factory.mktemp("node"), shared_restate) as node:
        node.until_engine("available")
        node.kill()
        return f"{shared_restate.ingress}/{shared_restate.service_at(node.url)}"


@pytest.fixture
async def sends(service: str) -> AsyncIterator[Sends]:
    failed: list[str] = []
    async with httpx.AsyncClient(trust_env=False) as http:
        made = Sends(http, service, failed.append)
        yield made
        await made.flush(10)
    assert failed == []


async def test_a_burst_is_no_queue(shared_restate: RestateServer, sends: Sends) -> None:
    began = time.monotonic()
    for _ in range(100):
        sends.now(RUN)
        await asyncio.sleep(0.002)
    await sends.flush(10)
    quiet_times = (time.monotonic() - began) / 0.25
    # One at once, one for all that came since, at most once in each time of quiet.
    assert 2 <= len(shared_restate.invocations(RUN)) <= quiet_times + 2


async def test_what_came_after_the_first_is_sent_too(
    shared_restate: RestateServer, sends: Sends
) -> None:
    """Or the second of two approvals were lost, were the first being looked at already."""
    run = RUN.replace("7000", "7001")
    sends.now(run)
    while not await asyncio.to_thread(shared_restate.invocations, run):
        pass
    sends.now(run)
    await sends.flush(10)
    assert len(shared_restate.invocations(run)) == 2


async def test_what_is_seen_by_the_driver_is_sent_no_more(
    shared_restate: RestateServer, sends: Sends
) -> None:
    run = RUN.replace("7000", "7002")
    sends.now(run)
    while not await asyncio.to_thread(shared_restate.invocations, run):
        pass
    sends.now(run)
    sends.begun(run)
    await sends.flush(10)
    assert len(shared_restate.invocations(run)) == 1


async def test_a_moment_is_kept_once(shared_restate: RestateServer, sends: Sends) -> None:
    """Several nodes, and each of them often, name the same one."""
    run = RUN.replace("7000", "7003")
    for _ in range(3):
        for at in (7, 8):
            sends.later(run, at, 3_600)
        sends.overdue(run)
        await sends.flush(10)
    found = shared_restate.invocations(run)
    assert len(found) == 3
    assert sum(i["status"] == "scheduled" for i in found) == 2


async def test_many_runs_are_sent(shared_restate: RestateServer, sends: Sends) -> None:
    runs = [f"{n:08}-0000-7000-8000-000000000000" for n in range(300)]
    for run in runs:
        sends.now(run)
    await sends.flush(60)
    [count] = shared_restate.rows(
        "SELECT COUNT(DISTINCT target_service_key) AS n FROM sys_invocation "
        "WHERE target_service_key LIKE '%-0000-7000-8000-000000000000' "
        "AND target_service_key NOT LIKE '01a2%'"
    )
    assert count["n"] == 300


async def test_what_is_put_when_the_last_send_just_ended_is_sent() -> None:
    """A send that nobody took would lie until the next one."""
    loop = asyncio.get_running_loop()
    failed, both = list[str](), asyncio.Event()

    def fail(why: str) -> None:
        failed.append(why)
        if len(failed) == 2:
            both.set()
        else:
            loop.call_soon(made.later, RUN, 2, 0.0)

    [port] = free_ports(1)
    async with httpx.AsyncClient(trust_env=False) as http:
        made = Sends(http, f"http://127.0.0.1:{port}/Run", fail)
        made.later(RUN, 1, 0.0)
        async with asyncio.timeout(10):
            await both.wait()
    assert len(failed) == 2


async def test_a_send_that_cannot_be_put_into_words_holds_up_no_other() -> None:
    failed, both = list[str](), asyncio.Event()

    def fail(why: str) -> None:
        failed.append(why)
        if len(failed) == 2:
            both.set()

    [port] = free_ports(1)
    async with httpx.AsyncClient(trust_env=False) as http:
        made = Sends(http, f"http://127.0.0.1:{port}/Run", fail)
        made.later("a run\0", 1, 0.0)  # no URL: the client raises what is none of its errors
        made.later(RUN, 1, 0.0)
        async with asyncio.timeout(10):
            await both.wait()
    assert "InvalidURL" in failed[0]


async def test_a_send_that_hangs_holds_up_no_other() -> None:
    took = list[bytes]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        took.append(await reader.readuntil(b"\r\n\r\n"))
        if len(took) == 1:
            hangs.set()
            await over.wait()
        else:
            over.set()
        writer.close()

    hangs, over = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False, timeout=30) as http:
        sends = Sends(http, f"http://127.0.0.1:{port}/Run", lambda _why: None)
        sends.later(RUN, 1, 0.0)
        async with asyncio.timeout(10):
            await hangs.wait()
            sends.later(RUN, 2, 0.0)
            await over.wait()
        await sends.flush(10)
    assert len(took) == 2


async def test_waking_neither_waits_nor_fails_where_nothing_answers(tmp_path: Path) -> None:
    """And costs no memory: the rows know."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    where = Restate(ingress=url, admin=url, endpoint=url, token="t")
    async with core(tmp_path, restate=where) as fc:
        assert fc.restate is not None
        for number in range(10_000):
            fc.restate.wake(f"run-{number}")
            fc.restate.wake(f"run-{number}", 60.0)
        assert not fc.engine_available
        assert fc.restate._sends._waiting == {}
        assert fc.restate._sends._out == {}
