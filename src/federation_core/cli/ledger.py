"""`fedcore ledger`: verify, rebuild and copy the ledger, and take from it what auditors need."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..errors import SettingsError
from ..evidence.audit import AuditReport, audit
from ..ledger.copying import copy_ledger
from ..ledger.database import Target
from ..ledger.maintenance import rebuild as rebuild_ledger
from ..settings import Settings, parse_database
from .errors import BROKEN, REFUSED
from .groups import Command, noun
from .ledger_log import checkpoint, consistency, trust
from .makers import takes
from .output import Output
from .session import local, output
from .tables import facts

__all__ = ["app"]

app = noun("Verify and rebuild the ledger, and prove what it is.")


@app.command("verify", cls=Command)
@takes(output)
@takes(local)
def verify(
    settings: Settings,
    out: Output,
    seen: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A checkpoint that was seen before: the log must begin with it."
        ),
    ] = None,
) -> None:
    """Check the whole ledger as an auditor would.

    Every byte, chain and life, and the tree against every signed checkpoint; it names the first
    event that is wrong. It only reads, so a server may be running. Exit status 4 where anything is
    wrong.
    """
    target = _ledger(settings)
    try:
        note = seen.read_bytes() if seen is not None else None
    except OSError as e:
        raise SettingsError(f"The checkpoint {seen} cannot be read: {e.strerror}.") from e
    with _progress(out, "Verifying") as progress:
        report = audit(target, progress, seen=note)
    if report.error is not None:
        out.show(report, "THE RECORD IS BROKEN.", _place(report))
        raise typer.Exit(BROKEN)
    counts = f"{report.events} events in {report.streams} streams, {report.payloads} payloads"
    signed = (
        f"{report.checkpoints} checkpoints hold; the newest is over {report.signed} events, "
        f"witnesses: {report.witnesses}."
    )
    out.show(report, f"The record holds: {counts}.", signed, _LIMITS)


_LIMITS = "What queries read is not part of it; `fedcore ledger rebuild` checks that."


@app.command("rebuild", cls=Command)
@takes(output)
@takes(local)
def rebuild(settings: Settings, out: Output) -> None:
    """Make what queries read again from the events, and compare.

    Stop the server first. Exit status 1 where a row was not what the events say (it is now), 4
    where the events themselves do not hold; then nothing is changed.
    """
    target = _ledger(settings)
    with _progress(out, "Rebuilding") as progress:
        report = rebuild_ledger(target, progress)
    counts = facts((name, count) for name, count in report.rows.items())
    if report.differences:
        verdict = f"{len(report.differences)} rows were not what the events say; they are mended:"
    else:
        verdict = "Every row was what the events say."
    out.show(report, counts, verdict, *report.differences)
    if report.differences:
        raise typer.Exit(REFUSED)


@app.command("copy", cls=Command)
@takes(output)
@takes(local)
def copy(
    settings: Settings,
    out: Output,
    to: Annotated[
        str, typer.Option(metavar="URL", help="An empty database: postgresql://… or sqlite:///….")
    ],
) -> None:
    """Copy the whole ledger into another, empty database.

    From SQLite to PostgreSQL, or back. Stop the server first. The copy has the same bytes, hashes
    and tree root; what queries read is made anew from the events. Nothing is changed at the source,
    and nothing is kept at the target unless all of it is right. The root is told in base64, as a
    checkpoint of that many events has it.
    """
    source = _ledger(settings)
    target = parse_database(to, "--to")
    with _progress(out, "Copying") as progress:
        report = copy_ledger(source, target, progress)
    counts = facts((name, count) for name, count in report.rows.items())
    root = b64encode(bytes.fromhex(report.root)).decode()
    told = f"The copy holds the same {report.events} events under the same root {root}."
    out.show(report, counts, told)


for _command in (trust, checkpoint, consistency):
    app.command(cls=Command)(_command)


def _ledger(settings: Settings) -> Target:
    """The database; it is never made here."""
    target = settings.database
    if isinstance(target, Path) and not target.is_file():
        raise SettingsError(f"There is no ledger at {target}; name its directory with --data-dir.")
    return target


@contextmanager
def _progress(out: Output, doing: str) -> Iterator[Callable[[int, int], None]]:
    with out.progress(doing) as bar:
        task = bar.add_task(doing, total=None)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield told


def _place(report: AuditReport) -> Table:
    return facts(
        [
            ("Wrong", report.error),
            ("Kind", report.code),
            ("Stream", report.stream),
            ("Event", report.seq),
            ("Position", report.position),
        ]
    )
