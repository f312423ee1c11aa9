"""Files that commands write: whole and durable, or not at all."""

import filecmp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import uuid4

import typer

from ..errors import Conflict
from .output import Output

__all__ = ["OutOption", "saving", "tell"]

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", dir_okay=False, metavar="FILE", help="Write it there; default: print it."
    ),
]


@contextmanager
def saving(target: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `target` in one step once all of it is on disk; where that
    fails nothing of it is left. Without `replace` a `target` that is there already must be equal.

    Raises `Conflict` where it is not, `OSError`.
    """
    part = target.with_name(f"{target.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not replace and target.exists() and not filecmp.cmp(part, target, shallow=False):
            raise Conflict(
                f"{target} is there already and differs; to put this one in its place, or "
                "elsewhere, name a file with -o.",
                code="file_exists",
            )
        part.replace(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def tell(out: Output, value: Any, text: str, target: Path | None) -> None:
    """Print `text`, or write it to `target` byte for byte; `value` is what programs are told of
    what was printed."""
    if target is None:
        out.show(value, text.removesuffix("\n"))
        return
    with saving(target) as file:
        file.write(text.encode())
    out.show({"file": str(target)}, f"{target} is written.")


def _sync(folder: Path) -> None:
    """Makes the new name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
