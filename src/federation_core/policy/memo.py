"""Answers remembered by what they can depend on.

A decision is a function of the principal, the action, the resource, and those parts of the context
that the policies for this action read. Where all of these are the same, so is the answer, and Cedar
need not be asked again. What the policies read is known from their JSON form; where it cannot be
told, nothing is remembered.
"""

import hashlib
from typing import Any, Final, Generic, TypeVar

import msgspec

from ..spine.decision import PolicyRequest
from .reads import Reads

__all__ = ["Memo"]

T = TypeVar("T")

_CAPACITY: Final = 4_096
_encode = msgspec.json.Encoder(order="sorted").encode


class Memo(Generic[T]):
    """At most 4,096 answers; when it is full it begins anew."""

    def __init__(self, reads: Reads) -> None:
        self._uses = None if reads.uses is None else sorted(reads.uses)
        self._known: dict[bytes, T] = {}

    def key(self, request: PolicyRequest, shown: dict[str, Any]) -> bytes | None:
        """The SHA-256 of all that the answer can depend on, so that large inputs are not kept; None
        where that cannot be told. JSON text keeps apart what Python holds equal: `true` and `1`."""
        if self._uses is None:
            return None
        actor = request.actor
        facts: list[Any] = [
            actor.actor_id,
            actor.kind,
            sorted(actor.roles),
            request.tenant,
            request.action,
            request.workflow_id,
            request.step_id,
        ]
        facts.extend(_look(shown, path, is_test=is_test) for path, is_test in self._uses)
        return hashlib.sha256(_encode(facts)).digest()

    def get(self, key: bytes | None) -> T | None:
        return None if key is None else self._known.get(key)

    def put(self, key: bytes | None, answer: T) -> None:
        if key is not None:
            if len(self._known) >= _CAPACITY:
                self._known.clear()
            self._known[key] = answer


def _look(shown: Any, path: tuple[str, ...], *, is_test: bool) -> list[Any]:
    """How far `path` leads, and what stands there: all of it, or for a test only that it does.
    Where it ends early at something that is no record, that is what Cedar complains about.

    Each begins with a word of its own: what is missing at depth 1 is not a value of 1.
    """
    for depth, name in enumerate(path):
        if not isinstance(shown, dict):
            return ["ends", depth, shown]
        if name not in shown or shown[name] is None:
            return ["missing", depth]
        shown = shown[name]
    return ["there"] if is_test else ["is", shown]
