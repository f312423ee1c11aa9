"""One process at a time: a second one would take the first one's running steps for lost."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from ..errors import OperatorError

__all__ = ["Exclusive"]


class Exclusive:
    """Holds a data directory until it is closed, or the process is gone, however it went."""

    def __init__(self, folder: Path) -> None:
        """Raises `OperatorError` where another process holds `folder`, or it cannot be made."""
        path = folder / "fedcore.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise OperatorError(
                f"The data directory {folder} cannot be used: {e.strerror}.", code="data_dir"
            ) from e
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            holder = os.read(self._fd, 20).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise OperatorError(
                f"Another process ({holder or 'unknown'}) uses the data directory {folder}; "
                "stop it first, or choose another directory.",
                code="data_dir_in_use",
            ) from e
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Let another process in."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Exclusive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
