"""Expressions of workflow files: CEL in `${…}`, compiled once, evaluated against what a run knows.

A string that is one `${…}` gives the value of the expression; text around it makes it a string;
`$${` is a literal `${`. Expressions have no side effects, read no clock and always end. They see
`input`, `steps.<id>.output`, `steps.<id>.status`, `run`, `metadata` and `tags`; those of the items
of a fan-out see `item` and `index` too.

CEL: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import cel

from ..errors import FederationError, FieldError, InvalidInput
from .canonical import canonical, check_value
from .expression_scan import MAX_SOURCE, Hole, Names, names, split_template, tokens
from .items import ITEM_NAMES, MAX_ITEMS
from .pointers import join

__all__ = [
    "MAX_COPIED",
    "MAX_NESTING",
    "MAX_TOKENS",
    "MAX_WORK",
    "RUN_FIELDS",
    "SCOPE",
    "Condition",
    "ExpressionError",
    "Listing",
    "Template",
]

SCOPE = ("input", "metadata", "run", "steps", "tags")
RUN_FIELDS = ("actor", "id", "tenant", "workflow_id", "workflow_version")
STEP_FIELDS = ("output", "status")

MAX_TOKENS = 500
"""Long chains of operators cost stack: the evaluator recurses."""

MAX_MACROS = 8
MAX_NESTING = 2

MAX_WORK = 4_000_000
"""Steps of macros. Copying makes `map` quadratic: it takes 2,000 items, or 158 within another."""

MAX_COPIED = 2_000_000_000
"""Items of a loop, squared, times the longest text it sees: what it collects is copied at every
turn, and nothing else runs meanwhile."""

_TYPE_NAMES = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"}
)
_FUNCTIONS = frozenset(
    {
        *("bytes", "double", "dyn", "int", "string", "type", "uint"),
        *("contains", "endsWith", "has", "matches", "size", "startsWith"),
        *("duration", "timestamp", "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth"),
        *("getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
_NOT_JSON = {
    "datetime": "a timestamp is not a JSON value; make it text with string(…)",
    "timedelta": "a duration is not a JSON value; make it text with string(…)",
    "bytes": "bytes are not a JSON value; make them text with string(…)",
}

Scope = dict[str, Any]
_Trie = dict[str, "_Trie | None"]
_Evaluator = Callable[[Scope], Any]


class ExpressionError(FederationError):
    """An expression that compiled failed on these values. `facts`: source."""

    code = "expression_failed"


class _Expression(NamedTuple):
    source: str
    program: cel.Program
    reads: _Trie
    steps: frozenset[str]
    power: int

    @property
    def names(self) -> frozenset[str]:
        """The names that it reads, of those in `SCOPE` and its own."""
        return frozenset(self.reads)

    def evaluate(self, scope: Scope, path: str = "", depth: int = 0) -> Any:
        """The value; `path` and `depth` are where it will stand. Raises `ExpressionError`."""
        seen = _narrow(scope, self.reads)
        if self.power and (items := _longest(seen)) ** self.power > MAX_WORK:
            _fail(self.source, path, f"it loops over {items:,} items, too many for what it does")
        if self.power and items * items * (size := _longest_text(seen)) > MAX_COPIED:
            _fail(self.source, path, f"it loops over {items:,} items beside texts of {size:,}")
        try:
            value = self.program.execute(seen)
        except Exception as e:
            raise _error(self.source, path, _explain(e)) from e
        try:
            check_value(value, path, depth)
        except InvalidInput as e:
            message = e.errors[0].message
            message = _NOT_JSON.get(message.split(" ", 1)[0], message)
            raise _error(self.source, e.errors[0].path, message) from e
        return value


class Template:
    """A JSON value with expressions in its strings. `references` are the ids of the steps that
    they read, `names` the names."""

    __slots__ = ("_evaluate", "names", "references")

    def __init__(
        self, evaluate: _Evaluator, references: frozenset[str], names: frozenset[str]
    ) -> None:
        self._evaluate = evaluate
        self.references = references
        self.names = names

    @classmethod
    def compile(cls, value: Any, local: tuple[str, ...] = ()) -> "Template":
        """`local` are names that it knows besides those of `SCOPE`. Raises `InvalidInput` whose
        `errors` name each place (a JSON pointer into `value`)."""
        check_value(value)
        compiler = _Compiler(local)
        evaluate = compiler.compile(value, (), 0)
        if compiler.errors:
            raise InvalidInput(
                "; ".join(f"At {e.path or '/'}: {e.message}" for e in compiler.errors) + ".",
                errors=compiler.errors,
            )
        return cls(evaluate, frozenset(compiler.references), frozenset(compiler.names))

    def evaluate(self, scope: Scope) -> Any:
        """The value with its expressions evaluated. Raises `ExpressionError`."""
        return self._evaluate(scope)


class Condition:
    """What stands behind `when`: `source` is the bare expression, `references` as in a template."""

    __slots__ = ("_expression", "names", "references", "source")

    def __init__(self, expression: _Expression) -> None:
        self._expression = expression
        self.source = expression.source
        self.references = expression.steps
        self.names = expression.names

    @classmethod
    def compile(cls, text: str) -> "Condition":
        """Takes the expression bare or as one `${…}`. Raises `InvalidInput`."""
        return cls(_compile_alone(text))

    def evaluate(self, scope: Scope) -> bool:
        """Raises `ExpressionError` where the value is not a bool."""
        value = self._expression.evaluate(scope)
        if not isinstance(value, bool):
            _fail(self.source, "", f"a condition must be true or false, not {_kind(value)}")
        return value


class Listing:
    """What stands behind `foreach`: as a condition, but it gives a list."""

    __slots__ = ("_expression", "names", "references", "source")

    def __init__(self, expression: _Expression) -> None:
        self._expression = expression
        self.source = expression.source
        self.references = expression.steps
        self.names = expression.names

    @classmethod
    def compile(cls, text: str) -> "Listing":
        """Takes the expression bare or as one `${…}`. Raises `InvalidInput`."""
        return cls(_compile_alone(text))

    def evaluate(self, scope: Scope) -> list[Any]:
        """Raises `ExpressionError` where the value is no list, or one that is too long."""
        value = self._expression.evaluate(scope)
        if not isinstance(value, list):
            _fail(self.source, "", f"foreach takes a list, not {_kind(value)}")
        if len(value) > MAX_ITEMS:
            _fail(self.source, "", f"foreach takes at most {MAX_ITEMS:,} items, not {len(value):,}")
        return value


def _compile_alone(text: str) -> _Expression:
    pieces = split_template(text)
    hole = pieces[0] if pieces and len(pieces) == 1 else None
    source = hole.source if isinstance(hole, Hole) else text.strip()
    try:
        return _compile(source)
    except InvalidInput as e:
        raise InvalidInput(f"{e.detail}.", errors=[FieldError("", e.detail)]) from e


class _Compiler:
    def __init__(self, local: tuple[str, ...]) -> None:
        self._local = local
        self.errors: list[FieldError] = []
        self.references: set[str] = set()
        self.names: set[str] = set()

    def compile(self, value: Any, path: tuple[str | int, ...], depth: int) -> _Evaluator:
        if isinstance(value, str):
            return self._text(value, join(path), depth)
        if isinstance(value, list):
            items = [self.compile(v, (*path, i), depth + 1) for i, v in enumerate(value)]
            return lambda scope: [item(scope) for item in items]
        if isinstance(value, dict):
            if any("${" in key for key in value):
                self.errors.append(FieldError(join(path), "keys are not evaluated; ${ in one"))
            pairs = [(k, self.compile(v, (*path, k), depth + 1)) for k, v in value.items()]
            return lambda scope: {key: item(scope) for key, item in pairs}
        return lambda _scope: value

    def _text(self, text: str, path: str, depth: int) -> _Evaluator:
        pieces = split_template(text)
        if pieces is None:
            message = (
                f"a ${{ has no closing }} within {MAX_SOURCE} characters; a literal ${{ is $${{"
            )
            self.errors.append(FieldError(path, message))
            pieces = []
        parts = [self._expression(p, path) if isinstance(p, Hole) else p for p in pieces]
        match parts:
            case []:
                return lambda _scope: ""
            case [str(literal)]:
                return lambda _scope: literal
            case [_Expression() as expression]:
                return lambda scope: expression.evaluate(scope, path, depth)
        return lambda scope: "".join(
            part if isinstance(part, str) else _as_text(part, scope, path) for part in parts
        )

    def _expression(self, hole: Hole, path: str) -> "_Expression | str":
        try:
            expression = _compile(hole.source, self._local)
        except InvalidInput as e:
            self.errors.append(FieldError(path, e.detail))
            return ""
        self.references |= expression.steps
        self.names |= expression.names
        return expression


def _as_text(expression: _Expression, scope: Scope, path: str) -> str:
    value = expression.evaluate(scope, path)
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (dict, list)):
        _fail(expression.source, path, f"{_kind(value)} cannot stand within text")
    return canonical(value).decode()


@lru_cache(maxsize=4096)
def _compile(source: str, local: tuple[str, ...] = ()) -> _Expression:
    """Raises `InvalidInput` whose detail has no full stop: it becomes part of a sentence."""
    if len(source) > MAX_SOURCE:
        raise InvalidInput(f"an expression has at most {MAX_SOURCE} characters")
    if not source:
        raise InvalidInput("an expression is empty")
    if sum(1 for _ in tokens(source)) > MAX_TOKENS:
        _refuse(source, f"it has more than {MAX_TOKENS} words and signs")
    try:
        program = cel.compile(source)
    except Exception as e:
        raise InvalidInput(f"`{_shown(source)}` does not parse: {_syntax(str(e))}") from e
    found = names(source)
    known = (*SCOPE, *local)
    _check_names(source, found, program.variables(), known)
    _check_functions(source, program.functions())
    _check_loops(source, found)
    paths = [path for path in found.paths if path[0] in known]
    for path in paths:
        _check_path(source, path)
    steps = frozenset(path[1] for path in paths if path[0] == "steps")
    return _Expression(source, program, _trie(paths), steps, found.power)


def _check_names(source: str, found: Names, variables: list[str], known: tuple[str, ...]) -> None:
    free = {path[0] for path in found.paths} - _TYPE_NAMES
    unknown = sorted((free | set(variables) - found.bound - _TYPE_NAMES) - set(known))
    if unknown and unknown[0] in ITEM_NAMES:
        _refuse(source, f"there is no {unknown[0]!r} here; only the work of a foreach has items")
    if unknown:
        _refuse(source, f"there is no {unknown[0]!r}; an expression sees {', '.join(known)}")
    if not free <= set(variables):
        _refuse(source, "it makes a message of a type, which workflow files do not have")


def _check_functions(source: str, functions: list[str]) -> None:
    for name in functions:
        if name[0].isalpha() and name not in _FUNCTIONS:
            close = get_close_matches(name, _FUNCTIONS, n=1)
            hint = f"; did you mean {close[0]}()?" if close else ""
            _refuse(source, f"there is no function {name}(){hint}")


def _check_loops(source: str, found: Names) -> None:
    if found.nesting > MAX_NESTING:
        _refuse(source, f"map, filter, all and exists may stand {MAX_NESTING} deep in one another")
    if found.macros > MAX_MACROS:
        _refuse(source, f"it has more than {MAX_MACROS} loops (map, filter, all, exists)")


def _check_path(source: str, path: tuple[str, ...]) -> None:
    match path:
        case ["steps"]:
            _refuse(source, "name the step that it reads: steps.<id>.output")
        case ["steps", step, field, *_] if field not in STEP_FIELDS:
            _refuse(source, f"steps.{step} has output and status, not {field!r}")
        case ["run", field, *_] if field not in RUN_FIELDS:
            _refuse(source, f"run has {', '.join(RUN_FIELDS)}, not {field!r}")


def _refuse(source: str, message: str) -> NoReturn:
    raise InvalidInput(f"`{_shown(source)}` is refused: {message}")


def _shown(source: str) -> str:
    return source if len(source) <= 80 else f"{source[:79]}…"


def _syntax(message: str) -> str:
    match = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)", message)
    if match is None:
        return message.splitlines()[0][:200]
    line, column, text = match.groups()
    text = text.split(" expecting ")[0].replace("'<EOF>'", "the end")
    place = f"character {column}" if line == "1" else f"line {line} character {column}"
    return f"{text} at {place}"


def _explain(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no key {str(error.args[0]).strip(chr(39))!r} (has(…) tests for one)"
    text = str(error)
    missing = re.match(r"Undefined variable or function: '(\w+)'", text)
    if missing and missing[1] in _FUNCTIONS:
        return f"{missing[1]}() does not take a value of this type"
    return text.split("\n", 1)[0].rstrip(".")


def _error(source: str, path: str, message: str) -> ExpressionError:
    return ExpressionError(
        f"`{_shown(source)}` failed{f' at {path}' if path else ''}: {message}.",
        errors=[FieldError(path, message)],
        source=source,
    )


def _fail(source: str, path: str, message: str) -> NoReturn:
    raise _error(source, path, message)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "a map"
        case list():
            return "a list"
        case str():
            return "a string"
    return "a number"


def _trie(paths: Iterable[tuple[str, ...]]) -> _Trie:
    """Paths as a tree whose leaves (None) stand for whole values."""
    root: _Trie = {}
    for path in sorted(paths, key=len, reverse=True):  # a shorter path takes in the longer ones
        node = root
        for key in path[:-1]:
            child = node.setdefault(key, {})
            node = {} if child is None else child
        node[path[-1]] = None
    return root


def _narrow(value: Any, reads: _Trie | None) -> Any:
    """Only what is read of `value`: the evaluator converts all that it is given."""
    if reads is None or not isinstance(value, dict):
        return value
    return {key: _narrow(value[key], sub) for key, sub in reads.items() if key in value}


def _longest_text(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return max(map(_longest_text, value.values()), default=0)
    if isinstance(value, list):
        return max(map(_longest_text, value), default=0)
    return 0


def _longest(value: Any) -> int:
    if isinstance(value, dict):
        return max(len(value), *map(_longest, value.values()), 0)
    if isinstance(value, list):
        return max(len(value), *map(_longest, value), 0)
    return 0
