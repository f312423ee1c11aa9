"""`fedcore keys`: the keys that sign for the log."""

from typing import Annotated, Any

import typer

from .confirming import YesFlag, confirm
from .groups import Command, noun
from .makers import takes
from .session import Session, server

__all__ = ["app"]

app = noun("See and rotate the keys that sign for the log.")


@app.command("show", cls=Command)
@takes(server())
def show(session: Session) -> None:
    """Show the keys of the log, the oldest first.

    Each signs trees of certain sizes; that which signs now has no last one.
    """
    found = session.client.keys()
    session.out.show(found, *_lines(found))


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


def _lines(keys: list[dict[str, Any]]) -> list[str]:
    """A line each, the key last and whole however narrow the terminal is: it is there to be
    copied."""
    rows = [("FROM SIZE", "TO SIZE", "KEY")]
    for key in keys:
        until = "now" if key["to_size"] is None else str(key["to_size"])
        rows.append((str(key["from_size"]), until, key["key"]))
    first, second = (max(len(row[n]) for row in rows) for n in (0, 1))
    return [f"{start:>{first}}  {until:>{second}}  {key}" for start, until, key in rows]
