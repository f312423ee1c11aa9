"""The options of `fedcore serve`, which `fedcore settings` takes too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ..settings import Settings, load_settings
from ..telemetry.logs import LogFormat, LogLevel

__all__ = ["configuration"]


@contextmanager
def configuration(
    *,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Development: believe every caller, on loopback only; loose policy."
        ),
    ] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Default 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65_535, metavar="PORT", help="Default 9405; 0 takes a free one."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="DIR", help="Database, secret, settings; default ./.fedcore."
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="postgresql://… or sqlite:///…; default SQLite in the data directory. A password "
            "in it is seen by everybody who lists processes: better FEDCORE_DATABASE_URL.",
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="ID", help="The default tenant; default default."),
    ] = None,
    require_registration: Annotated[
        bool,
        typer.Option(
            "--require-registration", help="Refuse runs of workflows that are not registered."
        ),
    ] = False,
    log_level: Annotated[
        LogLevel | None,
        typer.Option("--log-level", help="The least that is logged; default info."),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Default auto: text at a terminal, else JSON."),
    ] = None,
    signing_key_file: Annotated[
        Path | None,
        typer.Option(
            "--signing-key-file",
            metavar="FILE",
            help="The key of the log; default signing.key in the data directory.",
        ),
    ] = None,
    witnesses: Annotated[
        list[str] | None,
        typer.Option(
            "--witnesses",
            metavar="'URL VKEY'",
            help="Who cosigns checkpoints; may be repeated. Default: nobody.",
        ),
    ] = None,
    policy_dir: Annotated[
        Path | None,
        typer.Option("--policy-dir", metavar="DIR", help="The policy bundle to start with."),
    ] = None,
    workflow_dir: Annotated[
        Path | None,
        typer.Option("--workflow-dir", metavar="DIR", help="Workflow files to register at start."),
    ] = None,
    http_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--http-allow",
            metavar="HOST[:PORT]",
            help="Where http steps may go; may be repeated; * is a wildcard. Default: nowhere.",
        ),
    ] = None,
    python_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--python-allow",
            metavar="MODULE",
            help="Which modules python steps may call; may be repeated. Default: none.",
        ),
    ] = None,
    node_lease: Annotated[
        int | None,
        typer.Option(
            "--node-lease",
            metavar="SECONDS",
            help="After how long a node that is not heard of counts as dead; default 10.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="NAME", help="local or restate; default local."),
    ] = None,
    restate_url: Annotated[
        str | None,
        typer.Option(
            "--restate-url",
            metavar="URL",
            help="Restate's ingress; default http://127.0.0.1:8080.",
        ),
    ] = None,
    restate_admin_url: Annotated[
        str | None,
        typer.Option(
            "--restate-admin-url",
            metavar="URL",
            help="Restate's admin API; default port 9070 beside the ingress.",
        ),
    ] = None,
    restate_endpoint: Annotated[
        str | None,
        typer.Option(
            "--restate-endpoint",
            metavar="URL",
            help="Where Restate reaches the /restate of this server, or of the load balancer "
            "before it; default this server, where both are on one machine.",
        ),
    ] = None,
) -> Iterator[Settings]:
    """Settings from the command line, the environment and the file."""
    given = {
        "dev": dev or None,
        "host": host,
        "port": port or None,
        "data_dir": data_dir,
        "database_url": database_url,
        "tenant": tenant,
        "require_registration": require_registration or None,
        "log_level": log_level,
        "log_format": log_format,
        "signing_key_file": signing_key_file,
        "witnesses": ",".join(witnesses) if witnesses else None,
        "policy_dir": policy_dir,
        "workflow_dir": workflow_dir,
        "http_allow": ",".join(http_allow) if http_allow else None,
        "python_allow": ",".join(python_allow) if python_allow else None,
        "node_lease": node_lease,
        "engine": engine,
        "restate_url": restate_url,
        "restate_admin_url": restate_admin_url,
        "restate_endpoint": restate_endpoint,
    }
    settings = load_settings(given, os.environ)
    yield settings if port != 0 else _on_a_free_port(settings)


def _on_a_free_port(settings: Settings) -> Settings:
    """Settings name the port that clients are told of, so 0 is for the command line alone."""
    origins = settings.origins | {"port": "command line"}
    return msgspec.structs.replace(settings, port=0, origins=origins)
