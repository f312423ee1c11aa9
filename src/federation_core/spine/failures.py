"""How a failure is told without saying anything of its values.

What an exception, a service or a client says may quote any value. So the event of a failure has a
type, which is a name, and the hash of what was said, which is a payload and can be erased:
`{"message", "type"}` of what the server saw, else what the client reported, as it is, whose type is
always `REPORTED`. Without a hash nothing was said, and the type has a sentence of ours.
"""

import re
from typing import Any

__all__ = [
    "LOST",
    "REPORTED",
    "RUN_ENDED",
    "RUN_REPORTED",
    "SENTENCES",
    "error_value",
    "is_error_type",
    "message_of",
    "type_of",
]

LOST = "Lost"
REPORTED = "Reported"
RUN_ENDED = "RunEnded"

SENTENCES = {
    LOST: "The server stopped while it ran; nobody saw its end.",
    REPORTED: "The client reported a failure.",
    RUN_ENDED: "The run ended while it was under way.",
}
"""What is to be said of a failure of this type of which nobody said anything."""

RUN_REPORTED = "reported"
"""The `error_code` of a run that failed because its client said so."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_MAX_MESSAGE = 2_000
_MAX_TYPE = 100


def is_error_type(text: str) -> bool:
    """Whether it is a name (1 to 100 letters, digits, `_` and `.`, the first no digit), as classes
    of exceptions and our codes have one. What is none might be a sentence, and quote a value."""
    return _NAME.fullmatch(text) is not None


def error_value(kind: str, message: str) -> dict[str, str]:
    """The payload of a failure that the server saw; the message is cut to 2,000 characters."""
    text = message.encode("utf-8", "replace").decode()
    cut = text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 1]}…"
    return {"message": cut, "type": kind}


def type_of(value: Any) -> str | None:
    """What a client calls its failure; None where it does not."""
    if isinstance(value, dict):
        value = value.get("type") or value.get("code")
        return value[:_MAX_TYPE] if isinstance(value, str) and value else None
    return None


def message_of(value: Any) -> str | None:
    """The line for people in the payload of a failure; None where it has none."""
    if isinstance(value, dict):
        value = value.get("message") or value.get("reason") or value.get("error")
    return value[:_MAX_MESSAGE] if isinstance(value, str) and value else None
