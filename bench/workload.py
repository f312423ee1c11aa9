"""One closed loop of load, and what it measured."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["IN_FLIGHT", "STEPS", "measure"]

STEPS = 5
IN_FLIGHT = (1, 16, 256)


async def measure(
    system: str, run_once: Callable[[int], Awaitable[None]], *, in_flight: int, runs: int
) -> dict[str, Any]:
    """Run `run_once(n)` `runs` times, at most `in_flight` at a time, after a warm-up.

    `steps_per_s` counts the steps of all runs; `p50_ms` and `p99_ms` are milliseconds a step as
    one run sees them: the time of the whole run, divided by its steps.
    """
    await asyncio.gather(*(run_once(-1 - n) for n in range(min(in_flight, 32))))
    numbers = iter(range(runs))
    latencies: list[float] = []

    async def worker() -> None:
        for n in numbers:
            began = time.perf_counter()
            await run_once(n)
            latencies.append((time.perf_counter() - began) * 1000 / STEPS)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "system": system,
        "in_flight": in_flight,
        "steps_per_s": round(runs * STEPS / seconds, 1),
        "p50_ms": round(cuts[49], 3),
        "p99_ms": round(cuts[98], 3),
        "runs": runs,
    }
