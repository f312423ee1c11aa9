"""The ledger at rest: copies of the server's database, read and changed with sqlite3 alone."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from .transcript import Transcript

__all__ = ["copy", "flip_byte", "opened", "snapshot", "with_bytes"]

_NAME = "fedcore.db"


def snapshot(database: Path, folder: Path) -> Path:
    """A copy of `database`, write-ahead log included, as the data directory `folder`."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as source, closing(_open(folder)) as target:
        source.backup(target)
    return folder


def copy(source: Path, target: Path) -> Path:
    """Another copy of a data directory that `snapshot` made."""
    shutil.copytree(source, target)
    return target


def with_bytes(transcript: Transcript, folder: Path) -> Transcript:
    """The transcript together with what the ledger in `folder` stores of its run."""
    with opened(folder) as db:
        log = db.execute("SELECT value FROM meta WHERE key = 'log'").fetchone()[0]
        rows = db.execute(
            "SELECT body FROM events WHERE stream = ? ORDER BY seq", (f"run:{transcript.run_id}",)
        )
        bodies = [_bytes(row[0]) for row in rows]
    return msgspec.structs.replace(transcript, log=log, bodies=bodies)


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database of a copy, open to whoever has the file; what is changed is kept."""
    with closing(_open(folder)) as db:
        yield db
        db.commit()


def flip_byte(data: bytes, at: int) -> bytes:
    """`data` with the lowest bit of one byte turned over."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / _NAME)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
