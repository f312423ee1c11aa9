"""What is being worked on here and now, so that a log line can say so.

One context variable refers to whatever is at work (a run, a step's context, a request), and its
names are looked up only when a line is written: who logs nothing pays for one assignment.
"""

from contextvars import ContextVar, Token
from typing import Any, Final

import msgspec

__all__ = ["FACTS", "Request", "about", "asking", "facts", "over"]

FACTS: Final = ("tenant", "run_id", "step_id", "attempt", "correlation_id", "request_id")
"""The names that a subject may have, in the order of a line."""

_subject: ContextVar[object] = ContextVar("fedcore_subject", default=None)


class Request(msgspec.Struct):
    """A request under way; what it is about is filled in as it becomes known."""

    request_id: str
    correlation_id: str | None = None
    tenant: str | None = None
    run_id: str | None = None


def about(subject: object) -> Token[object]:
    """From here on, in this task and those that it starts, lines are about `subject`."""
    return _subject.set(subject)


def over(token: Token[object]) -> None:
    """What `about` began is over."""
    _subject.reset(token)


def asking() -> Request | None:
    """The request that is being answered here."""
    subject = _subject.get()
    return subject if isinstance(subject, Request) else None


def facts() -> dict[str, Any]:
    """What is known of the subject."""
    subject = _subject.get()
    if subject is None:
        return {}
    found = ((name, getattr(subject, name, None)) for name in FACTS)
    return {name: value for name, value in found if value}
