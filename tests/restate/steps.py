"""Python steps whose effects are seen from outside the process that runs them."""

import asyncio
import json
import os
from typing import Any

from federation_core.executors import StepContext, StepError

__all__ = ["flaky", "tell"]


async def tell(name: str, port: int, ctx: StepContext) -> dict[str, Any]:
    """Have the effect, and end when it is said to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        told = {"name": name, "key": ctx.idempotency_key, "pid": os.getpid()}
        writer.write(json.dumps(told).encode() + b"\n")
        if not await reader.readline():
            raise StepError("Gone", "the test is over")
    finally:
        writer.close()
    return {"did": name}


async def flaky(name: str, port: int, good_at: int, ctx: StepContext) -> dict[str, Any]:
    """Have the effect, and fail until attempt `good_at`."""
    done = await tell(name, port, ctx)
    if ctx.attempt < good_at:
        raise StepError("Busy", f"attempt {ctx.attempt} came too early", retriable=True)
    return done
