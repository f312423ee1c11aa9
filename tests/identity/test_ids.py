"""What an actor and a tenant may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.identity import check_actor, check_tenant


@pytest.mark.parametrize(
    "name", ["a", "titan-1", "ann@example.com", "a/b:c.d_e+f", "@ann", "7", "x" * 128]
)
def test_name(name: str) -> None:
    assert check_actor(name) == name
    assert check_tenant(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 129,
        "a b",
        " a",
        "a\n",
        "a\0",
        "a|b",
        "é",
        "a\u202eb",
        "..",
        "-a",
        "/a",
        '"',
        "a;b",
    ],
)
def test_what_names_nobody(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name an actor; use 1 to 128"):
        check_actor(name)
    with pytest.raises(InvalidInput, match="cannot name a tenant; use 1 to 128"):
        check_tenant(name)


@pytest.mark.parametrize("name", ["role:finance", "role:", "system"])
def test_actor_cannot_take_the_name_of_a_role_or_of_the_server(name: str) -> None:
    """An actor called `role:finance` would pass for an approver of that role."""
    with pytest.raises(InvalidInput, match="reserved"):
        check_actor(name)


@given(st.text())
def test_message_about_any_name_is_plain(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_tenant(f"{name} ")
    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()
