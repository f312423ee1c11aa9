"""Live events of a run: server-sent events, as the HTML standard section 9.2 describes them.

    id: 3
    event: FC-STEP-002
    data: {"log_id": …}

`id` is the entry's `seq`, so that `Last-Event-ID` says where to go on after a broken connection.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from ..errors import FieldError, InvalidInput
from ..identity import Scope
from ..service.views import LogEntry
from .context import Ask
from .operation import EVENT_STREAM, operation

__all__ = ["HEARTBEAT_S", "live_events", "told"]

HEARTBEAT_S = 15.0
"""A proxy or a client that hears nothing for long takes the connection for dead."""

_SEQ = re.compile(r"[0-9]{1,15}\Z")


@operation(
    "GET",
    "/workflows/runs/{run_id}/events",
    tag="runs",
    scope=Scope.WORKFLOW_READ,
    media_type=EVENT_STREAM,
)
async def live_events(ask: Ask, run_id: str) -> AsyncIterator[bytes]:
    """Follow a run as it happens.

    Server-sent events: each log entry as soon as it is durable, with its `seq` as the id and its
    event code as the event; from the first on, or after the one that `Last-Event-ID` names. The
    stream ends when the run has ended.
    """
    after = _after(ask.last_event_id)
    await ask.core.runs.get(ask.call, run_id)
    ask.api.streams.check()  # now: once the answer has begun it is too late to refuse
    entries = ask.core.runs.follow(ask.call, run_id, after=after)
    return _in_a_place(ask, told(entries, ask.api.closing, HEARTBEAT_S))


async def told(
    entries: AsyncIterator[LogEntry], closing: asyncio.Event, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """The stream's bytes, until the entries end or the server closes."""
    stop = asyncio.ensure_future(closing.wait())
    following: asyncio.Task[LogEntry | None] | None = None
    try:
        yield b"retry: 1000\n\n"  # and the headers are on their way before anything has happened
        while not closing.is_set():
            following = following or asyncio.create_task(_next(entries))
            either: set[asyncio.Future[Any]] = {following, stop}
            await asyncio.wait(either, timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                yield b": nothing new\n\n"
                continue
            entry, following = following.result(), None
            if entry is None:
                return
            yield _event(entry)
    finally:
        for task in (stop, following):
            if task is not None:
                task.cancel()


async def _next(entries: AsyncIterator[LogEntry]) -> LogEntry | None:
    return await anext(entries, None)


def _event(entry: LogEntry) -> bytes:
    data = msgspec.json.encode(entry)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.event_type.encode(), data)


async def _in_a_place(ask: Ask, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    with ask.api.streams.place():
        async for chunk in stream:
            yield chunk


def _after(last: str | None) -> int:
    if last is None:
        return -1
    if not _SEQ.match(last):
        message = "Last-Event-ID must be the id of an event of this stream, a whole number."
        error = FieldError("/headers/Last-Event-ID", message)
        raise InvalidInput(message, code="invalid_header", errors=[error])
    return int(last)
