"""How often a JSON Schema may look at one value: what keeps a small schema from taking hours.

A `$ref` may lead to a schema that refers twice to another that refers twice … so that a page of
text means 2³⁰ checks. `visits` are counted along the path through a value where it is worst: how
often subschemas are applied to one place. A reference back to a schema around it counts again at
each level of the value. Only references within the schema (`#`, `#/…`) are understood, so only
those are allowed.
"""

from typing import Any, NoReturn
from urllib.parse import unquote

from ..errors import FieldError, InvalidInput
from .pointers import join, split

__all__ = ["deepest"]

_REFS = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = frozenset({"const", "enum", "default", "example", "examples"})
_SAME_VALUE = ("not", "if", "then", "else")
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_VALUE_MAPS = ("dependentSchemas", "dependencies")
_ANY_CHILD = (
    *("items", "additionalItems", "contains", "unevaluatedItems"),
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
)
_META_SCHEMAS = ("http://json-schema.org/", "https://json-schema.org/")
_META_SCHEMA = {"allOf": [True] * 100}  # what one of those is taken to cost

_COUNTING = -1


def deepest(schema: Any, max_depth: int, limit: int) -> int:
    """How deep values may be nested, up to `max_depth`, for at most `limit` visits; -1 where even
    a scalar takes more. Raises `InvalidInput` where a reference leads out of the schema, nowhere,
    or back to itself for the same value."""
    _check_references(schema, schema, ())
    counter = _Counter(schema, limit)
    depth = max_depth
    try:
        while depth >= 0 and counter.count(schema, depth) > limit:
            depth -= 1
    except RecursionError as e:
        raise InvalidInput("its references lead through too many others") from e
    return depth


def _check_references(node: Any, root: Any, path: tuple[str | int, ...]) -> None:
    if isinstance(node, list):
        for i, item in enumerate(node):
            _check_references(item, root, (*path, i))
    if not isinstance(node, dict):
        return
    for key, item in node.items():
        here = (*path, key)
        if key in _REFS and isinstance(item, str):
            _check_reference(item, root, here)
        elif key in {"$id", "id"} and isinstance(item, str) and path:
            _refuse(here, "only the outermost schema may have an $id")
        elif key not in _DATA:
            _check_references(item, root, here)


def _check_reference(reference: str, root: Any, path: tuple[str | int, ...]) -> None:
    if reference.startswith(_META_SCHEMAS):
        return
    if reference != "#" and not reference.startswith("#/"):
        _refuse(path, f"{reference[:80]!r} leads out of the schema; a reference is # or #/…")
    if _target(reference, root) is None:
        _refuse(path, f"{reference[:80]!r} leads nowhere")


def _target(reference: str, root: Any) -> Any:
    if reference.startswith(_META_SCHEMAS):
        return _META_SCHEMA
    target = root
    for part in split(unquote(reference[1:])):
        if isinstance(target, list) and part.isascii() and part.isdigit():
            target = dict(enumerate(target)).get(int(part[:9]))
        else:
            target = target.get(part) if isinstance(target, dict) else None
    return target


def _refuse(path: tuple[str | int, ...], message: str) -> NoReturn:
    raise InvalidInput(message, errors=[FieldError(join(path), message)])


class _Counter:
    def __init__(self, root: Any, limit: int) -> None:
        self._root = root
        self._limit = limit
        self._known: dict[tuple[int, int], int] = {}

    def count(self, node: Any, depth: int) -> int:
        if not isinstance(node, dict):
            return 1
        key = (id(node), depth)
        if self._known.get(key) == _COUNTING:
            raise InvalidInput("it refers back to itself without going into the value")
        if key not in self._known:
            self._known[key] = _COUNTING
            total = 1 + sum(self.count(n, depth) for n in self._same_value(node))
            if depth:
                total += sum(self.count(n, depth - 1) for n in self._any_child(node))
                total += max((self.count(n, depth - 1) for n in _one_child(node)), default=0)
            self._known[key] = min(total, self._limit + 1)
        return self._known[key]

    def _same_value(self, node: dict[str, Any]) -> list[Any]:
        nodes = [node[key] for key in _SAME_VALUE if key in node]
        for key in _SAME_VALUE_LISTS:
            nodes += _values(node.get(key))
        for key in _SAME_VALUE_MAPS:
            nodes += _values(node.get(key))
        nodes += [_target(node[key], self._root) for key in _REFS if isinstance(node.get(key), str)]
        return nodes

    def _any_child(self, node: dict[str, Any]) -> list[Any]:
        nodes = [node[key] for key in _ANY_CHILD if isinstance(node.get(key), (dict, bool))]
        return nodes + _values(node.get("patternProperties"))


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _one_child(node: dict[str, Any]) -> list[Any]:
    lists = [node.get("prefixItems"), node.get("items")]
    return [
        *_values(node.get("properties")),
        *(item for items in lists if isinstance(items, list) for item in items),
    ]
