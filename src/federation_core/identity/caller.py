"""Who is calling: the actor, the tenant, and what the token opens."""

from typing import Literal

import msgspec

from ..errors import Forbidden
from ..spine.actor import Actor
from .ids import check_actor, check_tenant
from .scopes import ALL_SCOPES, Scope, grants
from .tokens import Claims

__all__ = ["Caller", "Mode", "identify"]

Mode = Literal["production", "development"]


class Caller(msgspec.Struct, frozen=True):
    """One request's identity. `token_id` is the `jti` of the token that was shown."""

    actor: Actor
    tenant: str
    scopes: frozenset[str]
    token_id: str

    def require(self, scope: str) -> None:
        """Raises `Forbidden`, naming the scope, where the token does not cover it."""
        if not grants(self.scopes, scope):
            raise Forbidden(
                f"This needs the scope {str(scope)!r}, which the token does not have.",
                scope=str(scope),
            )


def identify(
    claims: Claims,
    *,
    mode: Mode,
    default_tenant: str,
    header_actor: str | None = None,
    header_tenant: str | None = None,
) -> Caller:
    """The caller behind verified claims and the headers `X-Actor-Id` and `X-Tenant-Id`.

    Raises `InvalidInput` for a header that cannot name anybody, `Forbidden` for one that names
    someone else without the right to.
    """
    own_actor = claims.actor_id or claims.server_id
    own_tenant = claims.tenant_id or default_tenant
    actor = own_actor if header_actor is None else check_actor(header_actor)
    tenant = own_tenant if header_tenant is None else check_tenant(header_tenant)
    if mode == "development":
        return _believed(claims, actor, tenant)
    caller = Caller(
        Actor(own_actor, roles=claims.roles), own_tenant, frozenset(claims.scopes), claims.jti
    )
    if (actor, tenant) == (own_actor, own_tenant):
        return caller
    caller.require(Scope.ACTOR_DELEGATE)
    return msgspec.structs.replace(caller, actor=_delegated(actor, own_actor), tenant=tenant)


def _delegated(actor: str, through: str) -> Actor:
    """Roles are the bearer's in the bearer's tenant: they go neither to another nor elsewhere."""
    return Actor(actor, via=through if actor != through else None)


def _believed(claims: Claims, actor: str, tenant: str) -> Caller:
    """Development: the headers are taken at their word, and no scopes means every scope."""
    is_own = actor in (claims.actor_id, claims.server_id)
    return Caller(
        Actor(actor, roles=claims.roles, via=None if is_own else claims.server_id),
        tenant,
        frozenset(claims.scopes) or ALL_SCOPES,
        claims.jti,
    )
