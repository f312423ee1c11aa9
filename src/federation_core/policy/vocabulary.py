"""The names that every bundle sees: actions, entity types, and attributes of the context."""

from typing import Any, Final

__all__ = ["ACTIONS", "CONTEXT", "EMPTY", "ENTITY_TYPES", "FIXED"]

ACTIONS: Final = frozenset(
    {
        "run.create",
        "run.start",
        "run.pause",
        "run.resume",
        "run.complete",
        "run.fail",
        "run.cancel",
        "step.observe",
        "step.decide",
        "step.gate",
        "step.act",
        "step.transform",
        "gate.resolve",
        "gate.bypass",
        "route",
        "agent.spawn",
        "agent.revoke",
        "agent.terminate",
        "policy.activate",
        "workflow.register",
    }
)

ENTITY_TYPES: Final = frozenset({"Action", "Actor", "Role", "Step", "Tenant", "Workflow"})

FIXED: Final = frozenset(
    {"attempt", "input", "now", "run_id", "step_id", "step_type", "workflow_version"}
)
"""Always put to the policy. `input` is among them so that one which cannot be read is a deny even
where no policy looks at it; the others are small."""

EMPTY: Final[dict[str, Any]] = {
    "input": {},
    "run_input": {},
    "outputs": {},
    "metadata": {},
    "tags": [],
}
"""What stands where the caller has none (absent, or null): a policy may ask these what they hold
without asking first whether they are there."""

CONTEXT: Final = FIXED | frozenset(EMPTY) | {"agent"}
