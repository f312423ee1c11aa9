"""The root of the command line."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from .. import __version__
from .errors import INTERRUPTED, report
from .groups import LazyGroup

__all__ = ["app", "main", "root", "run"]


class _Root(LazyGroup):
    modules = {  # noqa: RUF012 (declared in LazyGroup)
        "serve": ("serve", "Run the server."),
        "runs": ("runs", "Start, follow and steer runs."),
        "gates": ("gates", "See what waits for people, and answer it."),
        "workflow": ("workflows", "Check and register workflow files."),
        "schedule": ("schedules", "Start runs at set times."),
        "policy": ("policies", "Check, list and activate policy bundles."),
        "evidence": ("evidence", "Take evidence of runs away, to be verified elsewhere."),
        "verify": ("verify", "Verify an evidence pack; it needs no server."),
        "ledger": ("ledger", "Verify and rebuild the ledger, and prove what it is."),
        "keys": ("keys", "See and rotate the keys that sign for the log."),
        "data": ("data", "Erase values that runs took and gave."),
        "witness": ("witness", "Run a witness, which cosigns the checkpoints of logs."),
        "token": ("tokens", "Issue tokens."),
        "prove": ("prove", "Run the proof campaign and write its report."),
        "settings": ("settings", "Show each setting and where it comes from."),
        "version": ("version", "Show which version this is."),
    }


app = typer.Typer(cls=_Root, name="fedcore", rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Governed workflows: a policy decision before every step, people at the gates, and a ledger
    that answers for it.

    Start with `fedcore serve --dev`. Exit status: 0 all is well, 1 refused or failed, 2 wrong
    usage, 3 no server or something for the operator to mend, 4 the record is broken.
    """


def root() -> Any:
    """The command behind `app`."""
    return get_command(app)


def run(args: Sequence[str]) -> int:
    """Run one command line (without the program's name); the exit status."""
    try:
        status = root().main(list(args), prog_name="fedcore", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as e:
        return report(e, as_json="--json" in args)
    return status if isinstance(status, int) else 0


def main() -> NoReturn:
    """The program `fedcore`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal is told all the same
    status = run(sys.argv[1:])
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:  # whoever read our output is gone
        status = status or 1
    # The interpreter is not torn down: threads of the HTTP server and of steps that were cut off
    # may still run, and would delay that, or abort the process in the middle of it.
    os._exit(status)
