"""What a witness remembers: of each log the last checkpoint that it cosigned. One SQLite file.

Whatever was swapped in is on the disk before `swap` returns, and stays there after a crash of the
machine: the journal's removal is a commit only once the folder is synced too, which
`synchronous=EXTRA` waits for. Any number of processes may have the file open.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import msgspec

from .decision import Seen
from .errors import MemoryUnavailable

__all__ = ["Identity", "Store"]

_WAIT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, public BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS logs (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32)
) STRICT;
CREATE TRIGGER IF NOT EXISTS logs_only_grow BEFORE UPDATE ON logs
WHEN new.origin <> old.origin OR new.size <= old.size
BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
CREATE TRIGGER IF NOT EXISTS logs_are_not_forgotten BEFORE DELETE ON logs
BEGIN SELECT RAISE(ABORT, 'a log is not forgotten'); END;
"""


class Identity(msgspec.Struct, frozen=True):
    """Whose memory it is: the witness's name, and its public key of 32 bytes."""

    name: str
    public: bytes


class Store:
    """The memory in `path`, which is made where it is not there. Threads may share it. Every
    method raises `MemoryUnavailable` where the file cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        with self._told():
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._db.execute("PRAGMA journal_mode=DELETE")
                self._db.execute("PRAGMA synchronous=EXTRA")
                self._db.executescript(_SCHEMA)
            except sqlite3.Error:
                self._db.close()
                raise

    def close(self) -> None:
        self._db.close()

    def identity(self) -> Identity | None:
        """Whose memory it is; None where nobody's yet."""
        with self._told():
            row = self._db.execute("SELECT name, public FROM identity").fetchone()
        return None if row is None else Identity(*row)

    def belong_to(self, identity: Identity) -> Identity:
        """Make it that witness's, unless it is one's already; whose it is then."""
        with self._told():
            self._db.execute(
                "INSERT INTO identity VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
                (identity.name, identity.public),
            )
        return self.identity() or identity

    def latest(self, origin: str) -> Seen | None:
        """The last checkpoint of this log that was swapped in; None for never."""
        with self._told():
            row = self._db.execute(
                "SELECT size, root FROM logs WHERE origin = ?", (origin,)
            ).fetchone()
        return None if row is None else Seen(*row)

    def swap(self, origin: str, old: Seen | None, new: Seen) -> bool:
        """Remember `new` of this log where `old` is what is remembered; whether it was so.

        One statement, so nobody comes between. Where it raises, `new` may be remembered all the
        same: nothing may be signed then, and the next request finds out.
        """
        with self._told():
            if old is None:
                done = self._db.execute(
                    "INSERT INTO logs VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (origin, new.size, new.root),
                )
            else:
                done = self._db.execute(
                    "UPDATE logs SET size = ?, root = ? WHERE origin = ? AND size = ? AND root = ?",
                    (new.size, new.root, origin, old.size, old.root),
                )
        return done.rowcount == 1

    @contextmanager
    def _told(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as e:
                raise MemoryUnavailable(
                    f"The witness's memory {self._path} cannot be used ({e}); see to its disk, its "
                    "permissions, and who else holds it."
                ) from e
