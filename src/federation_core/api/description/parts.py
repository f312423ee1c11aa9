"""What the operations of the OpenAPI document share: headers, refusals, tags."""

from http import HTTPStatus
from typing import Any

from ..bodies import MAX_BODY_BYTES
from ..headers import MAX_WAIT_S
from .schemas import Json

__all__ = ["ANSWER_HEADERS", "HEADERS", "IDS", "PROBLEMS", "TAGS", "WHY"]

WHY = {
    401: "No token, or one that cannot be believed.",
    403: "The token lacks the scope, the actor is not a required approver, or policy refuses it.",
    404: "No such thing, or one of another tenant.",
    408: "The body did not come to its end in time.",
    409: "The state does not have this transition, the gate is not pending, or the idempotency key "
    "was used with another request. Nothing was changed.",
    413: f"The body is over {MAX_BODY_BYTES} bytes.",
    415: "The body is not said to be JSON.",
    422: "The request does not validate; `errors` names every place.",
    429: "More requests than the server takes at once; `Retry-After` says when to come back.",
    503: "The ledger cannot be written now; nothing happened.",
}
IDS = {
    "X-Correlation-Id": "The correlation id that was sent, or the one that was made.",
    "X-Request-Id": "Names this request in the server's log.",
}
ANSWER_HEADERS = {
    "Location": "Where what was created is found.",
    "Preference-Applied": "The wait that was heeded, where one was asked for.",
    "Idempotency-Replayed": "`true` where this is the first answer to the idempotency key again.",
}


TAGS = {
    "runs": "Runs: their birth, their status, their log.",
    "steps": "Steps of external runs.",
    "gates": "Asking people, and their answers.",
    "workflows": "Registered workflows.",
    "schedules": "Runs at set times.",
    "policies": "Policy bundles.",
    "evidence": "Packs that convince a stranger, receipts, and erasure.",
    "ledger": "The log of all events: its checkpoints, proofs, tiles and keys.",
    "health": "Whether the server lives and can work.",
    "description": "This description.",
    "OMEGA aliases": "The same operations under the paths of existing OMEGA clients. Unknown "
    "fields of a request are ignored here.",
}


def _example(status: int, code: str, detail: str, **more: Any) -> Json:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": "/workflows/runs",
        "code": code,
        **more,
    }


PROBLEMS = {
    401: _example(401, "token_missing", "A token is missing; send it as Authorization: Bearer …"),
    403: _example(
        403, "forbidden", "This needs the scope 'workflow:write', which the token does not have."
    ),
    409: _example(
        409,
        "invalid_transition",
        "A run that is pending cannot become paused; it can become running, cancelled, failed.",
    ),
    422: _example(
        422,
        "invalid_input",
        "The body is refused: /workflow_id: required.",
        errors=[{"path": "/workflow_id", "message": "required"}],
    ),
}


def _header(name: str, told: str, schema: Json, **more: Any) -> Json:
    return {"name": name, "in": "header", "description": told, "schema": schema, **more}


_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_@+][A-Za-z0-9._:@/+-]{0,127}$"}
HEADERS: Json = {
    "X-Tenant-Id": _header(
        "X-Tenant-Id", "The tenant; another than the token's needs `actor:delegate`.", _NAME
    ),
    "X-Actor-Id": _header(
        "X-Actor-Id", "Who acts; another than the token's needs `actor:delegate`.", _NAME
    ),
    "X-Correlation-Id": _header(
        "X-Correlation-Id",
        "Kept as it is, in the answer and in the ledger; one is made where it is missing.",
        _TEXT,
        example="t:default|c:01932d5e-8f69-7aa0-b1c2-6d7e8f901234",
    ),
    "X-Idempotency-Key": _header(
        "X-Idempotency-Key",
        "The same key with the same request answers the first answer again; with another request "
        "it is a 409.",
        _TEXT,
        example="refund-A-1042",
    ),
    "X-Policy-Mode": _header(
        "X-Policy-Mode",
        "Tightens the tenant's policy mode; it never loosens it.",
        {"type": "string", "enum": ["LOOSE", "STRICT"]},
    ),
    "Prefer": _header(
        "Prefer",
        f"`wait=<seconds>` (RFC 7240), at most {MAX_WAIT_S:g}.",
        {"type": "string"},
        example="wait=10",
    ),
    "Last-Event-ID": _header(
        "Last-Event-ID",
        "The id of the last event that was seen.",
        {"type": "string", "pattern": "^[0-9]{1,15}$"},
    ),
}
