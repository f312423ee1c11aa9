"""A log that signs, also what it should not; and a witness as a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from federation_core.transparency import (
    Checkpoint,
    CompactRange,
    Note,
    SigningKey,
    VerifierKey,
    consistency_proof,
    leaf_hash,
    node_hash,
    sign_checkpoint,
)
from federation_core.witness import AddCheckpoint, Home, Witness, open_home
from federation_core.witness.protocol import PATH

NAME = "witness.example/w1"
ORIGIN = "log.example/a"
AT = 1679315147


class Log:
    """A log of 64 leaves, of which any beginning can be signed. Two with another `fork` have the
    same leaves up to there, and then others."""

    def __init__(self, origin: str = ORIGIN, seed: int = 1, fork: int = 64) -> None:
        self.origin = origin
        self.key = SigningKey(bytes([seed]) * 32)
        self.verifier = VerifierKey.of(origin, self.key.public)
        self._leaves = [leaf_hash(b"%d" % (n if n < fork else -n)) for n in range(64)]

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return self._leaves[index]
        return node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    def checkpoint(self, size: int) -> Checkpoint:
        tree = CompactRange()
        for leaf in self._leaves[:size]:
            tree.append(leaf)
        return Checkpoint(self.origin, size, tree.root())

    def note(self, size: int) -> Note:
        return sign_checkpoint(self.checkpoint(size), self.key)

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(consistency_proof(old, size, self._node)) if 0 < old < size else ()

    def request(self, old: int, size: int) -> AddCheckpoint:
        return AddCheckpoint(old, self.proof(old, size), self.note(size))


LOG = Log()


def witness_at(folder: Path, *logs: VerifierKey) -> tuple[Home, Witness]:
    """The witness of this folder, at a time that stands still."""
    home = open_home(folder, NAME)
    return home, Witness(home, logs or [LOG.verifier], clock=lambda: AT)


class Serving:
    """A witness that was started with `fedcore witness serve`."""

    def __init__(self, process: "subprocess.Popen[str]", first: str) -> None:
        self.process = process
        self.first = first
        _, _, rest = first.partition(" listens on ")
        self.url = rest.partition(" ")[0]
        self.key = VerifierKey.parse(rest.partition("(key ")[2].rstrip(")\n"))

    def ask(self, request: AddCheckpoint) -> httpx.Response:
        return httpx.post(self.url + PATH, content=request.encode(), trust_env=False)

    def kill(self) -> None:
        """What `kill -9` does."""
        self.process.kill()
        self.process.wait()


FEDCORE = (sys.executable, "-m", "federation_core")


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Serving]:
    """Killed at the end, if it still lives."""
    command = [*FEDCORE, "witness", "serve", "--data-dir", str(folder), "--port", "0"]
    if "--logs" not in options:
        command += ["--log", LOG.verifier.text]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Serving(process, process.stdout.readline())
        finally:
            process.kill()
