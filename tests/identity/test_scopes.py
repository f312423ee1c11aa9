"""What a token is good for."""

import pytest

from federation_core.identity import ALL_SCOPES, Scope, grants

BY_NAME_ONLY = {"gate:bypass", "actor:delegate"}


def test_scopes_are_those_of_the_contract() -> None:
    assert set(ALL_SCOPES) == BY_NAME_ONLY | {
        "workflow:read",
        "workflow:write",
        "gate:read",
        "gate:write",
        "agent:write",
        "policy:write",
        "mcp:invoke",
        "admin",
    }


@pytest.mark.parametrize("held", sorted(ALL_SCOPES))
@pytest.mark.parametrize("wanted", sorted(ALL_SCOPES))
def test_scope_grants_itself_and_admin_most_others(held: str, wanted: str) -> None:
    expected = held == wanted or (held == "admin" and wanted not in BY_NAME_ONLY)
    assert grants({held}, wanted) is expected


def test_nothing_grants_nothing() -> None:
    assert not any(grants(frozenset(), wanted) for wanted in ALL_SCOPES)


def test_scope_that_does_not_exist_is_not_granted_by_admin() -> None:
    assert not grants({Scope.ADMIN}, "workflow:*")
    assert not grants({"workflow:*", "*"}, Scope.WORKFLOW_READ)
