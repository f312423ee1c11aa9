"""`fedcore` in this process, and a server in another."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.cli.cli_helpers import WORKFLOWS, Fedcore, LiveServer, serving  # noqa: E402

from federation_core.client import Client  # noqa: E402


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a fresh machine, on a terminal of 80 columns, in a folder where nothing is."""
    for name in os.environ:
        if name.startswith(("FEDCORE_", "_FEDCORE")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("USER", "tester")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fedcore(capsys: pytest.CaptureFixture[str]) -> Fedcore:
    return Fedcore(capsys)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A development server that knows the workflows of these tests."""
    with serving(tmp_path_factory.mktemp("development"), "--dev") as server:
        with Client(server.url, server.token("setup")) as client:
            for text in WORKFLOWS:
                client.register_workflow(text)
        yield server


@pytest.fixture
def server(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    """The development server, as the one that `fedcore` calls."""
    monkeypatch.setenv("FEDCORE_URL", live.url)
    monkeypatch.setenv("FEDCORE_DATA_DIR", str(live.data_dir))
    return live


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(server.url, server.token("tester")) as client:
        yield client
