"""Values that are given as text: JSON, durations, files."""

import sys
from pathlib import Path
from typing import Any

import typer

from ..errors import InvalidInput
from ..spine.canonical import parse
from ..spine.durations import parse_duration

__all__ = ["read_object", "read_text", "seconds"]


def read_object(given: str | None, option: str) -> dict[str, Any] | None:
    """The JSON object in `given`, in the file that `@file` names, or on standard input (`-`)."""
    if given is None:
        return None
    text = given
    if given == "-":
        text = sys.stdin.read()
    elif given.startswith("@"):
        text = read_text(Path(given[1:]))
    try:
        value = parse(text)
    except InvalidInput as e:
        reason = e.detail.replace("The body", "it", 1).rstrip(".")
        raise typer.BadParameter(reason, param_hint=option) from e
    if not isinstance(value, dict):
        raise typer.BadParameter("it must be a JSON object, such as {}", param_hint=option)
    return value


def read_text(path: Path) -> str:
    """A file's text. Raises `BadParameter` where it cannot be read as UTF-8."""
    try:
        return path.read_text("utf-8")
    except OSError as e:
        raise typer.BadParameter(f"{path} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise typer.BadParameter(f"{path} is not UTF-8 at byte {e.start}") from e


def seconds(duration: str, option: str) -> int:
    """Whole seconds of `30s`, `8h`, `7d`; at least one."""
    try:
        milliseconds = parse_duration(duration)
    except InvalidInput as e:
        raise typer.BadParameter(e.detail.rstrip("."), param_hint=option) from e
    if milliseconds < 1_000:
        raise typer.BadParameter("it must be at least 1s", param_hint=option)
    return milliseconds // 1_000
