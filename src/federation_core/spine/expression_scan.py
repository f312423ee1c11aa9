"""CEL read token by token: where a `${…}` ends, and what an expression names.

The compiler checks the grammar. This finds what it does not tell: which names are free (and not
the variable of a `map` around them), which parts of the input and which steps are read, and how
the work grows with the data.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MAX_SOURCE", "Hole", "Names", "Token", "names", "split_template", "tokens"]

MAX_SOURCE = 4096
"""Characters of one expression. Scanning stops there, so that no text makes it slow."""

BUILDING_MACROS = frozenset({"map", "filter"})
"""They copy their result at each element, so that n elements cost n² copies."""

MACROS = BUILDING_MACROS | {"all", "exists", "exists_one", "existsOne"}

_KEYWORDS = frozenset({"true", "false", "null", "in"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>[bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')
            |[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
                   |"(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'))
  | (?P<number>0x[0-9a-fA-F]+[uU]?|[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?
            |[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """`kind` is string, number, name or mark (one character); `end` the offset behind it."""

    kind: str
    text: str
    end: int


class Hole(NamedTuple):
    """An expression in a template: what stands between `${` and `}`."""

    source: str


class Names(NamedTuple):
    """`paths`: each free name with the keys that are selected from it, as far as they are
    written out; `bound`: variables of macros; `macros`: how many there are; `nesting`: how many
    stand within one another; `power`: the work is at most items^power, 0 without macros."""

    paths: frozenset[tuple[str, ...]]
    bound: frozenset[str]
    macros: int
    nesting: int
    power: int


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Tokens of `MAX_SOURCE` characters from `start` on, without blanks and comments. Takes any
    text: what is no token of CEL comes out as marks."""
    for match in _TOKEN.finditer(text, start, start + MAX_SOURCE + 1):
        kind = match.lastgroup or "mark"
        if kind != "space":
            yield Token(kind, match[0], match.end())


def split_template(text: str) -> list[str | Hole] | None:
    """Text and holes in turn; `$${` is a literal `${`. None where a `${` has no end."""
    pieces: list[str | Hole] = []
    literal, position = "", 0
    while (dollar := text.find("${", position)) >= 0:
        if dollar > position and text[dollar - 1] == "$":
            literal += text[position : dollar - 1] + "${"
            position = dollar + 2
            continue
        literal += text[position:dollar]
        end = _hole_end(text, dollar + 2)
        if end is None:
            return None
        pieces += [literal, Hole(text[dollar + 2 : end - 1].strip())]
        literal, position = "", end
    pieces.append(literal + text[position:])
    return [piece for piece in pieces if piece != ""]


def _hole_end(text: str, start: int) -> int | None:
    depth = 1
    for token in tokens(text, start):
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            depth -= 1
            if depth == 0:
                return token.end
    return None


def names(source: str) -> Names:
    """What a whole expression names. Sound for what the CEL compiler accepts."""
    stream = list(tokens(source))
    paths: set[tuple[str, ...]] = set()
    bound: set[str] = set()
    frames: list[str | None] = []
    macros = nesting = power = 0
    for i, token in enumerate(stream):
        if token.text in {"(", "[", "{"}:
            variable = _macro_variable(stream, i)
            frames.append(variable)
            if variable is not None:
                bound.add(variable)
                macros += 1
                depth = sum(frame is not None for frame in frames)
                nesting = max(nesting, depth)
                power = max(power, depth + (stream[i - 1].text in BUILDING_MACROS))
        elif token.text in {")", "]", "}"}:
            del frames[-1:]
        elif _is_free(stream, i) and token.text not in frames:
            paths.add(_path(stream, i))
    return Names(frozenset(paths), frozenset(bound), macros, nesting, power)


def _text(stream: list[Token], i: int) -> str:
    return stream[i].text if 0 <= i < len(stream) else ""


def _kind(stream: list[Token], i: int) -> str:
    return stream[i].kind if 0 <= i < len(stream) else ""


def _macro_variable(stream: list[Token], i: int) -> str | None:
    """`x`, where the bracket at `i` opens `.map(x, …)` or one of its kin."""
    is_macro = (
        _text(stream, i) == "("
        and _text(stream, i - 1) in MACROS
        and _text(stream, i - 2) == "."
        and _kind(stream, i + 1) == "name"
        and _text(stream, i + 2) == ","
    )
    return stream[i + 1].text if is_macro else None


def _is_free(stream: list[Token], i: int) -> bool:
    """Whether a name stands at `i` that is no keyword, no function and not selected from
    something. (With a leading dot, `.x`, it is not free either: the caller sees that the compiler
    knows a variable that is not here.)"""
    return (
        stream[i].kind == "name"
        and stream[i].text not in _KEYWORDS
        and _text(stream, i - 1) != "."
        and _text(stream, i + 1) != "("
    )


def _path(stream: list[Token], i: int) -> tuple[str, ...]:
    path = [stream[i].text]
    i += 1
    while True:
        if _text(stream, i) == "." and _kind(stream, i + 1) == "name":
            if _text(stream, i + 2) == "(":
                break
            path.append(stream[i + 1].text)
            i += 2
        elif _text(stream, i) == "[" and _is_plain_key(stream, i + 1):
            path.append(stream[i + 1].text[1:-1])
            i += 3
        else:
            break
    return tuple(path)


def _is_plain_key(stream: list[Token], i: int) -> bool:
    """Whether a string that means what it shows stands at `i`, and `]` behind it."""
    text = _text(stream, i)
    return (
        _kind(stream, i) == "string"
        and _text(stream, i + 1) == "]"
        and text[0] in "\"'"
        and text[:3] not in {'"""', "'''"}
        and "\\" not in text
    )
