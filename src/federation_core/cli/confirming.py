"""Before something is done that cannot be taken back: asking whether to, and a reason that will say
something to who reads the record."""

import sys
from typing import Annotated

import typer

from ..errors import InvalidInput
from .errors import REFUSED
from .output import Output

__all__ = ["MIN_REASON", "YesFlag", "check_reason", "confirm"]

MIN_REASON = 8
"""Characters; it is the server that refuses a shorter one, and a test compares."""

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


def check_reason(reason: str) -> None:
    """Raises `InvalidInput` where the server would refuse `reason` as too short, so that nobody is
    asked in vain."""
    if len(reason) < MIN_REASON:
        raise InvalidInput(
            f"The reason {reason!r} is too short: it stays on record for good, so it must have at "
            f"least {MIN_REASON} characters.",
            code="reason_too_short",
        )
