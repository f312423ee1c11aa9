"""An evidence pack in the hands of the harness: read and written with the standard library alone,
from the page about evidence."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import OperatorError
from .hashing import canonical, sha256

__all__ = ["Files", "Pack", "Said", "packed", "read_checkpoint", "sealed", "unpacked"]

Files = dict[str, bytes]
"""Path → content."""

_MANIFEST = "manifest.json"


class Said(msgspec.Struct, frozen=True):
    """A command that was run, its exit status, and what it printed (both streams)."""

    command: list[str]
    status: int
    output: str


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence pack of one run.

    `data` is the zip as it came over HTTP, `told` its hash as the server told it there, and
    `consistency` the answer that connects its checkpoint with the one that was seen before, None
    where the two are of one size. `said` is what the verifier said for people, and `verdict` the
    same as JSON; both None before it was asked.
    """

    data: bytes
    files: Files
    told: str | None
    consistency: str | None = None
    said: Said | None = None
    verdict: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """The evidence pack hash: SHA-256 of the manifest."""
        return sha256(self.files.get(_MANIFEST, b""))

    @property
    def events(self) -> list[bytes]:
        """The lines of the run's events, without their newlines."""
        return self.files[self.event_file].splitlines()

    @property
    def event_file(self) -> str:
        """Raises `LookupError` where the pack has no run."""
        return sorted(path for path in self.files if path.startswith("events/run:"))[0]

    @property
    def log(self) -> str:
        """The name of the log, as the manifest tells it."""
        return str(msgspec.json.decode(self.files[_MANIFEST])["log"])

    @property
    def checkpoint(self) -> tuple[str, int, str]:
        """Origin, size and root (base64) of the checkpoint; nothing is verified here."""
        return read_checkpoint(self.files["log/checkpoint"].decode())


def read_checkpoint(note: str) -> tuple[str, int, str]:
    """Origin, size and root (base64) of a checkpoint. Raises `ValueError`."""
    origin, size, root, *_ = note.split("\n")
    return origin, int(size), root


def unpacked(data: bytes) -> Files:
    """The files of a zip. Raises `OperatorError` where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return {info.filename: file.read(info) for info in file.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as e:
        raise OperatorError(f"An evidence pack cannot be unpacked: {e}.") from e


def packed(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, whatever their names are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for path in sorted(files):
            target.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), files[path])
    return file.getvalue()


def sealed(files: Mapping[str, bytes]) -> Files:
    """The same with a manifest that lists them as they are."""
    told = msgspec.json.decode(files[_MANIFEST])
    listed = {
        path: {"sha256": sha256(data), "size": len(data)}
        for path, data in files.items()
        if path != _MANIFEST
    }
    return {**files, _MANIFEST: canonical(told | {"files": listed})}
