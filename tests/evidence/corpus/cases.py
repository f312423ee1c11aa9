"""What a case of the corpus is, and the changes that are made to every value of a kind."""

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["HASH", "Case", "Json", "LifeCase", "changed", "places", "put", "variants"]

Json = dict[str, Any]
Place = tuple[str | int, ...]

HASH = "f" * 64


@dataclass(frozen=True)
class Case:
    """A pack, and what an auditor asks about it."""

    name: str
    pack: bytes
    trust: str | None
    run: str | None = None
    tenant: str | None = None
    seen: bytes | None = None
    consistency: bytes | None = None


@dataclass(frozen=True)
class LifeCase:
    """The events of one stream, as far as they are wanted, and the definition of its run."""

    name: str
    events: Iterable[Json]
    definition: Json | None


def places(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place in a value but its root, and what stands there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        yield (*at, name), inner
        if isinstance(inner, dict | list):
            yield from places(inner, (*at, name))


def changed(value: Any, place: Place, *other: Any) -> Any:
    """A copy with `other` at that place, or with nothing there."""
    told = copy.deepcopy(value)
    inner = told
    for name in place[:-1]:
        inner = inner[name]
    if other:
        inner[place[-1]] = other[0]
    else:
        del inner[place[-1]]
    return told


def put(value: Any, **members: Any) -> Any:
    """A copy of an object with these members."""
    return copy.deepcopy(value) | members


_OTHERS: tuple[Any, ...] = (None, True, False, 0, 1, -1, "", "x", HASH, [], {}, [1], ["x"])


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with one thing taken out, put in, or put in place of another."""
    for other in _OTHERS:
        yield f"= {json.dumps(other)[:12]}", other
    for place, inner in places(value):
        name = ".".join(map(str, place))
        yield f"{name} out", changed(value, place)
        for other in _OTHERS:
            if json.dumps(other) != json.dumps(inner):
                yield f"{name} = {json.dumps(other)[:12]}", changed(value, place, other)
        if isinstance(inner, int) and not isinstance(inner, bool):
            yield f"{name} + 1", changed(value, place, inner + 1)
            yield f"{name} - 1", changed(value, place, inner - 1)
        if isinstance(inner, dict):
            yield f"{name} + extra", changed(value, (*place, "extra"), 1)
    if isinstance(value, dict):
        yield "+ extra", put(value, extra=1)
