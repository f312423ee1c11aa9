"""Cedar text before Cedar sees it: cut into policies, and bounded.

Cedar descends on the machine's stack, and text that is nested deeply enough ends the process, not
the call: some 600 brackets or 4,000 chained `if`s do on a stack of 8 MiB. So nesting, and the
length of one policy, are bounded before anything is parsed.
"""

import re
from typing import Final

import msgspec

__all__ = ["MAX_NESTING", "MAX_TOKENS", "PolicyText", "nesting", "split_policies"]

MAX_NESTING: Final = 32
MAX_TOKENS: Final = 2_000

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\r\n]*|\w+|\S')
"""As Cedar's lexer has them: strings (one that does not end takes the rest, and Cedar refuses it),
comments (which a carriage return ends too), words; every other sign on its own."""


class PolicyText(msgspec.Struct, frozen=True):
    """One policy with the comments before it. `line` is where it begins, from 1; `tokens` how
    many words and signs it has."""

    text: str
    line: int
    tokens: int


def split_policies(text: str) -> list[PolicyText]:
    """Cut at each `;` that is no part of a string or comment: Cedar uses it for nothing else.

    What follows the last one is a policy too, unless it is blank or comment.
    """
    found: list[PolicyText] = []
    begin = tokens = 0
    first: int | None = None
    for match in _TOKEN.finditer(text):
        if match[0].startswith("//"):
            continue
        tokens += 1
        first = match.start() if first is None else first
        if match[0] == ";":
            found.append(_piece(text, begin, match.end(), first, tokens))
            begin, tokens, first = match.end(), 0, None
    if first is not None:
        found.append(_piece(text, begin, len(text), first, tokens))
    return found


def _piece(text: str, begin: int, end: int, first: int, tokens: int) -> PolicyText:
    return PolicyText(text[begin:end], text.count("\n", 0, first) + 1, tokens)


def nesting(text: str, *, angles: bool = False) -> int:
    """How deeply brackets nest in Cedar text or in JSON.

    Counted over the whole text, so that nothing hides behind an error from which Cedar's parser
    recovers. `angles` counts `<` and `>` too, which nest in a schema and compare in a policy.
    """
    opening, closing = ("([{<", ")]}>") if angles else ("([{", ")]}")
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        if match[0] in opening:
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in closing:
            depth = max(0, depth - 1)
    return deepest
