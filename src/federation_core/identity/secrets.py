"""The secret of the tokens, kept in a file that only its owner can read."""

import os
import stat
import tempfile
from pathlib import Path
from secrets import token_urlsafe

from ..errors import SettingsError

__all__ = ["load_or_create_secret"]


def load_or_create_secret(path: Path) -> str:
    """The secret in `path`; where there is no such file, 256 fresh random bits are put there.

    A file that others can read, that is empty or that is no plain file raises `SettingsError`.
    Processes that start together agree on one secret: it appears whole, once, or not at all.
    """
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"The secret in {path} cannot be read or made: {e}.") from e


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # O_EXCL, mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first; its secret is the one
    finally:
        Path(draft).unlink()


def _load(path: Path) -> str:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{path} must be a plain file that holds the secret.")
    if mode & 0o077:
        raise SettingsError(f"{path} is open to others than its owner; run `chmod 600 {path}`.")
    secret = path.read_text("utf-8").rstrip("\n")
    if not secret:
        raise SettingsError(f"{path} is empty; remove it, and a new secret is made.")
    return secret
