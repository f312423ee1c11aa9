"""A request as it is put to Cedar: entities, context, and the hash of both."""

from functools import lru_cache
from typing import Any, Final

import cedarpy
import msgspec

from ..errors import InvalidInput
from ..spine.actor import Actor
from ..spine.canonical import ZERO_HASH, value_hash
from ..spine.decision import PolicyRequest
from .reads import Reads
from .values import to_cedar
from .vocabulary import EMPTY, FIXED

__all__ = ["Question", "pose", "request_hash", "shown_context"]

_KNOWN_ENTITIES: Final = 4_096


class Question(msgspec.Struct, frozen=True):
    """`request` and `entities` as `cedarpy.is_authorized` takes them."""

    request: dict[str, Any]
    entities: cedarpy.Entities


def shown_context(reads: Reads, context: dict[str, Any]) -> dict[str, Any]:
    """The part of `context` that is put to the policy, still as JSON: the fixed attributes, and
    those that policies look at; of `outputs` only the steps that they look at."""
    present = {**EMPTY, **{name: v for name, v in context.items() if v is not None}}
    shown = {n: v for n, v in present.items() if n in FIXED or reads.sees(n)}
    outputs = shown.get("outputs")
    if isinstance(outputs, dict) and reads.outputs is not None:
        shown["outputs"] = {step: v for step, v in outputs.items() if step in reads.outputs}
    return shown


def request_hash(request: PolicyRequest, shown: dict[str, Any]) -> str:
    """SHA-256 over the RFC 8785 form of `{"principal": {"id", "kind", "roles", "tenant"},
    "action", "resource": {"type", "id"}, "context": shown}`, roles sorted; 64 zeros where there is
    no such form, and so nothing that could be put to a policy."""
    actor = request.actor
    try:
        return value_hash(
            {
                "principal": {
                    "id": actor.actor_id,
                    "kind": actor.kind,
                    "roles": sorted(set(actor.roles)),
                    "tenant": request.tenant,
                },
                "action": request.action,
                "resource": _resource(request.workflow_id, request.step_id),
                "context": shown,
            }
        )
    except (InvalidInput, RecursionError):
        return ZERO_HASH


def pose(reads: Reads, request: PolicyRequest, shown: dict[str, Any]) -> Question:
    """Convert for Cedar. All of `shown` must convert; what no policy looks at is then left out.

    Raises `InvalidInput` where a value cannot be read, or the step's id has a slash:
    `Step::"a/b/c"` must mean one step of one workflow.
    """
    if request.step_id is not None and "/" in request.step_id:
        raise InvalidInput("The id of a step must have no slash.")
    context = {name: v for name, v in to_cedar(shown).items() if reads.sees(name)}
    actor = request.actor
    return Question(
        {
            "principal": _uid("Actor", actor.actor_id),
            "action": _uid("Action", request.action),
            "resource": _resource(request.workflow_id, request.step_id),
            "context": msgspec.json.encode(context).decode(),
        },
        _entities(
            Actor(actor.actor_id, actor.kind, actor.roles),
            request.tenant,
            request.workflow_id,
            request.step_id,
        ),
    )


def _uid(kind: str, entity_id: str) -> dict[str, str]:
    """Always as two fields: an id is never part of a text that is parsed."""
    return {"type": kind, "id": entity_id}


def _resource(workflow_id: str, step_id: str | None) -> dict[str, str]:
    if step_id is None:
        return _uid("Workflow", workflow_id)
    return _uid("Step", f"{workflow_id}/{step_id}")


@lru_cache(maxsize=_KNOWN_ENTITIES)
def _entities(actor: Actor, tenant: str, workflow_id: str, step_id: str | None) -> cedarpy.Entities:
    roles = sorted(set(actor.roles))
    principal = {
        "uid": _uid("Actor", actor.actor_id),
        "attrs": {"kind": actor.kind, "roles": roles, "tenant": tenant},
        "parents": [_uid("Role", role) for role in roles],
    }
    workflow = _child(_uid("Workflow", workflow_id), _uid("Tenant", tenant))
    entities = [principal, workflow]
    if step_id is not None:
        entities.append(_child(_resource(workflow_id, step_id), workflow["uid"]))
    return cedarpy.Entities.from_json_str(msgspec.json.encode(entities).decode())


def _child(uid: dict[str, str], parent: dict[str, str]) -> dict[str, Any]:
    return {"uid": uid, "attrs": {}, "parents": [parent]}
