"""The schemas of the OpenAPI document: msgspec's own, in the contract's words.

They are made of the structs that check requests and write answers, so what the document says of a
field is what the server does with it.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from ...spine.definition import StepType
from ...spine.events import Execution, GateType, RunStatus
from ..operation import Operation
from ..problems import Problem

__all__ = ["Json", "Schemas", "not_null"]

Json = dict[str, Any]

_NAMES = {
    "RunDoc": "Run",
    "GateDoc": "Gate",
    "DecisionDoc": "Decision",
    "WorkflowDoc": "Workflow",
}
"""Rows that are answered as they are, by the contract's name for them."""

_EFFECTS = ["allow", "deny", "flag"]
_STEP_STATUS = [
    "pending",
    "running",
    "waiting",
    "completed",
    "failed",
    "denied",
    "skipped",
    "in_doubt",
]
_GATE_STATUS = ["pending", "approved", "rejected", "expired", "bypassed"]
_ENUMS: dict[tuple[str, str], list[str]] = {
    ("Run", "status"): list(get_args(RunStatus)),
    ("Run", "execution"): list(get_args(Execution)),
    ("Step", "status"): _STEP_STATUS,
    ("Step", "step_type"): [kind.value for kind in StepType],
    ("Decision", "decision"): _EFFECTS,
    ("Gate", "status"): _GATE_STATUS,
    ("Gate", "gate_type"): list(get_args(GateType)),
}
"""What fields hold that the structs of answers leave as text."""


class Schemas:
    """msgspec's schemas of every type that is asked or answered, under the contract's names."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        kinds = [k for o in operations for k in (o.body, o.query, o.answer) if _is_value(k)]
        kinds.append(Problem)
        found, components = msgspec.json.schema_components(
            kinds, ref_template="#/components/schemas/{name}"
        )
        self._by_kind = {
            repr(kind): _finished("", schema) for kind, schema in zip(kinds, found, strict=True)
        }
        named = {_NAMES.get(name, name): schema for name, schema in components.items()}
        self.components: Json = {
            name: _finished(name, schema) for name, schema in sorted(named.items())
        }
        queries = {o.query.__name__ for o in operations if o.query is not None}
        self.queries = {name: self.components.pop(name) for name in queries}
        for operation in operations:
            if operation.body is not None:
                self.components[operation.body.__name__]["additionalProperties"] = False

    def of(self, kind: Any) -> Json:
        """The schema of a type, by reference where it has a name."""
        schema: Json = self._by_kind[repr(kind)]
        return schema


def _is_value(kind: Any) -> bool:
    """Bytes and streams are answered as they are."""
    return kind is not None and kind is not bytes and "AsyncIterator" not in repr(kind)


def _finished(name: str, schema: Any) -> Any:
    """The schema with the contract's names, and with what only JSON Schema can say."""
    if isinstance(schema, list):
        return [_finished(name, part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    done = {key: _finished(name, value) for key, value in schema.items()}
    if "$ref" in done:
        prefix, _, last = done["$ref"].rpartition("/")
        return {"$ref": f"{prefix}/{_NAMES.get(last, last)}"}
    if isinstance(done.get("pattern"), str):  # ECMA 262 knows no other way to write the ends
        done["pattern"] = done["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if name and isinstance(done.get("title"), str):
        done["title"] = name
    if isinstance(done.get("description"), str):
        done["description"] = " ".join(done["description"].split())
    for field, told in done.get("properties", {}).items():
        _say_more(name, field, told)
    return done


def _say_more(name: str, field: str, told: Json) -> None:
    """What the type of a field in an answer does not say."""
    if (name, field) in _ENUMS:
        told["enum"] = _ENUMS[name, field]
    elif field.endswith("_at") or field in ("timestamp", "ts"):
        for branch in told.get("anyOf", [told]):
            if branch["type"] == "string":
                branch["format"] = "date-time"


def not_null(schema: Json) -> Json:
    """In a query a value is given or it is not; there is no null."""
    if "enum" in schema:
        return {"type": "string", "enum": [v for v in schema["enum"] if v is not None]}
    branches = [b for b in schema.get("anyOf", []) if b.get("type") != "null"]
    return branches[0] if branches else schema
