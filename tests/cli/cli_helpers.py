"""What the tests of the command line share."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest

from federation_core.cli.main import run
from federation_core.client import Client
from federation_core.identity import Claims, issue_token

PAY = """\
workflow: pay
version: 1.0.0
input: {type: object, required: [amount], properties: {amount: {type: integer}}}
steps:
  - {id: look, type: OBSERVE, run: expression, value: "${input.amount}"}
  - id: act
    type: ACT
    run: expression
    with: {risk: '${input.amount > 1000 ? "high" : "low"}', forbidden: "${input.amount < 0}"}
    value: {paid: "${input.amount}"}
output: "${steps.act.output}"
"""
ASK = """\
workflow: ask
version: 2.1.0
steps:
  - id: ask
    type: GATE
    gate:
      name: Who pays
      approvers: ["role:finance"]
      quorum: 2
      input_schema: {type: object, required: [account]}
"""
EACH = """\
workflow: each
version: 1.0.0
steps:
  - id: act
    type: TRANSFORM
    foreach: input.list
    run: expression
    value: "${1 / (item == input.bad ? 0 : 1)}"
  - {id: after, type: TRANSFORM, run: expression, value: 1}
"""

WORKFLOWS = (PAY, ASK)

FEDCORE = (sys.executable, "-m", "federation_core")


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as exactly one JSON value."""
        return msgspec.json.decode(self.out)


class Fedcore:
    """Runs a command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str) -> Result:
        self._capsys.readouterr()
        status = run(args)
        return Result(status, *self._capsys.readouterr())

    def ok(self, *args: str) -> str:
        """Standard output of a command that must succeed and say nothing else."""
        result = self(*args)
        assert (result.status, result.err) == (0, "")
        return result.out

    def json(self, *args: str, status: int = 0) -> Any:
        """What a command answers to programs."""
        result = self(*args, "--json")
        assert result.status == status, result
        return result.json


class LiveServer(NamedTuple):
    url: str
    data_dir: Path
    process: subprocess.Popen[str]

    def token(self, actor: str, *scopes: str, roles: tuple[str, ...] = ()) -> str:
        now = int(time.time())
        claims = Claims("tests", scopes, now, now + 300, uuid4().hex, None, actor, roles)
        return issue_token((self.data_dir / "secret.key").read_text(), claims)


@contextmanager
def serving(data_dir: Path, *options: str) -> Iterator[LiveServer]:
    """A server as people start it; its first line says where it listens."""
    command = [*FEDCORE, "serve", "--port", "0", "--data-dir", str(data_dir), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            _, _, rest = first.partition(" listens on ")
            yield LiveServer(rest.split(" ", 1)[0], data_dir, process)
        finally:
            process.terminate()


def run_process(*args: str, **environ: str) -> Result:
    """Runs a command line as a process of its own, its output into pipes."""
    done = subprocess.run(
        [*FEDCORE, *args],
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def start(client: Client, amount: int, **more: Any) -> dict[str, Any]:
    """A run of `pay` that has ended or waits: over 1000 waits for people, below 0 is denied."""
    answer = client.create_run("pay", {"amount": amount}, wait=10, **more)
    run = answer["run"]
    assert run["status"] in ("completed", "failed", "paused")
    return dict(run)


def gate_of(client: Client, run_id: str) -> dict[str, Any]:
    """The one gate of a run."""
    [gate] = client.get_run(run_id, gates=True)["gates"]
    return dict(gate)
