"""Who calls: the bearer token of a request (RFC 6750), and the headers that name somebody."""

import time
from collections.abc import Callable

import msgspec

from ..errors import Unauthenticated
from ..identity import Caller, Mode, identify, verify_token
from .headers import Headers

__all__ = ["Auth"]


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """`now` is seconds since the epoch."""

    secret: str
    mode: Mode
    default_tenant: str
    now: Callable[[], float] = time.time

    def caller(self, headers: Headers) -> Caller:
        """Raises `Unauthenticated` without a token that can be believed, `Forbidden` for somebody
        else's name without the right to it, `InvalidInput` for what cannot be a name."""
        claims = verify_token(self.secret, _token(headers), int(self.now()))
        return identify(
            claims,
            mode=self.mode,
            default_tenant=self.default_tenant,
            header_actor=headers.text("X-Actor-Id"),
            header_tenant=headers.text("X-Tenant-Id"),
        )


def _token(headers: Headers) -> str:
    said = headers.one("Authorization")
    if said is None:
        raise Unauthenticated(
            "A token is missing; send it as Authorization: Bearer omega_….", code="token_missing"
        )
    scheme, _, token = said.decode("latin-1").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must read: Bearer omega_….")
    return token.strip()
