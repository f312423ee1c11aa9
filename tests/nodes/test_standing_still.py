"""A database server that stands still, while its machine acknowledges all that is sent to it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.stores import postgres

from federation_core.errors import LedgerUnavailable
from federation_core.ledger import Append, Ledger
from federation_core.service import FederationCore, core
from federation_core.spine.envelope import Head

LEASE_S = 0.4


def nothing() -> Append:
    return Append("", "", Head(), [])


@asynccontextmanager
async def frozen(url: str, ledger: Ledger) -> AsyncIterator[None]:
    """Every process that serves the database at `url` stands still. `ledger` writes nothing then:
    a process that holds a lock would keep those from working that come after it."""
    await ledger.append(nothing())
    name = url.rsplit("/", 1)[-1]
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'"
    stopped: set[int] = set()

    def send(number: signal.Signals, pids: set[int]) -> None:
        for pid in pids:
            os.kill(pid, number)

    try:
        stopped |= {int(str(pid)) for (pid,) in postgres().execute(query)}
        send(signal.SIGSTOP, stopped)
        assert stopped
        yield
    finally:
        send(signal.SIGCONT, stopped)


async def test_it_is_hung_up_on_and_called_anew(url: str) -> None:
    """Nobody waits for good: the append is stored by a new connection."""
    ledger = await Ledger.open(url, lease_s=LEASE_S)
    async with asyncio.timeout(30):
        async with frozen(url, ledger):
            before = ledger.commits
            await ledger.append(nothing())
            assert ledger.commits > before
        await ledger.close()


async def test_a_node_stops_all_the_same(url: str) -> None:
    ledger = await Ledger.open(url, lease_s=LEASE_S)
    async with asyncio.timeout(30), frozen(url, ledger):
        waiting = ledger._writer.submit(nothing())
        await ledger.close()
        assert waiting.done()


async def test_whoever_asks_is_told(
    url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/health/ready`, for one, says so soon."""
    monkeypatch.setattr(core, "_CHECK_S", 0.1)
    folder = tmp_path_factory.mktemp("node")
    async with asyncio.timeout(30), FederationCore.open(folder, database=url) as fc:
        async with frozen(url, fc._parts.ledger):
            with pytest.raises(LedgerUnavailable, match="not answered"):
                await fc.check()
        await fc.check()
