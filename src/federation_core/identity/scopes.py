"""What a token may be good for."""

from collections.abc import Set as AbstractSet
from enum import StrEnum

__all__ = ["ALL_SCOPES", "Scope", "grants"]


class Scope(StrEnum):
    """The scopes of the contract. A token may hold others; they open nothing."""

    WORKFLOW_READ = "workflow:read"
    WORKFLOW_WRITE = "workflow:write"
    GATE_READ = "gate:read"
    GATE_WRITE = "gate:write"
    GATE_BYPASS = "gate:bypass"
    AGENT_WRITE = "agent:write"
    POLICY_WRITE = "policy:write"
    MCP_INVOKE = "mcp:invoke"
    ACTOR_DELEGATE = "actor:delegate"
    ADMIN = "admin"


ALL_SCOPES: frozenset[str] = frozenset(Scope)
_GIVEN_BY_NAME_ONLY = frozenset({Scope.GATE_BYPASS, Scope.ACTOR_DELEGATE})
"""To override people, and to speak for others, is more than to administer."""


def grants(held: AbstractSet[str], wanted: str) -> bool:
    """Whether `held` covers `wanted`; `admin` covers all that need not be given by name."""
    if wanted in held:
        return True
    return Scope.ADMIN in held and wanted in ALL_SCOPES - _GIVEN_BY_NAME_ONLY
