"""The directory of a witness: its key and its memory, which belong together.

A witness that forgot what it cosigned would cosign another history under the same key. So a key
without its memory, or a memory without its key, is not taken up again: that witness is at its end,
and a new one begins in another directory, with another name. For the same reason a copy of the
directory, or a backup that is put back, must never be served.
"""

from pathlib import Path

import msgspec

from ..errors import SettingsError
from ..identity.signing_keys import load_or_create_seed
from ..transparency import SigningKey, VerifierKey
from ..transparency.keys import COSIGNATURE
from .store import Identity, Store

__all__ = ["Home", "open_home"]

_KEY = "witness.key"
_MEMORY = "witness.db"


class Home(msgspec.Struct, frozen=True):
    """What a witness is and remembers. `verifier` is what readers know it by."""

    verifier: VerifierKey
    key: SigningKey
    store: Store


def open_home(folder: Path, name: str | None = None) -> Home:
    """The witness of this directory; where none is there one called `name` is made.

    Raises `SettingsError` for a directory that cannot be used, a key without memory or the other
    way round, a name that is missing or not the witness's own, `KeyMalformed` for one that no key
    may have, `MemoryUnavailable`.
    """
    key_path, memory_path = folder / _KEY, folder / _MEMORY
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        has_key, has_memory = key_path.exists(), memory_path.exists()
    except OSError as e:
        raise SettingsError(f"The directory {folder} of the witness cannot be used: {e}.") from e
    if has_key and not has_memory:
        raise SettingsError(
            f"{folder} has a witness's key, but not {_MEMORY}, its memory of what it cosigned; "
            "begin a new witness in another directory, with another name."
        )
    if name is not None:
        VerifierKey.of(name, SigningKey(bytes(32)).public)  # refuses a name that no key may have
    elif not has_memory:
        raise _nameless()
    # A new memory comes before its key: a crash in between leaves no key that has forgotten.
    store = Store(memory_path)
    try:
        return _at_home(store, key_path, name)
    except BaseException:
        store.close()
        raise


def _at_home(store: Store, key_path: Path, name: str | None) -> Home:
    identity = store.identity()
    if identity is None:
        if name is None:
            raise _nameless()
        key = SigningKey(load_or_create_seed(key_path))
        identity = store.belong_to(Identity(name, key.public))
    elif not key_path.exists():
        raise SettingsError(
            f"The key of the witness {identity.name}, {key_path}, is gone; begin a new witness in "
            "another directory, with another name."
        )
    else:
        key = SigningKey(load_or_create_seed(key_path))
    if name not in {None, identity.name}:
        raise SettingsError(
            f"The witness in {key_path.parent} is called {identity.name}, and not {name}; one key "
            "has one name."
        )
    if identity.public != key.public:
        raise SettingsError(
            f"{key_path} is not the key of {identity.name}, the witness whose memory is beside it."
        )
    return Home(VerifierKey.of(identity.name, key.public, COSIGNATURE), key, store)


def _nameless() -> SettingsError:
    return SettingsError("A new witness needs a name, such as example.com/witness: --name.")
