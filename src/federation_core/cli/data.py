"""`fedcore data`: erase values, and leave on record that it was done."""

from typing import Annotated

import typer

from .confirming import MIN_REASON, YesFlag, check_reason, confirm
from .groups import Command, noun
from .makers import takes
from .session import Session, server
from .tables import fixed, table

__all__ = ["app"]

app = noun("Erase values that runs took and gave.")


@app.command("erase", cls=Command)
@takes(server())
def erase(
    session: Session,
    *,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Every payload of this ended run.")
    ] = None,
    payload_hash: Annotated[
        str | None,
        typer.Option("--payload", metavar="HASH", help="This payload, in every run that has it."),
    ] = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help=f"Why, in at least {MIN_REASON} characters; it is kept for ever, so it must not "
            "repeat what is erased.",
        ),
    ],
    yes: YesFlag = False,
) -> None:
    """Erase payloads for good; it needs admin.

    The hashes stay, so the record still verifies, and it says who erased what, and why. Packs that
    were taken away before are not reached.
    """
    if (run_id is None) == (payload_hash is None):
        raise typer.BadParameter("name what to erase with --run or --payload, one of them")
    check_reason(reason)
    what = f"every payload of run {run_id}" if run_id else f"payload {payload_hash}"
    confirm(session.out, f"Erase {what}? It cannot be undone.", yes=yes)
    made = session.client.erase(run_id=run_id, payload_hash=payload_hash, reason=reason)
    rows = [[run, len(hashes)] for run, hashes in made["payloads"].items()]
    session.out.show(made, table([fixed("RUN"), fixed("PAYLOADS ERASED", right=True)], rows))
