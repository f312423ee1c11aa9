"""`fedcore token`: issue tokens."""

import difflib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from ..errors import InvalidInput
from ..identity import ALL_SCOPES, Claims, Scope, issue_token
from ..settings import Settings
from .connection import named, secret_of
from .groups import Command, noun
from .inputs import seconds
from .makers import takes
from .output import Output
from .session import local, output

__all__ = ["app"]

app = noun("Issue tokens.")

_USUAL = (Scope.WORKFLOW_READ, Scope.WORKFLOW_WRITE, Scope.GATE_READ, Scope.GATE_WRITE)


@app.command("issue", cls=Command)
@takes(output)
@takes(local)
def issue(
    settings: Settings,
    out: Output,
    *,
    actor: Annotated[str, typer.Option("--actor", metavar="ID", help="Who acts with it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it is good for; may be repeated. Default: workflow:read, workflow:write, "
            "gate:read, gate:write.",
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="NAME", help="A role of the actor; may be repeated."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="ID", help="Default: the server's.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it is good: 30m, 8h, 7d.")
    ] = "8h",
    server_id: Annotated[
        str, typer.Option("--server-id", metavar="ID", help="Which system it is given to.")
    ] = "fedcore-cli",
) -> None:
    """Issue a token with the secret in the data directory.

    The token alone goes to standard output, so that a script can keep it:
    FEDCORE_TOKEN=$(fedcore token issue --actor alice).
    """
    named(actor)
    now = int(time.time())
    claims = Claims(
        server_id=server_id,
        scopes=_checked(scope or _USUAL),
        iat=now,
        exp=now + seconds(expires, "--expires"),
        jti=uuid4().hex,
        tenant_id=tenant,
        actor_id=actor,
        roles=tuple(role or ()),
    )
    secret = secret_of(settings)
    try:
        token = issue_token(secret, claims)
    except InvalidInput as e:
        raise typer.BadParameter(e.detail) from e
    until = datetime.fromtimestamp(claims.exp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = {
        "token": token,
        "actor_id": actor,
        "tenant_id": tenant,
        "roles": list(claims.roles),
        "scopes": list(claims.scopes),
        "expires_at": until,
    }
    out.show(value, token)
    out.note(f"Good until {until} for {actor}: {', '.join(claims.scopes)}.")


def _checked(scopes: Iterable[str]) -> tuple[str, ...]:
    for scope in scopes:
        if scope not in ALL_SCOPES:
            near = difflib.get_close_matches(scope, ALL_SCOPES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(Scope)}"
            raise typer.BadParameter(f"{scope!r} is no scope; {hint}", param_hint="--scope")
    return tuple(str(scope) for scope in scopes)
