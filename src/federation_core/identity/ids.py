"""What an actor or a tenant may be called.

Ids stand in policies, log lines, headers and approver lists, so they are short and plain. An actor
may not be called like an approver (`role:…`) or like the server itself (`system`).
"""

import re
from typing import Annotated

from msgspec import Meta

from ..errors import InvalidInput

__all__ = ["ActorId", "TenantId", "check_actor", "check_tenant"]

_PLAIN = r"[A-Za-z0-9_@+][A-Za-z0-9._:@/+-]{0,127}\Z"
_TENANT = rf"\A{_PLAIN}"
_ACTOR = rf"\A(?!role:|system\Z){_PLAIN}"

TenantId = Annotated[str, Meta(pattern=_TENANT)]
ActorId = Annotated[str, Meta(pattern=_ACTOR)]


def check_actor(value: str) -> str:
    """The value itself; raises `InvalidInput` where it cannot name an actor."""
    if value.startswith("role:") or value == "system":
        raise InvalidInput(f"{value!r} cannot name an actor; role:… and system are reserved.")
    return _check(_ACTOR, value, "an actor")


def check_tenant(value: str) -> str:
    """The value itself; raises `InvalidInput` where it cannot name a tenant."""
    return _check(_TENANT, value, "a tenant")


def _check(pattern: str, value: str, what: str) -> str:
    if not re.match(pattern, value):
        raise InvalidInput(
            f"{value[:130]!a} cannot name {what}; use 1 to 128 letters, digits or . _ : @ / + -, "
            "and begin with a letter, a digit, or one of @ _ +."
        )
    return value
