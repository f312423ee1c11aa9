"""A witness: it knows some logs, remembers what it cosigned, and cosigns what follows."""

import time
from collections.abc import Callable, Iterable
from threading import Lock

from ..errors import SettingsError
from ..transparency import NoteSignature, TransparencyError, VerifierKey, cosign
from ..transparency.keys import ED25519
from .decision import NOTHING, Seen, authentic, check_follows
from .errors import StaleSize
from .home import Home
from .protocol import AddCheckpoint

__all__ = ["Witness", "read_logs"]


def _now() -> int:
    return int(time.time())


class Witness:
    """Cosigns for `logs`, of which there may be several keys each. Threads may share it.

    `clock` gives seconds since the epoch. Raises `SettingsError` where there is no log, or a key
    is none of a log.
    """

    def __init__(
        self, home: Home, logs: Iterable[VerifierKey], clock: Callable[[], int] = _now
    ) -> None:
        self._home = home
        self._logs: dict[str, list[VerifierKey]] = {}
        self._clock = clock
        self._lock = Lock()
        for key in logs:
            if key.algorithm != ED25519:
                raise SettingsError(f"The key of {key.name} is no log's; that has algorithm 0x01.")
            self._logs.setdefault(key.name, []).append(key)
        if not self._logs:
            raise SettingsError("A witness must know a log: --log or --logs gives its key.")

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...]:
        """The cosignature of the request's checkpoint, which is on the disk as the last of its log
        before this returns.

        Where it is the last already, it is cosigned anew: whoever did not hear the first answer
        asks again. Raises what `authentic` and `check_follows` raise, and `MemoryUnavailable`.
        """
        checkpoint = authentic(request, self._logs)
        new = Seen(checkpoint.size, checkpoint.root)
        # One at a time, the time included: a cosignature says that at this time no larger tree
        # was seen.
        with self._lock:
            seen = self._home.store.latest(checkpoint.origin)
            check_follows(request, checkpoint, seen or NOTHING)
            if new != seen and not self._home.store.swap(checkpoint.origin, seen, new):
                latest = self._home.store.latest(checkpoint.origin) or NOTHING
                raise StaleSize(latest.size)  # another process of this witness was first
            return (
                cosign(request.note.text, self._home.verifier.name, self._home.key, self._clock()),
            )


def read_logs(text: str) -> list[VerifierKey]:
    """The keys of logs in a text of lines `<vkey>` or, as in a file of trust, `log <vkey>`; `#`
    begins a comment. Raises `SettingsError` with the number of the line."""
    keys = []
    for number, line in enumerate(text.split("\n"), 1):
        told = line.partition("#")[0].strip()
        if not told:
            continue
        try:
            keys.append(VerifierKey.parse(told.removeprefix("log ").lstrip()))
        except TransparencyError as e:
            raise SettingsError(f"Line {number} of the logs: {e.detail}") from e
    return keys
