"""Servers as processes, for the faults that need real ones."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.api_helpers import SECRET

__all__ = ["Clockwork", "Server", "Setup"]

ROOT = Path(__file__).resolve().parents[2]
_TOLD = 200_000
_TELLING_S = 0.5
_GREETING_S = 60.0


class Clockwork:
    """The clock of the servers that are started with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, seconds: float) -> None:
        """From now on the clock goes wrong by so much."""
        data = int(seconds * 1_000_000).to_bytes(8, "little", signed=True)
        if not self.path.exists():
            self.path.write_bytes(data)
        with self.path.open("r+b") as file:
            file.write(data)


class Setup(NamedTuple):
    """What the servers that follow each other have in common. `folder` takes their logs, `data` is
    their data directory; `database_url` is None for SQLite. One that `meddles` drives every run
    all the time, whoever else does."""

    folder: Path
    policy: Path
    outside: str
    clock: Clockwork
    data: Path = Path()
    port: int = 0
    database_url: str | None = None
    meddles: bool = False
    environ: dict[str, str] = {}  # noqa: RUF012 (never changed)
    arguments: tuple[str, ...] = ()


class Server:
    """One process. Where `kill` is a number and `before` or `after`, it kills itself at that one of
    its durable writes."""

    def __init__(self, setup: Setup, name: str, kill: tuple[int, str] | None = None) -> None:
        plan = {"kill": kill, "clock": str(setup.clock.path), "meddles": setup.meddles}
        arguments = [
            *("--dev", "--port", str(setup.port), "--data-dir", str(setup.data)),
            *("--policy-dir", str(setup.policy)),
            *("--http-allow", setup.outside.removeprefix("http://")),
            *("--python-allow", "tests.faults.workload"),
            *setup.arguments,
        ]
        environ = os.environ | {"FEDCORE_SECRET_KEY": SECRET, **setup.environ}
        if setup.database_url is not None:
            environ["FEDCORE_DATABASE_URL"] = setup.database_url
        self.log = self.log_of(setup, name)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.node", json.dumps(plan), *arguments],
                cwd=ROOT,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.url = ""

    @staticmethod
    def log_of(setup: Setup, name: str) -> Path:
        """Of all that came there one after the other."""
        return setup.folder / f"{name}.log"

    def greet(self) -> bool:
        """Wait until it listens; whether it does, or has ended before."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], _GREETING_S)
        assert ready, f"the server neither listens nor ends: {self.tell()}"
        greeting = self.process.stdout.readline()
        self.url = greeting.partition("listens on ")[2].partition(" ")[0]
        return bool(self.url)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        status = self.process.wait(timeout)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    @property
    def was_killed(self) -> bool:
        return self.process.poll() == -signal.SIGKILL

    def tell(self) -> str:
        """Where it stands now, and the end of its log: for a test that waited in vain."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGUSR1)
            self.process.send_signal(signal.SIGUSR2)
            time.sleep(_TELLING_S)
        ended = "" if self.process.poll() is None else f"it ended with {self.process.poll()}\n"
        return ended + self.log.read_text("utf-8", "replace")[-_TOLD:]
