"""Several nodes on one database: in this process, where their steps can be watched, and others,
which can be killed and frozen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.core_helpers import audit_store, bundle, write_bundle

from federation_core.errors import OperatorError
from federation_core.service import FederationCore

__all__ = ["KEY", "audited", "eventually", "node", "pair"]

KEY = b"\x07" * 32
"""The seed of the signing key that all nodes have."""


@asynccontextmanager
async def node(
    folder: Path, url: str, *policies: str, **settings: Any
) -> AsyncIterator[FederationCore]:
    """One node, with a data directory of its own."""
    policy_dir = write_bundle(folder / "policy", bundle(*policies))
    async with FederationCore.open(
        folder,
        database=url,
        policy_dir=policy_dir,
        python_allow=["tests.core_steps"],
        **{"signing_key": KEY, **settings},
    ) as fc:
        yield fc


@asynccontextmanager
async def pair(
    folder: Path, url: str, *policies: str, **settings: Any
) -> AsyncIterator[tuple[FederationCore, FederationCore]]:
    """Two nodes; when they are closed what they wrote together must verify."""
    async with (
        node(folder / "a", url, *policies, **settings) as a,
        node(folder / "b", url, *policies, **settings) as b,
    ):
        yield a, b
    audit_store(url)


async def audited(url: str) -> None:
    """Once no lease runs any more, what all nodes wrote together must verify."""
    async with asyncio.timeout(30):
        while True:
            try:
                audit_store(url)
            except OperatorError:
                await asyncio.sleep(0.05)
            else:
                return


async def eventually(condition: Any) -> None:
    """Return when `condition()` (a coroutine) is true; fails after 30 s."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)
