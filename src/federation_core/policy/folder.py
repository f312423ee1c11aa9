"""Bundles on disk: the only I/O of this package."""

import os
import stat
from pathlib import Path
from typing import Final

from ..errors import SettingsError
from .bundle import MAX_FILE_BYTES, MAX_FILES, file_problem

__all__ = ["SHIPPED", "read_bundle_folder", "shipped_bundle"]

SHIPPED: Final = ("loose", "strict")

_BUNDLES = Path(__file__).parent / "bundles"


def read_bundle_folder(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The files of a bundle by name. Raises `SettingsError` for a link, a folder in the folder,
    a name that no bundle has, a file over 256 KiB, or what cannot be read."""
    folder = Path(path)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
        if len(names) > MAX_FILES:
            raise SettingsError(
                f"{folder} has {len(names)} files; a bundle has at most {MAX_FILES}."
            )
        return {name: _read(folder / name) for name in names}
    except OSError as e:
        raise SettingsError(f"The policy bundle {folder} cannot be read: {e.strerror}.") from e


def _read(path: Path) -> bytes:
    _require(path, file_problem(path.name, 0))
    kind = path.lstat().st_mode
    if stat.S_ISLNK(kind):
        raise SettingsError(f"{path} is a link; a bundle's files must stand in its folder.")
    if not stat.S_ISREG(kind):
        raise SettingsError(f"{path} is not a file; a bundle is one flat folder of files.")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    _require(path, file_problem(path.name, len(data)))
    return data


def _require(path: Path, problem: str | None) -> None:
    if problem is not None:
        raise SettingsError(f"{path} cannot be in a bundle: {problem}.")


def shipped_bundle(name: str) -> dict[str, bytes]:
    """The files of `loose` or `strict`. Raises `SettingsError` for any other name."""
    if name not in SHIPPED:
        raise SettingsError(f"There is no shipped bundle {name!r}; there are {', '.join(SHIPPED)}.")
    return read_bundle_folder(_BUNDLES / name)
