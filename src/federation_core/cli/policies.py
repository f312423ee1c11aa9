"""`fedcore policy`: check, list and activate policy bundles."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..errors import InvalidInput, SettingsError
from ..policy import Bundle, check_bundle, load_bundle, read_bundle_folder
from .errors import REFUSED
from .groups import Command, noun
from .makers import takes
from .output import Output
from .session import Session, output, server
from .tables import cell, colored, facts, fixed, folded, moment, short, table

__all__ = ["app"]

app = noun("Check, list and activate policy bundles.")

_Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="The bundle: a folder with bundle.yaml and *.cedar.",
    ),
]


@app.command("check", cls=Command)
@takes(output)
def check(out: Output, folder: _Folder) -> None:
    """Say what is wrong with a policy bundle.

    One line each, `file: what is wrong`. Exit status 1 where there is any.
    """
    files, problems = _read(folder)
    if problems:
        out.show({"ok": False, "problems": problems}, *problems)
        raise typer.Exit(REFUSED)
    bundle = load_bundle(files)
    value = {
        "ok": True,
        "problems": [],
        "bundle_id": bundle.bundle_id,
        "version": bundle.version,
        "bundle_hash": bundle.bundle_hash,
        "mode": bundle.mode,
        "policies": [policy.id for policy in bundle.policies],
    }
    out.show(value, _facts(bundle), "", _policies(bundle))


@app.command("list", cls=Command)
@takes(server())
def list_(session: Session) -> None:
    """List the bundles that were activated, the oldest first; the active one decides."""
    found = session.client.policies()
    columns = [folded("BUNDLE"), folded("VERSION"), fixed("MODE"), fixed("HASH"), folded("BY")]
    columns += [fixed("SINCE"), fixed("")]
    rows = [
        [
            a["bundle_id"],
            a["version"],
            a["mode"],
            short(a["bundle_hash"]),
            a["activated_by"],
            moment(a["activated_at"]),
            colored("active") if a["active"] else cell(" "),
        ]
        for a in found
    ]
    session.out.show(found, table(columns, rows) if rows else "No policy bundle is active.")


@app.command("activate", cls=Command)
@takes(server())
def activate(session: Session, folder: _Folder) -> None:
    """Make a bundle the one that decides, from the next decision on.

    The bundle that decides now must allow it.
    """
    files, problems = _read(folder)
    if problems:
        raise InvalidInput(f"{problems[0]} (`fedcore policy check {folder}` tells all).")
    made = session.client.activate_policy({name: data.decode() for name, data in files.items()})
    told = f"Bundle {made['bundle_id']} {made['version']} ({short(made['bundle_hash'])}) decides."
    session.out.show(made, told)


def _read(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files of a bundle, and all that is wrong with them."""
    try:
        files = read_bundle_folder(folder)
    except SettingsError as e:
        return {}, [e.detail]
    return files, [f"{folder}/{problem}" for problem in check_bundle(files)]


def _facts(bundle: Bundle) -> Table:
    return facts(
        [
            ("Bundle", f"{bundle.bundle_id} {bundle.version}"),
            ("Mode", bundle.mode),
            ("Hash", bundle.bundle_hash),
            ("About", bundle.description),
        ]
    )


def _policies(bundle: Bundle) -> Table:
    columns = [folded("POLICY"), fixed("EFFECT"), fixed("TIER", right=True), folded("REASON")]
    rows = [[p.id, colored(p.effect), p.tier, p.reason] for p in bundle.policies]
    return table(columns, rows)
