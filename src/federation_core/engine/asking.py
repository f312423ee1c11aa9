"""What expressions and policy see of a run: its values, loaded as far as they are looked at."""

from collections.abc import Iterable
from typing import Any

from ..errors import TooLarge
from ..spine.actor import Actor
from ..spine.decision import Decision, PolicyMode
from ..spine.run import Run
from ..spine.steps import Carried, Completed
from .compiled import Reads
from .gathering import gathered, item_names
from .governor import Governor, stricter
from .live import LiveRun, ValueMissing

__all__ = ["ValueMissing", "ask", "needed", "run_context", "scope"]


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


async def _outputs(live: LiveRun, step_ids: Iterable[str]) -> dict[str, Any]:
    """The outputs of these steps, None where there is none. Raises `ValueMissing`, `TooLarge`."""
    found: dict[str, Any] = {}
    hashes = {step_id: _output_hash(live.run, step_id) for step_id in step_ids}
    await live.load(hashes.values())
    for step_id, digest in hashes.items():
        found[step_id] = _value(live, digest) if digest else await gathered(live, step_id)
    return found


async def scope(live: LiveRun, reads: Reads, step_id: str | None = None) -> dict[str, Any]:
    """The names that expressions know, as far as they look at them. Where `step_id` is an item of a
    fan-out, also its own. Raises `ValueMissing`, `TooLarge`."""
    run = live.run
    outputs = await _outputs(live, reads.steps)
    payloads = {"input": run.input_hash, "metadata": run.metadata_hash}
    payloads = {name: digest for name, digest in payloads.items() if name in reads.names}
    await live.load(payloads.values())
    own = await item_names(live, step_id) if step_id else {}
    return own | {
        **{name: _value(live, digest) for name, digest in payloads.items()},
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
                "output": output,
                "status": run.steps[step_id].state.status if step_id in run.steps else "pending",
            }
            for step_id, output in outputs.items()
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
    outputs = await _outputs(live, filter(run.has_output, governor.outputs_seen(run)))
    await live.load(seen.values())
    context.update({name: _value(live, digest) for name, digest in seen.items() if digest})
    context["outputs"] = outputs
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
    or the stricter `mode` that the caller asks for. An item is put to policy as the step that it is
    an item of. Where a value that policy looks at was erased, or is too large, the answer is deny.
    """
    run = live.run
    try:
        context = await run_context(governor, live, now)
    except (ValueMissing, TooLarge) as e:
        return governor.unasked(run.tenant, e.detail)
    context["input"] = step_input if step_input is not None else {}
    step_id = run.planned_id(step[0]) if step else None
    if step is not None:
        context["step_id"] = step_id
        context["step_type"], context["attempt"] = step[1:]
    return governor.decide(
        actor,
        run.tenant,
        action,
        mode=stricter(run.policy_mode, mode),
        workflow_id=run.workflow_id,
        step_id=step_id,
        context=context,
    )
