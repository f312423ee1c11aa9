"""What a policy looks at, read from its JSON form.

Only that need be loaded and converted for it. Where a use cannot be followed (`context` on its own,
`context.outputs` as a whole) everything counts: too much is slow, too little would be a hole.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..spine.workflow_problems import suggestion
from .vocabulary import ACTIONS, CONTEXT, ENTITY_TYPES

__all__ = ["Reads", "actions_in_scope", "unknown_names"]


class _Use(msgspec.Struct, frozen=True):
    """`context.a.b` as `("a", "b")`; `is_test` for `context.a has b`, which reads no further."""

    path: tuple[str, ...]
    is_test: bool


class Reads(msgspec.Struct, frozen=True):
    """Which attributes of the context, and which steps of `outputs`, are looked at; None where it
    cannot be told, which means all. `uses` are the exact paths, each with whether its presence is
    all that is asked."""

    attributes: frozenset[str] | None = frozenset()
    outputs: frozenset[str] | None = frozenset()
    uses: frozenset[tuple[tuple[str, ...], bool]] | None = frozenset()

    @classmethod
    def of(cls, policies: Iterable[dict[str, Any]]) -> "Reads":
        """What `policies`, each in Cedar's JSON form, look at together."""
        uses = {use for policy in policies for use in _uses(policy)}
        if any(not use.path for use in uses):
            return cls(None, None, None)
        attributes = frozenset(use.path[0] for use in uses)
        paths = frozenset((use.path, use.is_test) for use in uses)
        if _Use(("outputs",), is_test=False) in uses:
            return cls(attributes, None, paths)
        steps = (u.path[1] for u in uses if u.path[0] == "outputs" and len(u.path) > 1)
        return cls(attributes, frozenset(steps), paths)

    def sees(self, attribute: str) -> bool:
        return self.attributes is None or attribute in self.attributes


def actions_in_scope(policy: dict[str, Any]) -> frozenset[str] | None:
    """The actions that a policy's head names, None where it is for any action.

    There are no groups of actions here, so `in` means one of those named.
    """
    scope = policy["action"]
    entities = scope.get("entities") or [scope.get("entity")]
    if scope.get("op") not in ("==", "in") or not all(map(_is_entity, entities)):
        return None
    return frozenset(entity["id"] for entity in entities if entity["type"] == "Action")


def unknown_names(policy: dict[str, Any]) -> list[str]:
    """Actions, entity types and attributes of the context that no request has: a rule about one
    would never do anything, and nobody would see that."""
    problems = {
        f"context has no attribute {use.path[0]!r}{suggestion(use.path[0], CONTEXT)}"
        for use in _uses(policy)
        if use.path and use.path[0] not in CONTEXT
    }
    for node in _nodes(policy):
        kind = node.get("type") if _is_entity(node) else node.get("entity_type")
        if isinstance(kind, str) and kind not in ENTITY_TYPES:
            problems.add(f"there is no entity type {kind!r}{suggestion(kind, ENTITY_TYPES)}")
        elif _is_entity(node) and kind == "Action" and node["id"] not in ACTIONS:
            name = node["id"]
            problems.add(f"there is no action {name!r}{suggestion(name, ACTIONS)}")
    return sorted(problems)


def _is_entity(node: Any) -> bool:
    """`{"type": …, "id": …}`; a record's members are expressions, so it is never taken for one."""
    return (
        isinstance(node, dict)
        and node.keys() == {"type", "id"}
        and all(isinstance(v, str) for v in node.values())
    )


def _uses(policy: dict[str, Any]) -> Iterator[_Use]:
    stack: list[Any] = [policy]
    while stack:
        node = stack.pop()
        use = _use(node)
        if use is not None:
            yield use
        else:
            stack.extend(_inside(node))


def _nodes(policy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    stack: list[Any] = [policy]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
        stack.extend(_inside(node))


def _inside(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _use(node: Any) -> _Use | None:
    """The use of the context that `node` is, followed from its outermost attribute inwards."""
    path: list[str] = []
    is_test = isinstance(node, dict) and "has" in node
    while (access := _access(node)) is not None:
        path.append(access["attr"])
        node = access["left"]
    return _Use(tuple(reversed(path)), is_test) if node == {"Var": "context"} else None


def _access(node: Any) -> dict[str, Any] | None:
    """The inside of `left.attr` or `left has attr`."""
    if not isinstance(node, dict) or len(node) != 1:
        return None
    inside = node.get(".") or node.get("has")
    if isinstance(inside, dict) and isinstance(inside.get("attr"), str) and "left" in inside:
        return inside
    return None
