"""Bearer tokens: `omega_<payload>.<signature>`.

Payload: base64url without padding of JSON such as

    {"server_id":"titan-1","scopes":["workflow:read"],"iat":1700000000,"exp":1700003600,"jti":"7c"}

with `tenant_id`, `actor_id` and `roles` where they are asserted. Signature: base64url without
padding of HMAC-SHA256 (RFC 2104) over the payload as encoded, keyed with the secret as it stands.
"""

import binascii
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import msgspec

from ..errors import InvalidInput, Unauthenticated
from ..spine.canonical import parse
from .ids import ActorId, TenantId

__all__ = ["CLOCK_SKEW_S", "MAX_TOKEN_BYTES", "Claims", "issue_token", "verify_token"]

MAX_TOKEN_BYTES = 8 * 1024
CLOCK_SKEW_S = 60
_PREFIX = "omega_"

_Seconds = Annotated[int, msgspec.Meta(ge=0)]
_TokenId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a token asserts. `iat` and `exp` are seconds since the epoch; `jti` names the token.

    `actor_id` is who acts where that is not the server itself.
    """

    server_id: ActorId
    scopes: tuple[str, ...]
    iat: _Seconds
    exp: _Seconds
    jti: _TokenId
    tenant_id: TenantId | None = None
    actor_id: ActorId | None = None
    roles: tuple[str, ...] = ()


def issue_token(secret: bytes | str, claims: Claims) -> str:
    """Raises `InvalidInput` for claims that `verify_token` would refuse as malformed."""
    try:
        msgspec.convert(msgspec.to_builtins(claims), Claims)
    except msgspec.ValidationError as e:
        raise InvalidInput(f"The claims are refused: {e}.") from e
    payload = _encode(msgspec.json.encode(claims))
    token = f"{_PREFIX}{payload}.{_sign(secret, payload)}"
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidInput(f"The token is {len(token)} bytes; at most {MAX_TOKEN_BYTES} may be.")
    return token


def verify_token(secret: bytes | str, token: str, now: int) -> Claims:
    """The claims of a token that is genuine and valid at `now` (seconds since the epoch).

    Raises `Unauthenticated`, whose detail says which of the checks failed and nothing else.
    """
    payload, signature = _split(token)
    if not hmac.compare_digest(_sign(secret, payload), signature):
        raise Unauthenticated("The token's signature does not match; it must be made with ours.")
    claims = _claims(payload)
    if claims.exp <= now:
        raise Unauthenticated(f"The token expired {now - claims.exp} seconds ago; get a new one.")
    if claims.iat > now + CLOCK_SKEW_S:
        raise Unauthenticated(
            f"The token is not valid for another {claims.iat - now} seconds; "
            "check the clock of whoever issued it."
        )
    return claims


def _split(token: str) -> tuple[str, str]:
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"The token is over {MAX_TOKEN_BYTES} bytes; a shorter one is due.")
    if not token.isascii() or not token.startswith(_PREFIX) or token.count(".") != 1:
        raise Unauthenticated("The token is malformed; it must read omega_<payload>.<signature>.")
    payload, _, signature = token.removeprefix(_PREFIX).partition(".")
    return payload, signature


def _claims(payload: str) -> Claims:
    try:
        return msgspec.convert(parse(_decode(payload)), Claims)
    except InvalidInput as e:
        raise Unauthenticated(f"The token's payload is malformed: {e.detail}") from e
    except msgspec.ValidationError as e:
        raise Unauthenticated(f"The token's claims are malformed: {e}.") from e


def _sign(secret: bytes | str, payload: str) -> str:
    key = os.fsencode(secret)  # a secret from the environment keeps the bytes it had there
    return _encode(hmac.digest(key, payload.encode(), "sha256"))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """The one text of each byte string: no padding, no other alphabet, no stray bits at the end."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as e:
        raise InvalidInput(f"it is not base64url: {e}.") from e
    if _encode(data) != text:
        raise InvalidInput("it is not base64url as RFC 4648 writes it, without padding.")
    return data
