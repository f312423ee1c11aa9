"""The OpenAPI 3.1 document, made of the operations."""

from collections.abc import Sequence
from http import HTTPStatus

from ... import __version__
from ..operation import EVENT_STREAM, JSON, Operation
from ..problems import PROBLEM_JSON, Problem
from .examples import ANSWERS
from .parts import ANSWER_HEADERS, HEADERS, IDS, PROBLEMS, TAGS, WHY
from .schemas import Json, Schemas, not_null

__all__ = ["document"]

_ID = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_ABOUT = """\
Federation Core runs workflows that have to answer for themselves. Every step is put to a policy
before it runs, flagged steps wait for people, and each change of state is an event in an
append-only ledger.

JSON in, JSON out. Times are RFC 3339 UTC; ids are opaque. Unknown fields are refused. Errors are
problem details (RFC 9457) whose `code` is stable. Every request but those for health, metrics and
this description carries `Authorization: Bearer omega_…`."""


_EVENT = {
    "description": "One event of the stream.",
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"$ref": "#/components/schemas/LogEntry"},
        },
    },
}


def document(operations: Sequence[Operation]) -> Json:
    """The document of these operations, as JSON values."""
    schemas = Schemas(operations)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Federation Core", "version": __version__, "description": _ABOUT},
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": HEADERS,
            "headers": {
                name: {"description": told, "schema": {"type": "string"}}
                for name, told in IDS.items()
            },
            "responses": {str(status): _problem(status, schemas) for status in WHY},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`omega_<payload>.<signature>`, HMAC-SHA256.",
                }
            },
        },
    }


def _operation(operation: Operation, schemas: Schemas) -> Json:
    is_alias = operation.lenient
    told: Json = {
        "operationId": operation.name + ("_alias" if is_alias else ""),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, schemas)],
        "responses": _responses(operation, schemas),
    }
    if operation.scope is not None:
        told["security"] = [{"token": []}]
        told["x-required-scope"] = str(operation.scope)
        told["parameters"] += [{"$ref": f"#/components/parameters/{n}"} for n in _sent(operation)]
    if operation.body is not None:
        content: Json = {"schema": schemas.of(operation.body)}
        if operation.example is not None:
            content["example"] = operation.example
        told["requestBody"] = {"required": True, "content": {JSON: content}}
    return {key: value for key, value in told.items() if value not in ("", [])}


def _path_parameters(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _ID}
        for name in operation.parameters
    ]


def _query_parameters(operation: Operation, schemas: Schemas) -> list[Json]:
    if operation.query is None:
        return []
    fields = schemas.queries[operation.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "schema": not_null(schema)} for name, schema in fields.items()
    ]


def _sent(operation: Operation) -> list[str]:
    """The headers that mean something to this operation."""
    names = ["X-Tenant-Id", "X-Actor-Id", "X-Correlation-Id", "X-Policy-Mode"]
    if operation.takes_key:
        names.append("X-Idempotency-Key")
    if operation.waits:
        names.append("Prefer")
    if operation.media_type == EVENT_STREAM:
        names.append("Last-Event-ID")
    return names


def _responses(operation: Operation, schemas: Schemas) -> Json:
    content: Json = {}
    if operation.media_type == JSON:
        content["schema"] = schemas.of(operation.answer)
        if operation.name in ANSWERS:
            content["example"] = ANSWERS[operation.name]
    else:
        is_stream = operation.media_type == EVENT_STREAM
        content["schema"] = _EVENT if is_stream else {"type": "string"}
    headers: Json = {name: {"$ref": f"#/components/headers/{name}"} for name in IDS}
    for name in _answered(operation):
        headers[name] = {"description": ANSWER_HEADERS[name], "schema": {"type": "string"}}
    answer = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": headers,
        "content": {operation.media_type.partition(";")[0]: content},
    }
    refusals = {str(s): {"$ref": f"#/components/responses/{s}"} for s in operation.refusals}
    return {str(operation.status): answer, **refusals}


def _answered(operation: Operation) -> list[str]:
    names = []
    if operation.location is not None:
        names.append("Location")
    if operation.waits:
        names.append("Preference-Applied")
    if operation.takes_key:
        names.append("Idempotency-Replayed")
    return names


def _problem(status: int, schemas: Schemas) -> Json:
    content: Json = {"schema": schemas.of(Problem)}
    if status in PROBLEMS:
        content["example"] = PROBLEMS[status]
    return {
        "description": WHY[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in IDS},
        "content": {PROBLEM_JSON: content},
    }
