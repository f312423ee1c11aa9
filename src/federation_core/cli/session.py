"""What the commands are handed: a place to write, and a server to talk to."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from ..client import Client
from ..identity import ALL_SCOPES, Scope
from ..settings import Settings
from .connection import connect, read_settings
from .options import (
    ActorOption,
    DataDirOption,
    JsonFlag,
    RoleOption,
    TenantOption,
    TokenOption,
    UrlOption,
)
from .output import Output

__all__ = ["Session", "local", "output", "server"]

EVERYDAY = ALL_SCOPES - {Scope.GATE_BYPASS}


class Session(NamedTuple):
    """`actor` is who the client speaks for; None where the token keeps that to itself."""

    client: Client
    actor: str | None
    out: Output


@contextmanager
def output(*, as_json: JsonFlag = False) -> Iterator[Output]:
    """For commands that need nothing else."""
    yield Output(as_json=as_json)


@contextmanager
def local(*, data_dir: DataDirOption = None) -> Iterator[Settings]:
    """For commands that work on the data directory itself."""
    yield read_settings(data_dir)


def server(*extra: Scope) -> Callable[..., AbstractContextManager[Session]]:
    """For commands that talk to a server; `extra` scopes are asked for only where needed."""

    @contextmanager
    def make(
        *,
        url: UrlOption = None,
        token: TokenOption = None,
        data_dir: DataDirOption = None,
        actor: ActorOption = None,
        role: RoleOption = None,
        tenant: TenantOption = None,
        as_json: JsonFlag = False,
    ) -> Iterator[Session]:
        client, who = connect(
            url=url,
            token=token,
            settings=read_settings(data_dir),
            actor=actor,
            roles=role or (),
            tenant=tenant,
            scopes=EVERYDAY | set(extra),
        )
        with client:
            yield Session(client, who, Output(as_json=as_json))

    return make
