"""Python steps for tests: what they do can be seen, and tests say when they may go on."""

import asyncio
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from federation_core.executors import StepContext, StepError

__all__ = ["Stage", "new_stage"]


class Stage:
    """`effects` are (step, idempotency key) in the order in which steps had their effect; `signals`
    are named events that steps and tests wait for."""

    def __init__(self) -> None:
        self.effects: list[tuple[str, str]] = []
        self.signals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.heard: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.effects]

    def go(self, name: str) -> None:
        self.signals[name].set()

    async def told(self, name: str) -> None:
        """Wait for what a function on a thread tells."""
        assert await asyncio.to_thread(self.heard[name].wait, 20)

    async def seen(self, name: str) -> None:
        async with asyncio.timeout(20):
            await self.signals[name].wait()


_stage = Stage()


def new_stage() -> Stage:
    """Forget the last test."""
    global _stage  # noqa: PLW0603 (steps are called by name, and have nothing else in common)
    _stage = Stage()
    return _stage


async def act(name: str, ctx: StepContext, **given: Any) -> dict[str, Any]:
    """Have the effect at once."""
    _stage.effects.append((name, ctx.idempotency_key))
    return {"did": name, **given}


async def meet(name: str, other: str, ctx: StepContext) -> dict[str, Any]:
    """End only while `other` is under way as well."""
    _stage.go(name)
    await _stage.signals[other].wait()
    return await act(name, ctx)


async def hold(name: str, ctx: StepContext, **given: Any) -> dict[str, Any]:
    """Signal `<name> began`, and have the effect after `<name> may end`."""
    _stage.go(f"{name} began")
    try:
        await _stage.signals[f"{name} may end"].wait()
    except asyncio.CancelledError:
        _stage.go(f"{name} cut off")
        raise
    return await act(name, ctx, **given)


async def cleanup(name: str, ctx: StepContext) -> dict[str, Any]:
    """Like `hold`, and ends well even where it is told to stop."""
    _stage.go(f"{name} began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        _stage.go(f"{name} cut off")
    return await act(name, ctx)


async def fail(name: str, ctx: StepContext, message: str = "no luck") -> None:
    await act(name, ctx)
    raise LookupError(message)


async def fail_as(name: str, kind: str, ctx: StepContext) -> None:
    """Fail with an error whose type is what it was given."""
    await act(name, ctx)
    raise StepError(kind, "no luck")


async def busy(name: str, message: str, ctx: StepContext) -> None:
    await act(name, ctx)
    raise StepError("Busy", message, retriable=True)


async def odd_key(name: str, key: str, ctx: StepContext) -> dict[str, Any]:
    """Give back a number that no payload holds, under a key of its input."""
    await act(name, ctx)
    return {key: 2**60}


async def flaky(name: str, good_at: int, ctx: StepContext) -> dict[str, Any]:
    """Fail until attempt `good_at`."""
    done = await act(name, ctx)
    if ctx.attempt < good_at:
        raise StepError("Busy", f"attempt {ctx.attempt} came too early", retriable=True)
    return done


async def leak(name: str, ctx: StepContext) -> object:
    """Give back what is no JSON."""
    await act(name, ctx)
    return object()


def _pass(_moment: str) -> None:
    """Nothing happens."""


moment: Callable[[str], None] = _pass
"""Called with `before <step>` and `after <step>`: where a process can be killed."""


def append(name: str, path: str, ctx: StepContext) -> dict[str, str]:
    """Have an effect that outlives the process: one line in a file."""
    moment(f"before {name}")
    line = f"{name} {ctx.idempotency_key}\n".encode()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)
    moment(f"after {name}")
    return {"did": name}


def listen(name: str, ctx: StepContext) -> None:
    """Signal `<name> began`, work until nobody waits any more, and signal `<name> ended early`."""
    _stage.heard[f"{name} began"].set()
    if ctx.cancelled.wait(20) and ctx.cancelled.is_set():
        _stage.heard[f"{name} ended early"].set()


def look(name: str, ctx: StepContext) -> bool:
    """Whether it was told to stop."""
    del name
    return ctx.cancelled.wait(0) or ctx.cancelled.is_set()
