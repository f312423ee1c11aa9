"""JSON Schema (Draft 2020-12, or what `$schema` says), for input that nobody vouches for.

No reference is ever fetched, patterns run on an engine that takes linear time, `format` is
checked, and a schema whose work grows without bounds is refused.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from ..errors import FieldError, InvalidInput
from .canonical import MAX_DEPTH, canonical, check_value
from .pointers import join
from .schema_cost import deepest

__all__ = [
    "MAX_ERRORS",
    "MAX_SCHEMA_BYTES",
    "MAX_VISITS",
    "Validator",
    "compile_schema",
    "validate",
]

MAX_SCHEMA_BYTES = 65_536
MAX_ERRORS = 100
MAX_VISITS = 4_000
"""How often subschemas may look at one value, along the worst path through it."""

_REGEX = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_LEAST_DEPTH = 4

Kind = jsonschema_rs.ValidationErrorKind


class Validator:
    """A compiled schema."""

    __slots__ = ("_depth", "_validator")

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        self._depth = deepest(schema, MAX_DEPTH, MAX_VISITS)
        if self._depth < _LEAST_DEPTH:
            raise InvalidInput(f"it looks at one value more than {MAX_VISITS} times")
        self._validator = jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=_REGEX, validate_formats=True, mask="the value"
        )

    def errors(self, value: Any) -> list[FieldError]:
        """What is wrong with `value`, at most `MAX_ERRORS`, without repeating any of it. Raises
        `InvalidInput` where it is no JSON value or nested too deep for a recursive schema."""
        found = (part for error in self.raw_errors(value) for part in _describe(error))
        return list(islice(found, MAX_ERRORS))

    def raw_errors(self, value: Any) -> Iterator[jsonschema_rs.ValidationError]:
        """The same as the library gives them, with the path into the schema."""
        check_value(value)
        if self._depth < MAX_DEPTH and _depth(value) > self._depth:
            message = f"this schema takes values nested at most {self._depth} levels deep"
            raise InvalidInput(
                f"The value is refused: {message}.", errors=[FieldError("", message)]
            )
        return self._validator.iter_errors(value)


def compile_schema(schema: dict[str, Any] | bool) -> Validator:
    """Raises `InvalidInput` with the place (a JSON pointer) of what makes the schema unusable."""
    check_value(schema)
    encoded = canonical(schema)
    if len(encoded) > MAX_SCHEMA_BYTES:
        _refuse("", f"it is larger than {MAX_SCHEMA_BYTES} bytes")
    return _compile(encoded)


def validate(schema: dict[str, Any] | bool, value: Any) -> list[FieldError]:
    """What is wrong with `value`: empty where it is valid. Raises `InvalidInput` for a bad
    schema."""
    return compile_schema(schema).errors(value)


@lru_cache(maxsize=256)
def _compile(encoded: bytes) -> Validator:
    schema = msgspec.json.decode(encoded)
    if not isinstance(schema, (dict, bool)):
        _refuse("", "it must be an object, true or false")
    try:
        return Validator(schema)
    except jsonschema_rs.ValidationError as e:
        _refuse(join(e.instance_path), _bad_schema(e))
    except jsonschema_rs.ReferencingError as e:
        _refuse("", str(e))
    except InvalidInput as e:
        _refuse(e.errors[0].path if e.errors else "", e.detail)


def _bad_schema(error: jsonschema_rs.ValidationError) -> str:
    if isinstance(error.kind, Kind.Format) and error.kind.format == "regex":
        return "the pattern is not a regular expression that runs in linear time"
    if isinstance(error.kind, Kind.AnyOf) and error.instance_path[-1:] == ["type"]:
        return "a type is array, boolean, integer, null, number, object or string"
    return error.message


def _refuse(path: str, message: str) -> NoReturn:
    raise InvalidInput(
        f"The JSON Schema is refused{f' at {path}' if path else ''}: {message}.",
        errors=[FieldError(path, message)],
    )


def _describe(error: jsonschema_rs.ValidationError) -> Iterator[FieldError]:
    match error.kind:
        case (
            Kind.AdditionalProperties(unexpected=keys) | Kind.UnevaluatedProperties(unexpected=keys)
        ):
            for key in keys:
                yield FieldError(join([*error.instance_path, key]), "the schema has no such key")
        case Kind.Required(property=key):
            yield FieldError(join(error.instance_path), f"the key {key!r} is missing")
        case Kind.FalseSchema():
            yield FieldError(join(error.instance_path), "nothing may stand here")
        case _:
            yield FieldError(join(error.instance_path), error.message)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
