"""`fedcore prove`: run the proof campaign."""

from pathlib import Path
from typing import Annotated

import typer

from .groups import verb
from .makers import takes
from .output import Output
from .session import output

__all__ = ["app"]


@takes(output)
def prove(
    out: Output,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")
    ] = Path("REPORT/PROOFS"),
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="A running server; default its own, with fresh data."
        ),
    ] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Commit the report to git, locally.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="NAME", help="Tag that commit; implies --commit.")
    ] = None,
) -> None:
    """Run the proof campaign and write its report.

    A run that succeeds, one that policy flags and people approve, and one that policy denies, over
    HTTP against a live server; then the proof that a changed byte is found. Exit status 0 only
    where everything held.
    """
    from ..proofs.campaign import prove as run_campaign

    console = out.aside if out.as_json else out.console
    status = run_campaign(folder, url, commit, tag, console)
    if out.as_json:
        out.show({"proved": status == 0, "report": str(folder)})
    if status:
        raise typer.Exit(status)


app = verb(prove)
