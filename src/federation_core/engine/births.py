"""What policy is asked when a run is to be born."""

from typing import Any

from ..spine.actor import Actor
from ..spine.decision import Decision, PolicyMode
from .governor import Governor

__all__ = ["ask_birth"]


def ask_birth(
    governor: Governor,
    actor: Actor,
    tenant: str,
    *,
    run_id: str,
    workflow: tuple[str, str],
    given: Any,
    metadata: Any,
    tags: list[str],
    mode: PolicyMode,
    now: int,
) -> Decision:
    """Put `run.create` to policy: a run of `workflow` (id, version) with the input `given`. `now`
    is microseconds since the epoch."""
    return governor.decide(
        actor,
        tenant,
        "run.create",
        mode=mode,
        workflow_id=workflow[0],
        step_id=None,
        context={
            "run_id": run_id,
            "workflow_version": workflow[1],
            "input": given,
            "run_input": given,
            "metadata": metadata,
            "tags": tags,
            "now": now // 1_000_000,
        },
    )
