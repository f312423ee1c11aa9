"""The checks: from what was seen over HTTP to what contradicts the promises.

Pure, and written from the contract and the evidence page alone: every hash is made anew, every
link and every decision followed, with no code of the server.
"""

from ..transcript import Expected, Finding, Transcript
from .base import Check, examine
from .chain import CHAIN
from .law import LAW
from .pack import PACK
from .receipts import RECEIPTS
from .story import STORY

__all__ = ["CHECKS", "Check", "check_transcript"]

CHECKS: tuple[Check, ...] = (*STORY, *LAW, *RECEIPTS, *CHAIN, *PACK)


def check_transcript(transcript: Transcript, expected: Expected) -> list[Finding]:
    """One finding for each of `CHECKS`."""
    return [examine(check, transcript, expected) for check in CHECKS]
