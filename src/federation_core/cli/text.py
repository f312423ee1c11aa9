"""Text of others on a terminal: nothing in it may move the cursor or hide what stands there."""

import unicodedata

__all__ = ["clean", "clean_lines"]

_REORDERING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\ufeff") | {
    chr(code) for code in range(0x2066, 0x206A)
}


def clean(text: object) -> str:
    """`text` in one line, with control, surrogate and reordering characters shown escaped."""
    return "".join(_shown(c) if _is_unsafe(c) else c for c in str(text))


def clean_lines(text: str) -> str:
    """As `clean`, keeping the ends of lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _is_unsafe(character: str) -> bool:
    return character in _REORDERING or unicodedata.category(character) in ("Cc", "Cs")


def _shown(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
