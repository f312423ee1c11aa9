"""The verifier out of a pack, in a fresh interpreter in which nothing is installed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from .packing import Said

__all__ = ["Fresh", "Judgement", "installed_verifier"]

_TIME_S = 120
_NOT_THERE = ("federation_core", "cryptography", "msgspec")
_LOOK = (
    "import importlib.util as u, os, sys; print(sys.version, os.listdir(), *sys.path, "
    f"*(f'{{n}}: {{u.find_spec(n)}}' for n in {_NOT_THERE}), sep='\\n')"
)
_MANY = """\
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        status = verify.main(json.loads(line))
    print(json.dumps([status, json.loads(told.getvalue())]), flush=True)
"""
"""Verify many packs, for each a line of arguments, in one process; its start is what takes time."""


class Judgement(msgspec.Struct, frozen=True):
    """The exit status and the JSON verdict of the verifier; None and empty where it gave none."""

    status: int | None
    verdict: dict[str, Any]

    @property
    def code(self) -> str | None:
        return (self.verdict.get("error") or {}).get("code")


def installed_verifier() -> bytes:
    """The verifier that this package brings along; it is compared, and never run."""
    return files("federation_core").joinpath("evidence", "verify.py").read_bytes()


class Fresh:
    """Runs `verifier` from `folder`, in an empty folder beside it.

    `-I` keeps out the environment's variables, the script's folder and the user's packages, `-S`
    the site-packages; `-B` writes no bytecode.
    """

    def __init__(self, folder: Path, verifier: bytes) -> None:
        self._folder, self._empty = folder, folder / "empty"
        self._empty.mkdir(parents=True)
        (folder / "verify.py").write_bytes(verifier)

    def write(self, name: str, data: bytes) -> str:
        """Put a file where the verifier finds it; returns the argument that names it."""
        (self._folder / name).write_bytes(data)
        return f"../{name}"

    def look(self) -> Said:
        """What is installed there."""
        return self._run(["-c", _LOOK])

    @staticmethod
    def is_bare(said: Said) -> bool:
        """Whether, by what `look` said, nothing of this package is installed."""
        lines = said.output.splitlines()
        return said.status == 0 and all(f"{name}: None" in lines for name in _NOT_THERE)

    def verify(self, arguments: Sequence[str]) -> Said:
        """One process of its own, as an auditor would start it."""
        return self._run(["../verify.py", *arguments])

    def judge(self, jobs: Sequence[Sequence[str]]) -> list[Judgement]:
        """The verdict on each of `jobs` (arguments of the verifier), all in one process."""
        lines = "".join(f"{json.dumps([*job, '--json'])}\n" for job in jobs)
        said = self._run(["-B", "-c", _MANY, ".."], lines)
        found = [_judgement(line) for line in said.output.splitlines()[: len(jobs)]]
        return found + [Judgement(None, {})] * (len(jobs) - len(found))

    def _run(self, arguments: list[str], given: str = "") -> Said:
        command = [sys.executable, "-I", "-S", *arguments]
        try:
            done = subprocess.run(  # noqa: S603 (the verifier that was compared)
                command,
                cwd=self._empty,
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=_TIME_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Said(command, -1, f"no answer in {_TIME_S} seconds")
        return Said(command, done.returncode, done.stdout)


def _judgement(line: str) -> Judgement:
    try:
        status, verdict = json.loads(line)
        return Judgement(int(status), dict(verdict))
    except (ValueError, TypeError):
        return Judgement(None, {})
