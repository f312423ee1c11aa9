"""What the runs of these tests do: workflows whose steps call the service outside, and the policy
that they are put to."""

from typing import Any

from tests.core_helpers import bundle, flag, gate, workflow

__all__ = ["BUNDLE", "NEXT_BUNDLE", "NOT_IDEMPOTENT", "WORKFLOWS", "happened", "think"]

_RISKY = (
    'context.input has json && context.input.json has risk && context.input.json.risk == "high"'
)
_FLAG = flag("risky", _RISKY, approvers="role:finance")
BUNDLE = bundle(_FLAG)
NEXT_BUNDLE = bundle(_FLAG, version="2.0.0")

_SAID = {
    "type": "object",
    "required": ["answer"],
    "properties": {"answer": {"type": "string"}},
}


def _call(step_id: str, how: str, **keys: Any) -> dict[str, Any]:
    """A step that asks the service outside to do something."""
    request = {
        "method": "POST",
        "url": f"${{input.url}}/do/{how}",
        "json": {"step": step_id, "risk": "${input.risk}"} if step_id == "act" else {},
    }
    return {"id": step_id, "type": "ACT", "run": "http", "request": request, **keys}


def _child(name: str) -> dict[str, Any]:
    """A step that a run of another workflow executes."""
    given = {"url": "${input.url}", "risk": "${input.risk}"}
    return {"id": "child", "type": "ACT", "run": "workflow", "workflow": name, "with": given}


def think(given: int) -> dict[str, int]:
    """A python step."""
    return {"thought": given + 1}


_THINK = {
    "id": "think",
    "type": "DECIDE",
    "run": "python",
    "call": "tests.faults.workload:think",
    "with": {"given": 1},
    "idempotent": True,
}
_TOTAL = {
    "id": "total",
    "type": "TRANSFORM",
    "run": "expression",
    "value": "${steps.think.output.thought + 40}",
}
_RETRY = {"max_attempts": 3, "backoff": "1ms", "max_backoff": "2ms"}

NOT_IDEMPOTENT = frozenset({"act", "busy", "once", "each[0]", "each[1]"})
"""The steps of these workflows that must never have their effect twice."""

WORKFLOWS = {
    "work": workflow(
        _call("again", "late", idempotent=True),
        _THINK,
        _call("busy", "third", retry=_RETRY),
        _call("left", "well", idempotent=True, needs=["busy"], when="input.risk == 'nobody'"),
        _call("act", "late", needs=["left"]),
        gate("ask", "anna", "boris", needs=["act"], quorum=2, input_schema=_SAID),
        _TOTAL,
        name="work",
        output="${steps.total.output}",
    ),
    "short": workflow(_call("once", "well"), name="short", output="${steps.once.output}"),
    "asks": workflow(gate("ask", "anna", expires="1h"), name="asks"),
    "parent": workflow(_child("short"), gate("ask", "anna"), name="parent"),
    "asks-for": workflow(_child("asks"), name="asks-for"),
    "fan": workflow(_call("each", "well", foreach="['a', 'b']"), name="fan"),
}


def happened(schema: dict[str, Any] | None) -> bool:
    """Whether a gate's input schema asks what happened, as that of a step in doubt does."""
    return schema is not None and "happened" in schema.get("properties", {})
