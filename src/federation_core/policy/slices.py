"""Policies compiled for Cedar, one set for each action.

A policy whose head names other actions can neither decide nor err, so leaving it out changes no
answer; Cedar would try each of them every time.
"""

from collections.abc import Iterable
from typing import Any

import cedarpy
import msgspec

from ..spine.decision import Decision
from ..spine.shapes import prepare
from .annotations import PolicyInfo
from .memo import Memo
from .reads import Reads, actions_in_scope

__all__ = ["CompiledSet", "ParsedPolicy", "Slice", "Slices"]


class ParsedPolicy(msgspec.Struct, frozen=True):
    """One policy: its facts, the very text that Cedar gets, and Cedar's JSON form of it."""

    info: PolicyInfo
    text: str
    form: dict[str, Any]


class _Annotated(msgspec.Struct):
    annotations: dict[str, str]


class _Named(msgspec.Struct, rename="camel"):
    """Cedar's JSON form of a set of policies, as far as it says which name is which `@id`."""

    static_policies: dict[str, _Annotated]


prepare(_Named)


class CompiledSet(msgspec.Struct, frozen=True):
    """`infos` by the names under which Cedar answers: `policy0`, `policy1`, … as the text has
    them."""

    policies: cedarpy.PolicySet
    infos: dict[str, PolicyInfo]


class Slice(msgspec.Struct, frozen=True):
    """`without_flags` is None where there are no flags: then it would be `every` again. `memo`
    holds the answers that this set gave."""

    every: CompiledSet
    without_flags: CompiledSet | None
    memo: Memo[Decision]


class Slices:
    """The sets of a bundle, by action."""

    def __init__(self, policies: Iterable[ParsedPolicy]) -> None:
        scoped = [(policy, actions_in_scope(policy.form)) for policy in policies]
        named = frozenset().union(*(actions for _, actions in scoped if actions is not None))
        self._by_action = {
            action: _slice(p for p, actions in scoped if actions is None or action in actions)
            for action in named
        }
        self._others = _slice(p for p, actions in scoped if actions is None)

    def of(self, action: str) -> Slice:
        return self._by_action.get(action, self._others)


def _slice(policies: Iterable[ParsedPolicy]) -> Slice:
    every = list(policies)
    rest = [p for p in every if p.info.effect != "flag"]
    without_flags = None if len(rest) == len(every) else _compile(rest)
    return Slice(_compile(every), without_flags, Memo(Reads.of(p.form for p in every)))


def _compile(policies: list[ParsedPolicy]) -> CompiledSet:
    text = "\n".join(policy.text for policy in policies)
    named = msgspec.json.decode(cedarpy.policies_to_json_str(text), type=_Named).static_policies
    by_id = {policy.info.id: policy.info for policy in policies}
    infos = {name: by_id[policy.annotations["id"]] for name, policy in named.items()}
    return CompiledSet(cedarpy.PolicySet.from_str(text), infos)
