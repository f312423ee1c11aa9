"""Builders for tests of runs that start other runs."""

import asyncio
from typing import Any

from tests.core_helpers import open_gates, register, until, workflow

from federation_core.service import ChangeStatusRequest, FederationCore, RestartRequest
from federation_core.service.views import Gate, RunAnswer

__all__ = [
    "born",
    "cancel",
    "child_of",
    "ended",
    "gate_of_child",
    "kid",
    "register_kid",
    "restart",
    "whole",
]


def kid(
    step_id: str, name: str = "kid", *, with_: dict[str, Any] | None = None, **keys: Any
) -> dict[str, Any]:
    """A step that a run of the workflow `name` executes."""
    given = {"with": with_} if with_ is not None else {}
    return {"id": step_id, "type": "ACT", "run": "workflow", "workflow": name, **given, **keys}


async def register_kid(
    fc: FederationCore, *steps: dict[str, Any], name: str = "kid", **keys: Any
) -> None:
    tenant = keys.pop("tenant", None)
    await register(fc, workflow(*steps, name=name, **keys), tenant=tenant)


async def whole(fc: FederationCore, run_id: str) -> RunAnswer:
    return await fc.runs.get(fc.call("watcher"), run_id, logs=True, gates=True, steps=True)


async def child_of(fc: FederationCore, run_id: str, step_id: str) -> str:
    """The run that executes the step, once it was born."""
    async with asyncio.timeout(30):
        while True:
            steps = {s.step_id: s.child_run_id for s in (await whole(fc, run_id)).steps}
            child = steps.get(step_id)
            if child is not None and await born(fc, child):
                return child
            await asyncio.sleep(0)


async def born(fc: FederationCore, run_id: str) -> bool:
    return any(r.run_id == run_id for r in await fc.runs.page(fc.call("watcher"), limit=1_000))


async def gate_of_child(fc: FederationCore, run_id: str, step_id: str) -> Gate:
    """The one gate that a child waits at."""
    [asked] = await open_gates(fc, await child_of(fc, run_id, step_id))
    return asked


async def cancel(fc: FederationCore, run_id: str, actor: str = "operator") -> None:
    request = ChangeStatusRequest(status="cancelled", reason="not needed")
    await fc.runs.change_status(fc.call(actor), run_id, request)


async def restart(
    fc: FederationCore, run_id: str, step: str, *, actor: str = "starter", **more: Any
) -> str:
    """A new run that does the old one again from `step`; returns its id."""
    request = RestartRequest(from_step=step, **more)
    return (await fc.runs.restart(fc.call(actor), run_id, request)).run.run_id


async def ended(fc: FederationCore, *run_ids: str) -> list[RunAnswer]:
    return [await until(fc, run_id) for run_id in run_ids]
