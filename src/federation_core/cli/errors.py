"""From an error to one sentence on stderr and an exit status."""

import os
import sys
import traceback
from typing import Any

import msgspec
import typer

from ..errors import FederationError, IntegrityError, OperatorError
from .text import clean, clean_lines

__all__ = ["BROKEN", "INTERRUPTED", "OPERATOR", "REFUSED", "USAGE", "report", "status_of"]

REFUSED, USAGE, OPERATOR, BROKEN, INTERRUPTED = 1, 2, 3, 4, 130
TRACEBACK = "FEDCORE_TRACEBACK"
_MAX_ERRORS = 20


def status_of(error: Exception) -> int:
    """The exit status that scripts see."""
    match error:
        case typer.Abort():
            return INTERRUPTED
        case typer.TyperException():
            return error.exit_code
        case IntegrityError():
            return BROKEN
        case OperatorError():
            return OPERATOR
        case FederationError():
            # `status` is that of an answer over HTTP: from 500 on the server's operator must act.
            return OPERATOR if getattr(error, "status", 0) >= 500 else REFUSED
    return OPERATOR


def report(error: Exception, *, as_json: bool) -> int:
    """Tell of `error` on stderr, and with `as_json` also as `{"error": …}` on stdout."""
    status = status_of(error)
    if status == INTERRUPTED:
        print(file=sys.stderr)  # noqa: T201 (the question stands open)
        return status
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    described = _describe(error)
    if as_json:
        print(msgspec.json.encode({"error": described}).decode(), flush=True)  # noqa: T201
    lines = [f"Error: {clean_lines(described['message'])}"]
    errors = described["errors"]
    if len(errors) > 1 and "\n" not in described["message"]:
        lines += [f"  {clean(e['path'])}: {clean(e['message'])}" for e in errors[:_MAX_ERRORS]]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    return status


def _describe(error: Exception) -> dict[str, Any]:
    match error:
        case typer.TyperException():
            return _entry("usage", _usage(error))
        case FederationError():
            return _entry(error.error_code, error.detail, msgspec.to_builtins(error.errors))
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return _entry("os", f"{name}{error.strerror or error}.")
    kind = type(error).__name__
    return _entry("unexpected", f"{kind}: {error}. Set {TRACEBACK}=1 to see where.")


def _usage(error: typer.TyperException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message.replace("Value error, ", "")  # of the library that checks choices
    context = getattr(error, "ctx", None)
    where = f"`{context.command_path if context else 'fedcore'} --help`"
    return f"{message} See {where}." if message.endswith("?") else f"{message}; see {where}."


def _entry(code: str, message: str, errors: Any = ()) -> dict[str, Any]:
    return {"code": code, "message": message, "errors": list(errors)}
