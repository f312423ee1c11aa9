"""Asking before something is done that cannot be taken back."""

import sys
from typing import Annotated

import typer

from .errors import REFUSED
from .output import Output

__all__ = ["YesFlag", "confirm"]

YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to go on.")]


def confirm(out: Output, question: str, *, yes: bool) -> None:
    """Go on only where `yes` was said, or is said now. Raises `BadParameter` where nobody can be
    asked, `Exit` where the answer is no."""
    if yes:
        return
    if out.as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here whether to go on; add --yes")
    if not typer.confirm(question, err=True):
        out.note("Nothing was done.")
        raise typer.Exit(REFUSED)
