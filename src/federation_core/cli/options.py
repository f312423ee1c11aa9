"""Options that more than one command has, each described once."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "ActorOption",
    "DataDirOption",
    "JsonFlag",
    "RoleOption",
    "TenantOption",
    "TokenOption",
    "UrlOption",
]

_CONNECTION = "Connection"

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON value instead of text for people.")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FEDCORE_DATA_DIR",
        metavar="DIR",
        rich_help_panel=_CONNECTION,
        help="Where the server keeps its data; default ./.fedcore.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FEDCORE_URL",
        metavar="URL",
        rich_help_panel=_CONNECTION,
        help="The server; default this machine, at the port of the settings.",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="FEDCORE_TOKEN",
        metavar="TOKEN",
        rich_help_panel=_CONNECTION,
        help="Who you are to the server. Without one, and where the secret in the data directory "
        "can be read, the command issues itself a token for five minutes, with every scope that "
        "it may need.",
    ),
]
ActorOption = Annotated[
    str | None,
    typer.Option(
        "--actor",
        metavar="ID",
        rich_help_panel=_CONNECTION,
        help="Who acts; default whom the token names, or $USER, or cli.",
    ),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="NAME",
        rich_help_panel=_CONNECTION,
        help="A role of the actor, for the token that the command issues itself; may be repeated.",
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="ID", rich_help_panel=_CONNECTION, help="Whose data; default yours."
    ),
]
