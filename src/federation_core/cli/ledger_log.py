"""What an auditor takes from the log: whom to trust, what was signed, and that it only grew."""

from typing import Annotated

import msgspec
import typer

from .makers import takes
from .saving import OutOption, tell
from .session import Session, server

__all__ = ["checkpoint", "consistency", "trust"]


@takes(server())
def trust(session: Session, target: OutOption = None) -> None:
    """Print the trust file of the log, for auditors.

    It is for `fedcore verify --trust`. They get it once, by another way than the packs.
    """
    text = session.client.trust()
    tell(session.out, {"trust": text}, text, target)


@takes(server())
def checkpoint(session: Session, target: OutOption = None) -> None:
    """Print the newest checkpoint of the log.

    It is for `fedcore verify --seen`. Its second line is how many events the log has.
    """
    text = session.client.checkpoint()
    tell(session.out, {"checkpoint": text}, text, target)


@takes(server())
def consistency(
    session: Session,
    *,
    old: Annotated[
        int, typer.Option("--from", min=1, metavar="N", help="The size of the older checkpoint.")
    ],
    new: Annotated[
        int | None,
        typer.Option(
            "--to", min=1, metavar="M", help="That of the newer; default the newest there is."
        ),
    ] = None,
    target: OutOption = None,
) -> None:
    """Print the proof that the log was only added to.

    It is for `fedcore verify --consistency`; then --to is the size of the checkpoint in the pack.
    """
    text = session.client.consistency(old, new)
    tell(session.out, msgspec.json.decode(text), text, target)
