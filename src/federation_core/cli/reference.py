"""The help texts in the documentation: each stands below a line that names its command.

    <!-- help: fedcore runs start -->

`python -m federation_core.cli.reference docs/cli.md` brings them up to date.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .main import root

__all__ = ["commands", "help_of", "refreshed"]

_WIDTH = 78  # of the 80, two stay free
_BLOCK = re.compile(r"(<!-- help: (fedcore[a-z ]*) -->\n)(?:```text\n.*?\n```\n)?", re.DOTALL)


def commands() -> Iterator[str]:
    """Every command line that has a help, nouns before their verbs."""
    program = root()
    yield "fedcore"
    for name in program.modules:
        command = program.load(name)
        yield f"fedcore {name}"
        yield from (f"fedcore {name} {verb}" for verb in getattr(command, "commands", ()))


def help_of(line: str) -> str:
    """What `line --help` prints on a terminal of 80 columns."""
    program, *names = line.split()
    command = root()
    context = command.make_context(program, [], resilient_parsing=True, terminal_width=_WIDTH)
    for name in names:
        command = _child(command, context, name)
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    text: str = command.get_help(context)
    return text


def _child(command: Any, context: Any, name: str) -> Any:
    return command.resolve_command(context, [name])[1]


def refreshed(text: str) -> str:
    """`text` with the real help in each of its blocks."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}```text\n{help_of(match[2])}\n```\n"

    return _BLOCK.sub(block, text)


def _main(paths: Sequence[str]) -> None:
    for path in map(Path, paths):
        path.write_text(refreshed(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
