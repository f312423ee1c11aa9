"""The server that the proof is about: one of its own, started as anyone would start it."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from ..errors import OperatorError
from .people import observer_token

__all__ = ["AUTHORIZATION", "OwnServer", "own_server"]

AUTHORIZATION = "FEDCORE_SECRET_PROOF_AUTHORIZATION"
"""The environment variable from which the OBSERVE step fills its `Authorization` header."""

_START_S, _STOP_S, _POLL_S = 30.0, 5.0, 0.05
_TAIL = 500


class OwnServer:
    """`fedcore serve` in production mode, in a process group of its own, on loopback, with a
    fresh data directory."""

    def __init__(self, folder: Path, *, policy: Path, effects: str) -> None:
        """Raises `OperatorError` where it does not come up. `effects` is the address of the effect
        service."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.secret = secrets.token_hex(32)
        self.data_dir = folder / "data"
        self.log_file = folder / "server.log"
        environ = _clean(os.environ) | {
            "FEDCORE_SECRET_KEY": self.secret,
            "FEDCORE_POLICY_DIR": str(policy),
            "FEDCORE_HTTP_ALLOW": f"127.0.0.1:{port},{effects}",
            AUTHORIZATION: f"Bearer {observer_token(self.secret)}",
        }
        command = [sys.executable, "-m", "federation_core", "serve"]
        command += ["--port", str(port), "--data-dir", str(self.data_dir)]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def database(self) -> Path:
        return self.data_dir / "fedcore.db"

    def wait_until_healthy(self) -> None:
        """Raises `OperatorError`, with the end of its log, where it does not come up."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise OperatorError(
                    f"The server of the proof did not start: {self._tail()}", code="no_server"
                )
            try:
                if httpx.get(f"{self.url}/health", timeout=1, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_S)
        raise OperatorError(
            f"The server of the proof was not healthy after {_START_S:g} seconds: {self._tail()}",
            code="no_server",
        )

    def stop(self) -> None:
        """Ask the whole process group to end, and end what does not."""
        if self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _tail(self) -> str:
        text = self.log_file.read_text("utf-8", "replace").strip()
        return " ".join(text[-_TAIL:].split()) or "it said nothing"


@contextmanager
def own_server(folder: Path, *, policy: Path, effects: str) -> Iterator[OwnServer]:
    """A healthy server, gone when the block is left, however it is left."""
    server = OwnServer(folder, policy=policy, effects=effects)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.stop()


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Without the settings of whoever runs the proof: it must not depend on them."""
    return {k: v for k, v in environ.items() if not k.startswith("FEDCORE_")}


def _free_port() -> int:
    """The server's own address is on its list of allowed hosts, so it has to be known before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
