"""A file system of its own, in memory, that can be full. Whoever makes one must be root."""

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

__all__ = ["Disk"]

_CHUNK = bytes(65_536)


class Disk:
    """Mounted at `folder`, which is made, with room for `mib` MiB."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        self._size = f"size={mib}m,mode=0755"
        self._ballast = folder / ".ballast"

    def __enter__(self) -> Self:
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", self._size, "tmpfs", self.folder], check=True)
        return self

    def __exit__(self, *_error: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)
        self.folder.rmdir()

    def fill(self) -> None:
        """Leave no room for a byte more. What is freed beside it afterwards is taken by the next
        call only."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while os.write(file.fileno(), _CHUNK):
                    pass
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        self._ballast.unlink()

    def clear(self, name: str) -> None:
        """Remove a folder that is on it."""
        shutil.rmtree(self.folder / name)
