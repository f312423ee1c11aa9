"""`fedcore verify`: the verifier that travels in every pack, as a command."""

from pathlib import Path
from typing import Annotated

import typer

from ..evidence.verify import main as verify_pack
from .groups import verb
from .options import JsonFlag

__all__ = ["app"]

_File = Path | None


def verify(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="The evidence pack, a zip.")],
    *,
    trust: Annotated[
        _File,
        typer.Option(
            "--trust",
            metavar="FILE",
            help="Whom you trust: `fedcore ledger trust`, got by another way than the pack.",
        ),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="The run that it must be about.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="ID", help="The tenant that it must be of.")
    ] = None,
    seen: Annotated[
        _File,
        typer.Option(
            "--seen",
            metavar="FILE",
            help="A checkpoint that you saw before: history must only have been added to.",
        ),
    ] = None,
    consistency: Annotated[
        _File,
        typer.Option(
            "--consistency",
            metavar="FILE",
            help="The proof between the two, from `fedcore ledger consistency`.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify an evidence pack; it needs no server.

    It is the verify.py inside every pack, and reads no settings. Exit status: 0 valid, 1 invalid,
    2 a file that cannot be read, 3 nothing was verified because nobody is trusted, 4 nothing is
    wrong, but something is missing.
    """
    named = {
        "trust": trust,
        "run": run_id,
        "tenant": tenant,
        "seen": seen,
        "consistency": consistency,
    }
    options = [f"--{name}={value}" for name, value in named.items() if value is not None]
    if as_json:
        options.append("--json")
    try:
        status = verify_pack([*options, "--", str(pack)])
    except SystemExit as e:  # as argparse leaves
        status = e.code if isinstance(e.code, int) else 2
    if status:
        raise typer.Exit(status)


app = verb(verify)
