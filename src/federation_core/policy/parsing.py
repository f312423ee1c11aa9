"""Cedar files as policies with their facts, and everything that is wrong with them."""

import re
from typing import Any, Final

import cedarpy
import msgspec

from ..errors import FieldError
from .annotations import read_annotations
from .reads import unknown_names
from .slices import ParsedPolicy
from .source import MAX_NESTING, MAX_TOKENS, PolicyText, nesting, split_policies

__all__ = ["parse_policies", "schema_problems"]

_TOO_DEEP: Final = f"brackets are nested deeper than {MAX_NESTING} levels"
_MAX_FORM: Final = 1024 * 1024
_MAX_FORM_NESTING: Final = 400  # two for each `&&` or `||`; Python reads some 1,000


def parse_policies(
    file: str, text: str, default_tier: str
) -> tuple[list[ParsedPolicy], list[FieldError]]:
    """The sound policies of one file, and the problems of the others, each with its line."""
    if nesting(text) > MAX_NESTING:
        return [], [FieldError(file, _TOO_DEEP)]
    found: list[ParsedPolicy] = []
    problems: list[FieldError] = []
    for piece in split_policies(text):
        policy, wrong = _policy(file, piece, default_tier)
        problems += [FieldError(file, f"line {piece.line}: {message}") for message in wrong]
        if policy is not None:
            found.append(policy)
    return found, problems


def _policy(
    file: str, piece: PolicyText, default_tier: str
) -> tuple[ParsedPolicy | None, list[str]]:
    if piece.tokens > MAX_TOKENS:
        return None, [f"the policy has more than {MAX_TOKENS} words and signs; split it"]
    try:
        form = _json_form(piece.text)
    except ValueError as e:
        return None, [str(e)]
    info, problems = read_annotations(form, file, default_tier)
    problems += unknown_names(form)
    if info is None or problems:
        return None, problems
    return ParsedPolicy(info, piece.text, form), []


def _json_form(text: str) -> dict[str, Any]:
    """Raises `ValueError`, as Cedar does, where `text` is not one policy without slots."""
    encoded = cedarpy.policies_to_json_str(text)
    if len(encoded) > _MAX_FORM or nesting(encoded) > _MAX_FORM_NESTING:
        raise ValueError("the policy chains too many conditions; split it")
    forms = msgspec.json.decode(encoded, type=dict[str, Any])
    if forms["templates"]:
        raise ValueError("templates (?principal, ?resource) are not taken; name who is meant")
    [form] = forms["staticPolicies"].values()
    return dict(form)


def schema_problems(file: str, schema: str, policies: list[ParsedPolicy]) -> list[FieldError]:
    """What Cedar's validator finds in `policies`; what is wrong with the schema itself first."""
    if nesting(schema, angles=True) > MAX_NESTING:
        return [FieldError(file, _TOO_DEEP)]
    try:
        compiled = cedarpy.Schema.from_str(schema)
    except ValueError as e:
        return [FieldError(file, str(e))]
    problems = []
    for policy in policies:
        for error in cedarpy.validate_policies(policy.text, compiled).errors:
            message = re.sub(r"^for policy `policy0`, ", "", error.error)
            problems.append(FieldError(policy.info.file, f'@id("{policy.info.id}"): {message}'))
    return problems
