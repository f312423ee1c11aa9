"""`fedcore keys`: the keys that sign for the log."""

from typing import Annotated, Any

import typer

from .confirming import YesFlag, confirm
from .groups import Command, noun
from .makers import takes
from .session import Session, server
from .tables import fixed, folded, table

__all__ = ["app"]

app = noun("See and rotate the keys that sign for the log.")


@app.command("show", cls=Command)
@takes(server())
def show(session: Session) -> None:
    """Show the keys of the log, the oldest first.

    Each signs trees of certain sizes; that which signs now has no last one.
    """
    found = session.client.keys()
    columns = [folded("KEY"), fixed("FROM SIZE", right=True), fixed("TO SIZE", right=True)]
    session.out.show(found, table(columns, map(_row, found)))


@app.command("rotate", cls=Command)
@takes(server())
def rotate(
    session: Session,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the log.")
    ] = None,
    yes: YesFlag = False,
) -> None:
    """Make a new key, and let it sign from now on.

    The present one signs nothing more, and auditors need the new trust file. Where the key comes
    from the settings it is rotated there, and this is refused.
    """
    confirm(session.out, "Rotate the key of the log? It cannot be undone.", yes=yes)
    made = session.client.rotate_key(reason)
    told = f"{made['key']} signs from {made['from_size']} events on."
    session.out.show(made, told)
    session.out.note("Auditors need the new trust file: see `fedcore ledger trust`.")


def _row(key: dict[str, Any]) -> list[Any]:
    return [key["key"], key["from_size"], "now" if key["to_size"] is None else key["to_size"]]
