"""The outermost layer: whatever is answered, it carries the ids that find it again in the logs."""

import time
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.ports import new_id
from ..telemetry import Request, Tracer, about
from ..telemetry.about import over
from ..telemetry.tracing import request_ended, request_trace
from .headers import readable
from .metrics import Metrics

__all__ = ["Correlated", "correlation_of"]

_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def correlation_of(scope: Scope, tenant: str) -> str:
    """The request's correlation id: the caller's, or one made for `tenant` and then kept."""
    state = scope["state"]
    if state["correlation_id"] is None:
        state["correlation_id"] = f"t:{tenant}|c:{new_id()}"
        state["about"].correlation_id = state["correlation_id"]
    made: str = state["correlation_id"]
    return made


class Correlated:
    """Adds `X-Correlation-Id` and `X-Request-Id` to every answer, counts it, and traces it. A
    caller's correlation id that could not stand in a line of a log is replaced. HEAD is GET without
    the body (RFC 9110 section 9.3.2)."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, default_tenant: str, tracer: Tracer | None = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._default_tenant = default_tenant
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        method, began = scope["method"], time.perf_counter()
        if method == "HEAD":
            scope["method"] = "GET"
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = new_id()
        state["correlation_id"] = _given(scope)
        told = state["about"] = Request(state["request_id"], state["correlation_id"])
        token, trace = about(told), request_trace(self._tracer, scope["headers"])
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._ids(scope), *_ALWAYS]
                operation = state.get("operation", "none")
                took = time.perf_counter() - began
                self._metrics.answered(operation, method, message["status"], took)
            elif method == "HEAD" and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:  # it broke after the answer had begun: all that is left is to cut it off
            structlog.get_logger().exception("answer_broke", request_id=state["request_id"])
            raise
        finally:
            request_ended(trace, state.get("operation", "none"), method, status, told)
            over(token)

    def _ids(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        correlation = correlation_of(scope, self._default_tenant)
        return [
            (b"x-correlation-id", correlation.encode()),
            (b"x-request-id", scope["state"]["request_id"].encode()),
        ]


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-correlation-id":
            return readable(value)
    return None
