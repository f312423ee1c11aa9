"""`fedcore`, as the people of the job use it."""

import os
import shlex
import subprocess
from typing import NamedTuple

from rich.console import Console

from federation_core.client import ServerUnreachable

from .servers import FEDCORE, Servers, patiently

__all__ = ["Commands", "Person"]

SERVER_AWAY = 3
"""Exit status where no server answers."""


class Person(NamedTuple):
    actor: str
    role: str

    @property
    def options(self) -> tuple[str, ...]:
        return ("--actor", self.actor, "--role", self.role)


class Commands:
    """Runs commands against the job's server, and shows them with what they print."""

    def __init__(self, servers: Servers, console: Console) -> None:
        self._console = console
        self._environ = os.environ | {
            "FEDCORE_URL": servers.url,
            "FEDCORE_DATA_DIR": str(servers.data_dir),
            "COLUMNS": str(console.width),
        }

    def run(self, *arguments: str, as_person: Person | None = None) -> None:
        """Raises `CalledProcessError` where the command refuses; one that finds no server is run
        again."""
        command = ("fedcore", *arguments, *(as_person.options if as_person else ()))
        self._show(f"\n$ {shlex.join(command)}", style="bold")
        self._show(patiently(lambda: self._output(command)).rstrip())

    def token(self, person: Person) -> str:
        return self._output(("fedcore", "token", "issue", *person.options)).strip()

    def _show(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _output(self, command: tuple[str, ...]) -> str:
        done = subprocess.run(  # noqa: S603 (the job's own words)
            [FEDCORE, *command[1:]],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == SERVER_AWAY:
            raise ServerUnreachable(done.stderr.strip())
        if done.returncode != 0:
            raise subprocess.CalledProcessError(
                done.returncode, shlex.join(command), done.stdout, done.stderr
            )
        return done.stdout
