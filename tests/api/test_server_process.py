"""The server as a process: its greeting, its end, and what it leaves behind."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from tests.api_helpers import Server, serving

from federation_core import __version__
from federation_core.evidence.audit import audit


def test_the_greeting_says_where_and_how(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert re.fullmatch(
            rf"Federation Core {re.escape(__version__)} listens on http://127\.0\.0\.1:[1-9]\d+ "
            rf"\(data {re.escape(str(tmp_path))}, policy loose, development mode\)",
            server.greeting,
        )
        assert httpx.get(f"{server.url}/health").json()["status"] == "healthy"
    with serving(tmp_path / "other", dev=False, host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert server.greeting.endswith("policy strict, production mode)")
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_a_port_in_use(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as server:
        port = int(server.url.rpartition(":")[2])
        with Server(tmp_path / "two", dev=True, port=port) as second:
            assert second.greeting.startswith(
                "cannot_listen: The server cannot listen on 127.0.0.1"
            )
            assert second.process.wait(timeout=10) == 3
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_data_directory_in_use(tmp_path: Path) -> None:
    with serving(tmp_path), Server(tmp_path, dev=True) as second:
        assert second.greeting.startswith("data_dir_in_use: Another process")


def test_a_host_that_is_none(tmp_path: Path) -> None:
    with Server(tmp_path, host="host.invalid") as server:
        assert server.greeting.startswith("cannot_listen: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """Who waits is answered, who follows is let go, who is connected and idle does not matter."""
    with serving(tmp_path) as server, server.client() as http, server.client() as idle:
        idle.get("/health")
        run_id = http.running()
        with http.stream("GET", f"/workflows/runs/{run_id}/events") as answer:
            lines = answer.iter_lines()
            next(lines)
            began = time.monotonic()
            server.process.send_signal(number)
            assert list(lines)[-1] == ""
        assert server.process.wait(timeout=10) == 0
        assert time.monotonic() - began < 5
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")


def test_it_says_that_it_stops(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(tmp_path / "data", stderr=stderr.fileno()) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0
    told = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert told[-2:] == ["stopping", "stopped"]


def test_after_kill_9_nothing_is_left_and_nothing_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client() as http:
        run_id = http.running()
        before = http.whole(run_id)
        group = server.process.pid
        assert _children(group) == []
        server.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    with serving(tmp_path) as server, server.client() as http:
        assert http.whole(run_id) == before
        http.become(run_id, "completed")
        assert server.stop() == 0
    assert audit(tmp_path / "fedcore.db").error is None


def _children(pid: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found


def test_what_takes_long_is_not_imported(tmp_path: Path) -> None:
    """The server answers within a second; what would cost an eighth of it stays out."""
    with serving(tmp_path) as server:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "granian" in maps
    assert "pydantic" not in maps
