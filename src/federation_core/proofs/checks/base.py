"""What a check is: a name, what it claims, and a search for what contradicts it."""

from collections.abc import Callable, Iterator

import msgspec

from ..transcript import Expected, Finding, Transcript

__all__ = ["Check", "examine"]

MAX_PROBLEMS = 10


class Check(msgspec.Struct, frozen=True):
    """`search` yields a sentence for each contradiction; `skip` says why it cannot be made, or
    None."""

    name: str
    claim: str
    search: Callable[[Transcript, Expected], Iterator[str]]
    skip: Callable[[Transcript], str | None] = lambda _: None


def examine(check: Check, transcript: Transcript, expected: Expected) -> Finding:
    """Never raises: a transcript that cannot be read as it must be is refused too."""
    skipped = check.skip(transcript)
    problems: list[str] = []
    if skipped is None:
        try:
            problems += check.search(transcript, expected)
        except (LookupError, TypeError, ValueError, AttributeError) as e:
            problems.append(f"the transcript cannot be read: {type(e).__name__}: {e}")
    return Finding(
        transcript.test, check.name, check.claim, tuple(problems[:MAX_PROBLEMS]), skipped
    )
