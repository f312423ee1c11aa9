"""The two servers of the job: Federation Core, and the payment service."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx

from federation_core.client import ServerUnreachable

__all__ = ["FEDCORE", "HERE", "SERVICE_URL", "Servers", "patiently", "started"]

HERE = Path(__file__).parent
FEDCORE = str(Path(sys.executable).with_name("fedcore"))
SERVICE_URL = "http://127.0.0.1:9406"
"""Where the workflow file has it."""

PATIENCE_S = 60.0

T = TypeVar("T")


class Servers(NamedTuple):
    """Where the two are, and the data directory of Federation Core."""

    url: str
    service_url: str
    data_dir: Path


def patiently(call: Callable[[], T]) -> T:
    """What `call` returns. A server that is away, because it was killed perhaps, has a minute to
    come back: all that this job asks for may be asked twice."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except ServerUnreachable:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextmanager
def started(work: Path, port: int, service_port: int) -> Iterator[Servers]:
    """Both servers, with their data and logs in `work`. What they knew before, they know again."""
    work.mkdir(parents=True, exist_ok=True)
    url, service_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{service_port}"
    servers = Servers(url, service_url, work / "server")
    with (
        _process(_service(work, service_port), work / "service.log", f"{service_url}/summary"),
        _process(_server(servers, port), work / "server.log", f"{url}/health"),
    ):
        yield servers


def _service(work: Path, port: int) -> list[str]:
    script = str(HERE / "service.py")
    return [sys.executable, script, "--port", str(port), "--data", str(work / "service.db")]


def _server(servers: Servers, port: int) -> list[str]:
    return [
        *(FEDCORE, "serve", "--dev", "--port", str(port)),
        *("--data-dir", str(servers.data_dir)),
        *("--policy-dir", str(HERE / "policy")),
        *("--python-allow", "refunds_scoring"),
        *("--http-allow", servers.service_url.removeprefix("http://")),
    ]


@contextmanager
def _process(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    """A server, from when it answers until the block ends. Raises `ServerUnreachable` where it
    does not come up."""
    if _answers(ready_url):
        raise ServerUnreachable(
            f"Another program answers at {ready_url}; stop it, or take other ports with --port and "
            "--service-port."
        )
    environ = os.environ | {"PYTHONPATH": str(HERE)}  # where refunds_scoring is
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 (the two commands above)
            command, stdout=file, stderr=file, env=environ
        )
    try:
        _await(process, ready_url, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await(process: "subprocess.Popen[bytes]", ready_url: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        if _answers(ready_url):
            return
        time.sleep(0.05)
    raise ServerUnreachable(f"{ready_url} does not answer; {log} says why.")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False
