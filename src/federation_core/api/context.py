"""What a handler is given: the server's parts, and the request."""

import asyncio
import time
from collections.abc import Coroutine
from functools import cached_property
from typing import Any

import msgspec

from ..identity import Scope, grants
from ..service import Call, FederationCore
from .auth import Auth
from .description.document import document
from .limits import Room
from .metrics import Metrics
from .operation import Operation

__all__ = ["Anyone", "Api", "Ask"]


class Api(msgspec.Struct, kw_only=True, dict=True):
    """The parts. `operations` are all that it answers; `closing` is set when the server stops, and
    ends whatever waits."""

    core: FederationCore
    operations: tuple[Operation, ...]
    auth: Auth
    metrics: Metrics
    requests: Room
    streams: Room
    closing: asyncio.Event
    started: float = msgspec.field(default_factory=time.monotonic)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document, made when somebody first asks for it."""
        return document(self.operations)

    async def until_closing(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, or as much of it as is done when the server stops."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            stop.cancel()


class Anyone(msgspec.Struct, kw_only=True):
    """A request, whoever sent it."""

    api: Api
    correlation_id: str
    request_id: str

    @property
    def core(self) -> FederationCore:
        return self.api.core


class Ask(Anyone, kw_only=True):
    """A request by somebody who is known. `wait` is how long they would wait, `last_event_id` the
    last event they saw; `reply` are headers of the answer."""

    call: Call
    wait: float | None = None
    last_event_id: str | None = None
    reply: dict[str, str] = {}

    async def waited(self, run_id: str, *, newborn: bool = False) -> bool:
        """Wait for the run as the caller prefers. False where they do not, or may not see it."""
        if self.wait is None or not grants(self.call.caller.scopes, Scope.WORKFLOW_READ):
            return False
        await self.api.until_closing(
            self.core.runs.wait(self.call, run_id, self.wait, newborn=newborn)
        )
        self.reply["Preference-Applied"] = f"wait={self.wait:g}"
        return True
