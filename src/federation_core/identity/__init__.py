"""Who calls, in which tenant, and what the token opens.

`verify_token` says whether a token is genuine, `identify` for whom it speaks, `Caller.require`
whether that is enough.
"""

from .caller import Caller, Mode, identify
from .ids import check_actor, check_tenant
from .scopes import ALL_SCOPES, Scope, grants
from .secrets import load_or_create_secret
from .tokens import Claims, issue_token, verify_token

__all__ = [
    "ALL_SCOPES",
    "Caller",
    "Claims",
    "Mode",
    "Scope",
    "check_actor",
    "check_tenant",
    "grants",
    "identify",
    "issue_token",
    "load_or_create_secret",
    "verify_token",
]
