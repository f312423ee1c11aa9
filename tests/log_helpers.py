"""What the server logs, for tests to wait for."""

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any, NoReturn

import pytest
import structlog

__all__ = ["Warnings", "warnings"]


class Warnings:
    """What the server logs, to be waited for."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def __call__(self, _: Any, _name: str, event: MutableMapping[str, Any]) -> NoReturn:
        self.events.append(dict(event))
        self._more.set()
        raise structlog.DropEvent

    async def seen(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(found := [e for e in self.events if e["event"] == name]) < count:
                self._more.clear()
                await self._more.wait()
        return found


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    """What the server says to its operator."""
    seen = Warnings()
    structlog.configure(processors=[seen])
    yield seen
    structlog.reset_defaults()
