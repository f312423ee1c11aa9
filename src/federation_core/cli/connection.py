"""Finding the server, and who the caller is to it."""

import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import typer

from ..client import Client
from ..errors import FederationError, SettingsError
from ..identity import Claims, check_actor, issue_token, load_or_create_secret
from ..settings import Settings, load_settings

__all__ = ["OWN_TOKEN_S", "connect", "named", "own_actor", "read_settings", "secret_of", "url_of"]

OWN_TOKEN_S = 300
SECRET_FILE = "secret.key"  # noqa: S105 (a name)
_SERVER_ID = "fedcore-cli"


def read_settings(data_dir: Path | None = None) -> Settings:
    """As the server would read them. Raises `SettingsError`."""
    return load_settings({"data_dir": data_dir}, os.environ)


def url_of(settings: Settings) -> str:
    """Where a server with these settings is reached from this machine."""
    host = settings.host
    with suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            address = ip_address("::1" if address.version == 6 else "127.0.0.1")
        host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{settings.port}"


def secret_of(settings: Settings) -> str:
    """The secret that the server's tokens are made with. Raises `SettingsError` where there is
    none to be read; it is never made here, for no server would know it."""
    if settings.secret_key is not None:
        return settings.secret_key
    path = settings.data_dir / SECRET_FILE
    if not os.access(path, os.R_OK):
        raise SettingsError(
            f"There is no secret to be read in {settings.data_dir}: give --token, or the "
            "--data-dir of a server that has been started.",
            code="no_token",
        )
    return load_or_create_secret(path)


def own_actor() -> str:
    """$USER where that can name an actor, else `cli`."""
    with suppress(FederationError):
        return check_actor(os.environ.get("USER", ""))
    return "cli"


def connect(
    *,
    url: str | None,
    token: str | None,
    settings: Settings,
    actor: str | None,
    roles: Collection[str],
    tenant: str | None,
    scopes: Collection[str],
) -> tuple[Client, str | None]:
    """A client, and the actor that it speaks for where that is known.

    A token given is used as it is, with `actor` and `tenant` as headers; without one, tokens are
    issued with the settings' secret. Raises `SettingsError` where that cannot be done.
    """
    if actor is not None:
        named(actor)
    if token is not None:
        if roles:
            raise typer.BadParameter("a token given says its roles itself", param_hint="--role")
        client = _client(url or url_of(settings), _plain(token), actor=actor, tenant=tenant)
        return client, actor or _bearer(token)
    name = actor or own_actor()
    secret = secret_of(settings)
    issue = _issuer(secret, name, tuple(roles), tenant, tuple(sorted(scopes)))
    return _client(url or url_of(settings), issue), name


def _issuer(
    secret: str, actor: str, roles: tuple[str, ...], tenant: str | None, scopes: tuple[str, ...]
) -> Callable[[], str]:
    """Makes a fresh token for each request, so that a command may outlive one."""

    def issue() -> str:
        now = int(time.time())
        claims = Claims(
            server_id=_SERVER_ID,
            scopes=scopes,
            iat=now,
            exp=now + OWN_TOKEN_S,
            jti=uuid4().hex,
            tenant_id=tenant,
            actor_id=actor,
            roles=roles,
        )
        return issue_token(secret, claims)

    return issue


def _client(
    url: str,
    token: str | Callable[[], str],
    *,
    actor: str | None = None,
    tenant: str | None = None,
) -> Client:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter("it must begin with http:// or https://", param_hint="--url")
    try:
        return Client(url, token, actor=actor, tenant=tenant)
    except httpx.InvalidURL as e:
        raise typer.BadParameter(str(e), param_hint="--url") from e


def named(actor: str) -> None:
    """Raises `BadParameter` for what cannot name an actor."""
    try:
        check_actor(actor)
    except FederationError as e:
        raise typer.BadParameter(e.detail, param_hint="--actor") from e


def _plain(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise typer.BadParameter("it must read omega_<payload>.<signature>", param_hint="--token")
    return token


class _Bearer(msgspec.Struct):
    server_id: str | None = None
    actor_id: str | None = None


def _bearer(token: str) -> str | None:
    """Whom a token says it speaks for; the server alone can tell whether that is true."""
    payload, _, _ = token.removeprefix("omega_").partition(".")
    with suppress(ValueError, msgspec.MsgspecError):
        padded = payload + "=" * (-len(payload) % 4)
        found = msgspec.json.decode(urlsafe_b64decode(padded), type=_Bearer)
        return found.actor_id or found.server_id
    return None
