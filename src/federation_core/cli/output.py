"""What a command says: one JSON value, or something for people to read."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .text import clean_lines

__all__ = ["Output"]

_WIDE = 110


class Output:
    """Standard output of one command. With `as_json` exactly one value goes there, and what is
    said to people beside it is left out; progress and questions go to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.aside = Console(highlight=False, markup=False, emoji=False, stderr=True)

    @property
    def is_wide(self) -> bool:
        """Whether there is room for columns that one can do without."""
        return self.console.width >= _WIDE

    def show(self, value: Any, *parts: RenderableType) -> None:
        """`value` as JSON, or `parts` for people."""
        if self.as_json:
            self._write(msgspec.json.format(msgspec.json.encode(value), indent=2))
        else:
            self._print(self.console, parts)

    def entry(self, value: Any, *parts: RenderableType) -> None:
        """As `show`, for one of many: JSON on a line of its own."""
        if self.as_json:
            self._write(msgspec.json.encode(value))
        else:
            self._print(self.console, parts)

    def note(self, sentence: str) -> None:
        """Something worth knowing beside the answer; left out with `as_json`."""
        if not self.as_json:
            self.warn(sentence)

    def warn(self, sentence: str) -> None:
        """Something that must not go unsaid, on standard error."""
        self._print(self.aside, [sentence])

    @contextmanager
    def progress(self, doing: str) -> Iterator[Progress]:
        """A bar on standard error, where that is a terminal; gone when it is done."""
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn())
        hidden = self.as_json or not self.aside.is_terminal
        with Progress(*columns, console=self.aside, disable=hidden, transient=True) as progress:
            yield progress

    @staticmethod
    def _print(console: Console, parts: Iterable[RenderableType]) -> None:
        for part in parts:
            if isinstance(part, str):
                console.print(clean_lines(part), soft_wrap=True)
            elif console.is_terminal:
                console.print(part)
            else:
                with console.capture() as captured:
                    console.print(part)
                lines = captured.get().splitlines()
                console.file.writelines(f"{line.rstrip()}\n" for line in lines)

    @staticmethod
    def _write(data: bytes) -> None:
        sys.stdout.write(data.decode() + "\n")
        sys.stdout.flush()
