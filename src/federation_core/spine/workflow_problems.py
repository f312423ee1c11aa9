"""What is wrong with a workflow file, and where: all of it at once, in the order of the file."""

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec

from ..errors import FieldError, InvalidInput

__all__ = ["MAX_PROBLEMS", "Problem", "WorkflowProblems", "suggestion"]

MAX_PROBLEMS = 200
"""A file with more is told of these first."""

_MAX_WORD = 64
_MAX_KNOWN = 200


class Problem(msgspec.Struct, frozen=True, order=True):
    """`line` and `column` count from 1; `path` is a JSON pointer into the file's value."""

    line: int
    column: int
    path: str
    message: str


class WorkflowProblems(InvalidInput):
    """A workflow file that cannot be used. Its text has a line `source:line:column: message` for
    each of `problems`; `errors` say the same for the API."""

    code = "invalid_workflow"

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(set(problems))[:MAX_PROBLEMS])
        super().__init__(
            "\n".join(f"{source}:{p.line}:{p.column}: {p.message}" for p in self.problems),
            errors=[
                FieldError(p.path, f"line {p.line}, column {p.column}: {p.message}")
                for p in self.problems
            ],
        )


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'retry'?`, or nothing, as where there is much to compare with."""
    words = list(known)
    if len(word) > _MAX_WORD or len(words) > _MAX_KNOWN:
        return ""
    close = get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
