"""What the annotations of a policy say: `@id @tier @reason @effect @approvers @quorum @expires`."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from ..spine.decision import Flag

__all__ = ["PolicyEffect", "PolicyInfo", "read_annotations"]

PolicyEffect = Literal["permit", "forbid", "flag"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_ANYWHERE: Final = ("id", "tier", "reason")
_ON_FLAGS: Final = ("approvers", "quorum", "expires")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_REASON: Final = 300
_MAX_EXPIRES: Final = 366 * 86_400


class PolicyInfo(msgspec.Struct, frozen=True):
    """One policy of a bundle. `tier` is the bundle's own where the policy has none, `reason` is
    empty where it gives none; `approvers`, `quorum` and `expires_s` (seconds) count on flags."""

    id: str
    effect: PolicyEffect
    file: str
    tier: str
    reason: str = ""
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    expires_s: int | None = None

    @property
    def flag(self) -> Flag:
        return Flag(self.id, self.approvers, self.quorum, self.expires_s)


class _Wrong(Exception):
    """One annotation is wrong; the message completes `@name …`."""


def read_annotations(
    policy: Mapping[str, Any], file: str, default_tier: str
) -> tuple[PolicyInfo | None, list[str]]:
    """The facts about one policy in Cedar's JSON form, and all that is wrong with its annotations;
    no facts where anything is."""
    given: dict[str, str] = {k: v or "" for k, v in policy.get("annotations", {}).items()}
    is_flag = "effect" in given
    problems = [f"@{name} {why}" for name, why in _misplaced(given, policy["effect"])]
    values: dict[str, Any] = {"tier": default_tier}
    for name in (*_ANYWHERE, *_ON_FLAGS):
        if name in given:
            try:
                field, read = _READERS[name]
                values[field] = read(given[name])
            except _Wrong as e:
                problems.append(f"@{name} {e}")
    problems += _quorum_problem(values)
    if problems:
        return None, problems
    return PolicyInfo(effect="flag" if is_flag else policy["effect"], file=file, **values), []


def _misplaced(given: Mapping[str, str], effect: str) -> list[tuple[str, str]]:
    found = []
    if "id" not in given:
        found.append(("id", "is missing; every policy must have one"))
    if "effect" in given and (given["effect"] != "flag" or effect != "forbid"):
        found.append(("effect", 'must be @effect("flag"), and stand on a forbid'))
    for name in given:
        if name in _ON_FLAGS and "effect" not in given:
            found.append((name, 'counts only beside @effect("flag")'))
        elif name not in (*_ANYWHERE, *_ON_FLAGS, "effect"):
            found.append((name, "is no annotation that is known here"))
    return found


def _quorum_problem(values: Mapping[str, Any]) -> list[str]:
    approvers = values.get("approvers", ())
    has_role = any(a.startswith("role:") for a in approvers)
    if approvers and not has_role and values.get("quorum", 1) > len(approvers):
        return [f"@quorum asks for more people than the {len(approvers)} that @approvers names"]
    return []


def _id(text: str) -> str:
    if not _ID.match(text):
        raise _Wrong("must be 1 to 128 letters, digits, '.', '_', ':' or '-'")
    return text


def _tier(text: str) -> str:
    if not re.match(r"(0|[1-9][0-9]?)\Z", text):
        raise _Wrong("must be a whole number from 0 to 99")
    return text


def _reason(text: str) -> str:
    if not text.strip() or len(text) > _MAX_REASON:
        raise _Wrong(f"must be a sentence of at most {_MAX_REASON} characters")
    return text


def _approvers(text: str) -> tuple[str, ...]:
    """Sorted, so that an approval still answers when a bundle lists the same people anew."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or "role:" in names or len(set(names)) != len(names):
        raise _Wrong('must list different people and roles, as in "role:finance, alice"')
    return tuple(sorted(names))


def _quorum(text: str) -> int:
    if not re.match(r"[1-9][0-9]?\Z", text):
        raise _Wrong("must be a whole number from 1 to 99")
    return int(text)


def _expires(text: str) -> int:
    match = re.match(r"([1-9][0-9]{0,8})([smhd])\Z", text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _MAX_EXPIRES:
        raise _Wrong('must be a time such as "90s", "30m", "24h" or "7d", at most a year')
    return seconds


_READERS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "id": ("id", _id),
    "tier": ("tier", _tier),
    "reason": ("reason", _reason),
    "approvers": ("approvers", _approvers),
    "quorum": ("quorum", _quorum),
    "expires": ("expires_s", _expires),
}
