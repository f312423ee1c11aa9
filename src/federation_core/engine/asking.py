"""What expressions and policy see of a run: its values, loaded as far as they are looked at."""

from collections.abc import Iterable
from typing import Any

from ..errors import FederationError
from ..spine.actor import Actor
from ..spine.decision import Decision, PolicyMode
from ..spine.run import Run
from ..spine.steps import Carried, Completed
from .governor import Governor, stricter
from .live import LiveRun

__all__ = ["ValueMissing", "ask", "needed", "run_context", "scope"]


class ValueMissing(FederationError):
    """A payload that is needed now was erased."""

    code = "value_missing"


def _output_hash(run: Run, step_id: str) -> str | None:
    step = run.steps.get(step_id)
    if step is None or not isinstance(step.state, (Completed, Carried)):
        return None
    return step.state.output_hash


def _value(live: LiveRun, digest: str | None) -> Any:
    if digest is None:
        return None
    try:
        return live.values[digest]
    except KeyError as e:
        raise ValueMissing(f"The payload {digest} was erased, and is needed to go on.") from e


async def needed(live: LiveRun, digest: str | None) -> Any:
    """The payload of this hash; None where there is no hash. Raises `ValueMissing`."""
    await live.load([digest])
    return _value(live, digest)


async def scope(live: LiveRun, references: Iterable[str]) -> dict[str, Any]:
    """The names that expressions know; of `steps` only `references`. Raises `ValueMissing`."""
    run = live.run
    outputs = {step_id: _output_hash(run, step_id) for step_id in references}
    await live.load([run.input_hash, run.metadata_hash, *outputs.values()])
    return {
        "input": _value(live, run.input_hash),
        "metadata": _value(live, run.metadata_hash),
        "tags": list(run.tags),
        "run": {
            "id": run.run_id,
            "workflow_id": run.workflow_id,
            "workflow_version": run.workflow_version,
            "tenant": run.tenant,
            "actor": run.actor_id,
        },
        "steps": {
            step_id: {
                "output": _value(live, digest),
                "status": run.steps[step_id].state.status if step_id in run.steps else "pending",
            }
            for step_id, digest in outputs.items()
        },
    }


async def run_context(governor: Governor, live: LiveRun, now: int) -> dict[str, Any]:
    """The part of policy's context that comes from the run, loaded where policy looks at it."""
    run = live.run
    context: dict[str, Any] = {
        "run_id": run.run_id,
        "workflow_version": run.workflow_version,
        "tags": list(run.tags),
        "now": now // 1_000_000,
    }
    seen = {
        "run_input": run.input_hash if governor.sees(run, "run_input") else None,
        "metadata": run.metadata_hash if governor.sees(run, "metadata") else None,
    }
    outputs = {s: _output_hash(run, s) for s in governor.outputs_seen(run)}
    await live.load([*seen.values(), *outputs.values()])
    context.update({name: _value(live, digest) for name, digest in seen.items() if digest})
    context["outputs"] = {s: _value(live, digest) for s, digest in outputs.items() if digest}
    return context


async def ask(
    governor: Governor,
    live: LiveRun,
    action: str,
    *,
    actor: Actor,
    now: int,
    step: tuple[str, str, int] | None = None,
    step_input: Any = None,
    mode: PolicyMode | None = None,
) -> Decision:
    """Put `action` on this run, or on its `step` (id, type, attempt), to policy, in the run's mode
    or the stricter `mode` that the caller asks for. Where a value that policy looks at was erased,
    the answer is deny."""
    run = live.run
    try:
        context = await run_context(governor, live, now)
    except ValueMissing as e:
        return governor.unasked(run.tenant, e.detail)
    context["input"] = step_input if step_input is not None else {}
    if step is not None:
        context["step_id"], context["step_type"], context["attempt"] = step
    return governor.decide(
        actor,
        run.tenant,
        action,
        mode=stricter(run.policy_mode, mode),
        workflow_id=run.workflow_id,
        step_id=step[0] if step else None,
        context=context,
    )
