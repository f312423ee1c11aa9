"""The seed of an Ed25519 signing key, kept in a file that only its owner can read.

The file is one line: 32 bytes in base64, of either alphabet (RFC 4648 sections 4 and 5), with or
without padding. Who signs with the seed gives the key its name; the file knows none.
"""

import os
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from pathlib import Path

from ..errors import SettingsError
from .secrets import load_or_create_secret

__all__ = ["load_or_create_seed"]

_SEED_SIZE = 32
_DIGITS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


def load_or_create_seed(path: Path) -> bytes:
    """The 32 bytes in `path`; where there is no such file, fresh random ones are put there.

    Once this has returned, a crash of the machine does not lose the file either: what a lost key
    has signed could not be gone on with. Raises `SettingsError` for a file that others can read,
    that is no plain file, or that does not hold 32 bytes in base64. Processes that start together
    agree on one seed.
    """
    text = load_or_create_secret(path)  # 256 random bits, in base64 for URLs and without padding
    _sync_folder(path.parent)
    digits = text.rstrip("=")
    if len(text) - len(digits) > 1 or not _DIGITS.issuperset(digits):
        raise _no_seed(path)
    try:
        seed = urlsafe_b64decode(digits.replace("+", "-").replace("/", "_") + "=")
    except Base64Error as e:
        raise _no_seed(path) from e
    if len(seed) != _SEED_SIZE:
        raise _no_seed(path)
    return seed


def _no_seed(path: Path) -> SettingsError:
    return SettingsError(f"{path} must hold the 32 bytes of a signing key, in base64 on one line.")


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as e:
        raise SettingsError(f"The folder {folder} of a signing key cannot be synced: {e}.") from e
