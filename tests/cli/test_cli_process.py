"""`fedcore` as a process: on a terminal, in a pipe, as a server."""

import os
import pty
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.cli.cli_helpers import FEDCORE, Fedcore, run_process, serving

import federation_core.policy

STRICT = str(Path(federation_core.policy.__file__).parent / "bundles" / "strict")
COLOR = re.compile(r"\x1b\[[0-9;]*3[0-9]")


def on_terminal(*args: str, **environ: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    command = [*FEDCORE, *args]
    with subprocess.Popen(
        command, env=os.environ | {"TERM": "xterm-256color"} | environ, stdout=theirs
    ):
        os.close(theirs)
        read = b""
        try:
            while data := os.read(ours, 65_536):
                read += data
        except OSError:  # Linux says EIO where the other end is closed
            pass
    os.close(ours)
    return read.decode()


def test_a_terminal_gets_colors_and_no_color_is_respected() -> None:
    assert COLOR.search(on_terminal("policy", "check", STRICT))
    plain = on_terminal("policy", "check", STRICT, NO_COLOR="1")
    assert "permit" in plain
    assert not COLOR.search(plain)


def test_a_pipe_gets_no_control_codes_and_no_blanks_at_the_ends() -> None:
    result = run_process("policy", "check", STRICT)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line for line in lines if line != line.rstrip() or "\x1b" in line] == []


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [*FEDCORE, "policy", "check", STRICT], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_ascii_terminal_is_told_all_the_same() -> None:
    result = run_process("runs", "start", "ü", PYTHONIOENCODING="ascii", FEDCORE_TOKEN="\u00fc")
    assert result.status == 2
    assert result.err.isascii()


def test_a_server_says_where_it_listens_and_stops_when_told(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--dev") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", server.url)
        assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0


def test_a_port_that_is_taken(fedcore: Fedcore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run_process("serve", "--port", str(taken.getsockname()[1]))
    assert (result.status, result.out) == (3, "")
    assert "Address already in use" in result.err
    assert result.err.count("\n") == 1


def test_development_is_for_loopback_alone(fedcore: Fedcore) -> None:
    result = fedcore("serve", "--dev", "--host", "0.0.0.0")
    assert (result.status, result.out) == (3, "")
    assert "listens on loopback only" in result.err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none(port: str, fedcore: Fedcore) -> None:
    assert fedcore("serve", "--port", port).status == 2
