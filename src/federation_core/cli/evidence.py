"""`fedcore evidence`: take evidence away, for people who trust nobody."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ..client import Client, Download
from .groups import Command, noun
from .makers import takes
from .output import Output
from .saving import OutOption, saving, tell
from .session import Session, server
from .tables import facts

__all__ = ["app"]

app = noun("Take evidence of runs away, to be verified elsewhere.")

_MIB = 1 << 20


@app.command("export", cls=Command)
@takes(server())
def export(
    session: Session,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The id of the run; none with a set.")
    ] = None,
    *,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="A set: ended runs with this tag.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="A set: ended runs created since then, such as 2026-11-23T12:00:00Z.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            dir_okay=False,
            metavar="FILE",
            help="Default: <run>.evidence.zip, or runs.evidence.zip.",
        ),
    ] = None,
    no_payloads: Annotated[
        bool, typer.Option("--no-payloads", help="Hashes alone, without any value.")
    ] = False,
    sensitive: Annotated[
        bool,
        typer.Option("--sensitive", help="The values of sensitive steps too; it needs admin."),
    ] = False,
) -> None:
    """Write the evidence pack of a run, or of a set of ended runs.

    The file appears once all of it is there. Without --out, another one under its name is kept, and
    the exit status is 1. `fedcore verify` verifies it, and so does the verify.py inside it.
    """
    if (run_id is None) == (tag is None and since is None):
        raise typer.BadParameter("name a run, or a set with --tag or --since")
    if no_payloads and sensitive:
        raise typer.BadParameter("--sensitive adds payloads, --no-payloads leaves them out")
    file = target or Path(f"{_plain(run_id or 'runs')}.evidence.zip")
    asked = _ask(session.client, run_id, tag, since, payloads=not no_payloads, sensitive=sensitive)
    with saving(file, replace=target is not None) as part:
        with asked as found:
            for chunk in _tracked(session.out, found):
                part.write(chunk)
        size = part.tell()
    value = {"file": str(file), "size_bytes": size, "evidence_pack_hash": found.etag}
    told = facts([("File", file), ("Bytes", size), ("Pack hash", found.etag)])
    session.out.show(value, told)


def _ask(
    client: Client,
    run_id: str | None,
    tag: str | None,
    since: str | None,
    *,
    payloads: bool,
    sensitive: bool,
) -> AbstractContextManager[Download]:
    if run_id is not None:
        return client.evidence(run_id, payloads=payloads, sensitive=sensitive)
    return client.evidence_of_many(tag=tag, since=since, payloads=payloads, sensitive=sensitive)


def _plain(name: str) -> str:
    """What was typed, as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "_", name)


def _tracked(out: Output, found: Download) -> Iterator[bytes]:
    """The chunks, told of in MiB."""
    with out.progress("Receiving (MiB)") as bar:
        task = bar.add_task("", total=None if found.size is None else found.size // _MIB)
        received = 0
        for chunk in found.chunks:
            yield chunk
            received += len(chunk)
            bar.update(task, completed=received // _MIB)


@app.command("receipt", cls=Command)
@takes(server())
def receipt(
    session: Session,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")],
    target: OutOption = None,
) -> None:
    """Print the signed receipt of a run that has ended.

    The workflow receipt in a DSSE envelope, signed with the key of the log.
    """
    text = session.client.receipt(run_id)
    tell(session.out, msgspec.json.decode(text), text, target)
