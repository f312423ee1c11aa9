"""The shape of a workflow file: `workflow.schema.json`, with messages that say what would be right.

The schema is the one that editors use. Its `errorMessage` (which some of them show as well) is
the message wherever it stands near what failed.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

from .pointers import join
from .schemas import Validator, compile_schema
from .workflow_problems import Problem, suggestion
from .workflow_yaml import Document

__all__ = ["shape_problems", "workflow_schema"]

_LATER_KEYS = frozenset({"capability"})
_LATER_RUNS = ("agent", "mcp")
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text (in quotes, where it looks like something else)",
}

Kind = jsonschema_rs.ValidationErrorKind


@cache
def workflow_schema() -> dict[str, Any]:
    """The JSON Schema of workflow files, as it is published."""
    text = files(__package__).joinpath("workflow.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> Validator:
    return compile_schema(workflow_schema())


def shape_problems(document: Document) -> Iterator[Problem]:
    """What the schema finds wrong, each at the value, or at the key that should not be there."""
    for error in _validator().raw_errors(document.value):
        path = join(error.instance_path)
        match error.kind:
            case Kind.AdditionalProperties(unexpected=keys):
                for key in keys:
                    message = _unknown_key(key, error)
                    yield document.problem(path + join([key]), message, of_key=True)
            case Kind.PropertyNames(error=inner):
                key = join([str(inner.instance)])
                yield document.problem(path + key, _message(error), of_key=True)
            case Kind.Not():
                yield document.problem(path, _message(error), of_key=_is_out_of_place(error))
            case _:
                yield document.problem(path, _message(error))


def _is_out_of_place(error: jsonschema_rs.ValidationError) -> bool:
    return "then" in error.schema_path


def _unknown_key(key: str, error: jsonschema_rs.ValidationError) -> str:
    if key in _LATER_KEYS:
        return f"{key!r} is not available in this version"
    known = list(_schema_at(error.schema_path[:-1])["properties"])
    hint = suggestion(key, known) or f"; known: {', '.join(known)}"
    return f"unknown key {key!r}{hint}"


def _message(error: jsonschema_rs.ValidationError) -> str:
    if error.instance_path[-1:] == ["run"] and error.instance in _LATER_RUNS:
        return (
            f"run: {error.instance} is not available in this version; "
            "available: python, http, expression, workflow"
        )
    match error.kind:
        case Kind.Required(property=key):
            return f"the key {key!r} is missing"
        case Kind.Enum(options=options):
            known = [str(option) for option in options]
            return f"must be one of {', '.join(known)}{suggestion(str(error.instance), known)}"
    for length in range(len(error.schema_path), 0, -1):
        node = _schema_at(error.schema_path[:length])
        if isinstance(node, dict) and "errorMessage" in node:
            return str(node["errorMessage"])
    if isinstance(error.kind, Kind.Type):
        return f"must be {' or '.join(_TYPES[name] for name in error.kind.types)}"
    return error.message


def _schema_at(path: list[str | int]) -> Any:
    node: Any = workflow_schema()
    for part in path:
        node = node[part]
    return node
