"""The decision, pure: what is asked in, the answer out. Whatever goes wrong, the answer is deny.

1. Anything that errs, in the request or in any policy, is a deny. (Cedar alone skips a policy that
   errs, so that a `forbid` which reads a missing attribute would let the request through.)
2. Only permits apply: allow.
3. A `forbid` applies that is no flag: deny.
4. Only flags apply: flag, where the request would be allowed without them, else deny.
5. Nothing applies: deny.
"""

import re
from collections.abc import Iterable
from typing import Final

import cedarpy
import msgspec

from ..errors import InvalidInput
from ..spine.canonical import ZERO_HASH
from ..spine.decision import Decision, Effect, Flag, PolicyRequest
from .annotations import PolicyInfo
from .bundle import Bundle
from .question import Question, pose, request_hash, shown_context
from .slices import CompiledSet

__all__ = ["judge", "tighten"]

_MAX_REASON: Final = 500
_ERRING = re.compile(r"error while evaluating policy `(policy\d+)`: (.*)", re.DOTALL)
_QUOTES_NO_VALUE = re.compile(
    r"record does not have the attribute `[^`]*`|type error: expected .+, got .+"
)
_SEVERITY: Final[dict[Effect, int]] = {"allow": 0, "flag": 1, "deny": 2}


class _Answer(msgspec.Struct, frozen=True):
    """What Cedar says: whether it permits, which policies determine that (sorted by id), what
    erred (None where nothing), and in which policies."""

    permits: bool
    policies: tuple[PolicyInfo, ...]
    error: str | None = None
    erring: tuple[PolicyInfo, ...] = ()


def judge(bundle: Bundle, request: PolicyRequest) -> Decision:
    """Decide; raises nothing. `duration_us` is 0: measuring is for whoever has a clock."""
    hashed = ZERO_HASH
    try:
        shown = shown_context(bundle.reads, request.context)
        hashed = request_hash(request, shown)
        question = pose(bundle.reads, request, shown)
        if hashed == ZERO_HASH:
            return _decision(bundle, hashed, "deny", "The request has no RFC 8785 form.")
        memo = bundle.slices.of(request.action).memo
        key = memo.key(request, shown)
        answer = memo.get(key)
        if answer is None:
            answer = _rule(bundle, request.action, question, hashed)
            memo.put(key, answer)
        return msgspec.structs.replace(answer, request_hash=hashed)
    except InvalidInput as e:
        return _decision(bundle, hashed, "deny", _unreadable(e))
    except Exception as e:
        return _decision(bundle, hashed, "deny", f"Policy could not be asked: {type(e).__name__}.")


def _unreadable(error: InvalidInput) -> str:
    """Which attribute of the context cannot be read, and why. Keys further down are the input's,
    which have no place in the ledger."""
    if not error.errors:
        return error.detail
    told = error.errors[0]
    attribute = told.path.removeprefix("/").partition("/")[0] or "the context"
    return f"The policy cannot read a value in {attribute}: {told.message}."


def _rule(bundle: Bundle, action: str, question: Question, hashed: str) -> Decision:
    sets = bundle.slices.of(action)
    answer = _ask(sets.every, question)
    if answer.error is not None:
        return _decision(bundle, hashed, "deny", answer.error, answer.erring)
    if answer.permits:
        return _decision(bundle, hashed, "allow", _reasons(answer.policies), answer.policies)
    if not answer.policies:
        return _decision(bundle, hashed, "deny", f"No policy permits {action} here.")
    hard = [policy for policy in answer.policies if policy.effect != "flag"]
    if hard or sets.without_flags is None:
        return _decision(bundle, hashed, "deny", _reasons(hard), answer.policies)
    rest = _ask(sets.without_flags, question)
    if rest.error is not None or not rest.permits:
        reason = f"No policy permits {action} here; approval answers a flag, not a missing permit."
        return _decision(bundle, hashed, "deny", reason, answer.policies)
    return _decision(bundle, hashed, "flag", _reasons(answer.policies), answer.policies)


def _ask(compiled: CompiledSet, question: Question) -> _Answer:
    result = cedarpy.is_authorized(question.request, compiled.policies, question.entities)
    errors = result.diagnostics.errors
    if errors or result.decision is cedarpy.Decision.NoDecision:
        return _failed(compiled, errors)
    policies = (compiled.infos[name] for name in result.diagnostics.reasons)
    return _Answer(result.allowed, tuple(sorted(policies, key=lambda p: p.id)))


def _failed(compiled: CompiledSet, errors: list[str]) -> _Answer:
    """Cedar's own words are kept only where they cannot quote a value of the input, which has no
    place in the ledger."""
    erring: dict[str, PolicyInfo] = {}
    told: list[str] = []
    for match in filter(None, map(_ERRING.fullmatch, sorted(errors))):
        info = compiled.infos[match[1]]
        words = match[2] if _QUOTES_NO_VALUE.fullmatch(match[2]) else "an operation failed"
        erring[info.id] = info
        told.append(f"policy {info.id!r} could not be evaluated ({words})")
    reason = "; ".join(told) or "the request could not be put to the policies"
    policies = tuple(erring[name] for name in sorted(erring))
    return _Answer(False, (), f"Denied because {reason}.", policies)


def _reasons(policies: Iterable[PolicyInfo]) -> str:
    return "; ".join(policy.reason or f"policy {policy.id!r} applies" for policy in policies)


def _decision(
    bundle: Bundle,
    hashed: str,
    decision: Effect,
    reason: str,
    policies: tuple[PolicyInfo, ...] = (),
) -> Decision:
    flags = tuple(policy.flag for policy in policies) if decision == "flag" else ()
    return Decision(
        decision=decision,
        reason=reason if len(reason) <= _MAX_REASON else f"{reason[: _MAX_REASON - 1]}…",
        policy_id=bundle.bundle_id,
        policy_hash=bundle.bundle_hash,
        tier=max((policy.tier for policy in policies), key=int, default=bundle.tier),
        rules_triggered=tuple(policy.id for policy in policies),
        request_hash=hashed,
        duration_us=0,
        flags=flags,
    )


def tighten(own: Decision, stricter: Decision) -> Decision:
    """Of two answers the more restrictive, `own` where they are alike, with the other one as its
    `tightened`. A flag has the flags of both: approval must answer each."""
    wins, other = own, stricter
    if _SEVERITY[stricter.decision] > _SEVERITY[own.decision]:
        wins, other = stricter, own
    flags: tuple[Flag, ...] = ()
    if wins.decision == "flag":
        flags = tuple(sorted({*own.flags, *stricter.flags}, key=_order))
    return msgspec.structs.replace(wins, flags=flags, tightened=other)


def _order(flag: Flag) -> tuple[str, tuple[str, ...], int, int]:
    return (flag.rule, flag.approvers, flag.quorum, flag.expires_s or 0)
