"""Who is calling, in both modes, with every combination of headers."""

from itertools import product
from typing import Any

import pytest

from federation_core.errors import Forbidden, InvalidInput
from federation_core.identity import ALL_SCOPES, Caller, Claims, Mode, identify
from federation_core.spine.actor import Actor


def claims(*scopes: str, **more: Any) -> Claims:
    return Claims("titan-1", scopes, 0, 1, "token-1", roles=("finance",), **more)


def caller(of: Claims, mode: Mode = "production", **headers: str | None) -> Caller:
    return identify(of, mode=mode, default_tenant="default", **headers)


def test_server_acts_for_itself_in_the_default_tenant() -> None:
    assert caller(claims("gate:read")) == Caller(
        Actor("titan-1", "service", ("finance",), None),
        "default",
        frozenset({"gate:read"}),
        "token-1",
    )


def test_actor_and_tenant_of_the_token_come_first() -> None:
    found = caller(claims(actor_id="ann", tenant_id="acme"))
    assert (found.actor.actor_id, found.tenant) == ("ann", "acme")
    assert found.actor.via is None


def test_no_scopes_open_nothing_in_production() -> None:
    found = caller(claims())
    for scope in ALL_SCOPES:
        with pytest.raises(Forbidden, match=f"needs the scope '{scope}'"):
            found.require(scope)


def test_required_scope_is_a_fact_of_the_refusal() -> None:
    with pytest.raises(Forbidden) as caught:
        caller(claims("gate:read")).require("gate:write")
    assert caught.value.facts == {"scope": "gate:write"}


@pytest.mark.parametrize("mode", ["production", "development"])
def test_headers_that_name_the_bearer_change_nothing(mode: Mode) -> None:
    token = claims("gate:read", actor_id="ann", tenant_id="acme")
    plain = caller(token, mode)
    assert caller(token, mode, header_actor="ann", header_tenant="acme") == plain


@pytest.mark.parametrize(
    ("header_actor", "header_tenant"),
    [p for p in product([None, "ann", "bob"], [None, "acme", "other"]) if {"bob", "other"} & {*p}],
)
@pytest.mark.parametrize("scopes", [(), ("admin",), tuple(ALL_SCOPES - {"actor:delegate"})])
def test_speaking_for_another_needs_the_scope_by_name(
    header_actor: str | None, header_tenant: str | None, scopes: tuple[str, ...]
) -> None:
    token = claims(*scopes, actor_id="ann", tenant_id="acme")
    with pytest.raises(Forbidden, match="'actor:delegate'"):
        caller(token, header_actor=header_actor, header_tenant=header_tenant)


def test_delegate_speaks_for_another_without_lending_its_roles() -> None:
    token = claims("actor:delegate", "gate:write", actor_id="console")
    found = caller(token, header_actor="bob")
    assert found.actor == Actor("bob", "service", (), "console")
    assert found.scopes == {"actor:delegate", "gate:write"}
    assert not found.actor.is_entitled(("role:finance",))


def test_server_that_speaks_for_its_own_actor_is_no_delegate() -> None:
    """`actor_id` is who the token is for; the server behind it is someone else."""
    found = caller(claims("actor:delegate", actor_id="ann"), header_actor="titan-1")
    assert found.actor == Actor("titan-1", via="ann")


def test_roles_do_not_go_to_another_tenant() -> None:
    token = claims("actor:delegate", tenant_id="acme")
    found = caller(token, header_tenant="other")
    assert (found.actor, found.tenant) == (Actor("titan-1"), "other")


def test_development_believes_the_headers() -> None:
    found = caller(claims(), "development", header_actor="bob", header_tenant="other")
    assert found.actor == Actor("bob", "service", ("finance",), "titan-1")
    assert found.tenant == "other"


@pytest.mark.parametrize("name", ["ann", "titan-1"])
def test_development_names_no_delegate_where_there_is_none(name: str) -> None:
    found = caller(claims(actor_id="ann"), "development", header_actor=name)
    assert found.actor.via is None


def test_development_opens_everything_to_a_token_without_scopes() -> None:
    for scope in ALL_SCOPES:
        caller(claims(), "development").require(scope)


def test_development_keeps_to_the_scopes_that_a_token_has() -> None:
    found = caller(claims("gate:read"), "development")
    found.require("gate:read")
    with pytest.raises(Forbidden):
        found.require("gate:write")


@pytest.mark.parametrize("mode", ["production", "development"])
@pytest.mark.parametrize("name", ["", "a\nb", "role:finance", "system", "x" * 129])
def test_header_that_names_nobody(mode: Mode, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name"):
        caller(claims("actor:delegate"), mode, header_actor=name)


@pytest.mark.parametrize("mode", ["production", "development"])
def test_header_that_names_no_tenant(mode: Mode) -> None:
    with pytest.raises(InvalidInput, match="cannot name a tenant"):
        caller(claims("actor:delegate"), mode, header_tenant="../acme")
