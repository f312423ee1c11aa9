"""Errors as problem details (RFC 9457): the one place that knows what status an error has."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from ..errors import (
    Conflict,
    FederationError,
    FieldError,
    Forbidden,
    IntegrityError,
    InvalidInput,
    NotFound,
    OperatorError,
    StaleAppend,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
)
from .bodies import TooSlow, UnsupportedMedia

__all__ = ["PROBLEM_JSON", "Problem", "problem_of", "to_problem"]

PROBLEM_JSON = "application/problem+json"

_STATUS: dict[type, int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    StaleAppend: 409,
    TooLarge: 413,
    TooSlow: 408,
    UnsupportedMedia: 415,
    InvalidInput: 422,
    TooManyRequests: 429,
    OperatorError: 503,
    IntegrityError: 503,
}
_AS_CALLED = "/:@!$&'()*+,;=~"
"""What stands in a path as it is (RFC 3986 section 3.3)."""

_RETRY_AFTER_S = {429: 1, 503: 5}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong. `code` is a stable name of the cause, `detail` a sentence that says what
    would be right; `errors` names each place in the request, where places are what is wrong."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] = []


def to_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    problem = problem_of(error, request.scope["path"])
    if problem.status >= 500:
        _log(request, error, problem)
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=_headers(error, problem),
    )


def problem_of(error: Exception, path: str) -> Problem:
    """What a caller may know of `error`; of one that nobody foresaw, nothing."""
    errors: tuple[FieldError, ...] = ()
    match error:
        case FederationError():
            status = next((_STATUS[c] for c in type(error).__mro__ if c in _STATUS), 500)
            code, detail, errors = error.error_code, error.detail, error.errors
        case HTTPException(status_code=404):
            status, code = 404, "no_such_path"
            detail = f"There is nothing at {path[:200]}; /schema tells what there is."
        case HTTPException(status_code=405):
            status, code, detail = 405, "method_not_allowed", _allowed(error)
        case HTTPException(status_code=status) if status < 500:
            code, detail = "bad_request", f"The request cannot be read: {error.detail}."
        case _:
            status, code = 500, "internal"
            detail = "Something went wrong in the server; X-Request-Id names the line of its log."
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=quote(path[:500], safe=_AS_CALLED),
        code=code,
        errors=list(errors),
    )


def _allowed(error: HTTPException) -> str:
    allowed = (error.headers or {}).get("allow", "")
    return f"This path does not take the method; it takes {allowed or 'another'}."


def _headers(error: Exception, problem: Problem) -> dict[str, str]:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.status == 401:
        missing = problem.code == "token_missing"
        headers["WWW-Authenticate"] = "Bearer" if missing else 'Bearer error="invalid_token"'
    if problem.status in _RETRY_AFTER_S:
        headers["Retry-After"] = str(_RETRY_AFTER_S[problem.status])
    return headers


def _log(request: Request[Any, Any, Any], error: Exception, problem: Problem) -> None:
    facts = {
        "request_id": request.scope["state"].get("request_id"),
        "method": request.scope["method"],
        "path": request.scope["path"],
        "code": problem.code,
    }
    log = structlog.get_logger()
    if isinstance(error, FederationError):
        log.error("request_failed", why=error.detail, **facts)
    else:
        log.error("request_crashed", exc_info=error, **facts)
