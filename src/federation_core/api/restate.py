"""The endpoint that Restate calls: a virtual object per run, and one handler that drives it.

A call is held until the run has nothing to do soon, and no longer than `_HOLD_S`: then it is
answered, and the run is driven on. So a step may take as long as it likes, no wake-up is queued
behind it for long, and the timeouts by which Restate gives a node up are short. What is left to do
when a node dies after its answer, the sweep of any node finds.

The handler journals nothing: there is nothing that a replay, a second call or a new version of the
service could contradict.
"""

import asyncio
import hmac
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Receive,
    Scope,
    Send,
)
from restate import InvocationRetryPolicy, ObjectContext, VirtualObject
from restate.endpoint import app as endpoint_app
from restate.exceptions import RetryableError

from ..engine.restate import Busy, RestateEngine
from ..engine.restate.options import HANDLER, PATH
from ..errors import Unauthenticated
from .problems import PROBLEM_JSON, problem_of

__all__ = ["Mounted"]

_HOLD_S = 10.0
_MAX_HELD = 512
"""Each held call keeps a connection; beyond this many, calls are answered as soon as they came."""

_ABORT = timedelta(seconds=2 * _HOLD_S)
"""A call that is not answered for so long will not be, for the node has vanished: Restate calls
another one. (The inactivity timeout is for streams; Restate has none for requests that come
whole.)"""

_RETRY = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    exponentiation_factor=2.0,
    max_interval=timedelta(seconds=2),
    max_attempts=150,
    on_max_attempts="kill",
)
"""About five minutes. An invocation that is given up is not missed, for the sweep sends another;
one that were kept paused would stand in the way of every other of its run."""

_BUSY = timedelta(seconds=1)
_SAY_AGAIN_S = 60.0


class Mounted:
    """`app`, and below `/restate` the endpoint of `engine` for whoever shows its token."""

    def __init__(self, app: ASGIApp, engine: RestateEngine, closing: asyncio.Event) -> None:
        self._app = app
        self._token = f"Bearer {engine.restate.token}".encode()
        self._endpoint = _endpoint(engine, closing)
        self._said = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(f"{PATH}/"):
            await self._app(scope, receive, send)
            return
        scope["state"]["operation"] = "restate"
        if self._is_restate(scope):
            await self._endpoint(scope, receive, send)
        else:
            self._say()
            await _refuse(scope, send)

    def _is_restate(self, scope: Scope) -> bool:
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._token)

    def _say(self) -> None:
        """Once a minute: the caller may be anybody, or a Restate that a node with another secret
        has registered itself with."""
        now = time.monotonic()
        if not self._said or now - self._said > _SAY_AGAIN_S:
            self._said = now
            structlog.get_logger().warning("engine_call_refused", why="it shows another token")


def _endpoint(engine: RestateEngine, closing: asyncio.Event) -> Any:
    run = VirtualObject(
        engine.service, description="Drives runs of Federation Core; its keys are run ids."
    )
    held = 0

    @run.handler(
        HANDLER,
        abort_timeout=_ABORT,
        journal_retention=timedelta(0),
        idempotency_retention=timedelta(0),
        invocation_retry_policy=_RETRY,
    )
    async def drive(ctx: ObjectContext) -> None:
        nonlocal held
        if closing.is_set():
            raise RetryableError("This node is stopping.", 503, _BUSY)
        try:
            driver = engine.take(ctx.key())
        except Busy as e:
            raise RetryableError(str(e), 503, _BUSY) from e
        if held >= _MAX_HELD:
            return
        held += 1
        stop = asyncio.ensure_future(closing.wait())
        try:
            either: set[asyncio.Future[Any]] = {driver, stop}
            await asyncio.wait(either, timeout=_HOLD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            held -= 1

    app = endpoint_app(
        [run], protocol="request_response", identity_keys=list(engine.restate.identity_keys)
    )
    _leave_signals_alone(app)
    return app


def _leave_signals_alone(app: Any) -> None:
    """At its first call Restate's application takes SIGTERM from whoever had it, if it can. It
    cannot in a thread, and does not try again; and what it wants to know (to end streams that it is
    reading from) does not happen where a request comes whole."""

    def call() -> None:
        with suppress(ValueError):  # it has no lifespan, and says so
            asyncio.run(app({"type": "lifespan"}, None, None))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


async def _refuse(scope: Scope, send: Send) -> None:
    why = "This path is for Restate, with the token that it was given at its registration."
    problem = problem_of(Unauthenticated(why), scope["path"])
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"www-authenticate", b"Bearer")]
    start: HTTPResponseStartEvent = {
        "type": "http.response.start",
        "status": problem.status,
        "headers": headers,
    }
    body: HTTPResponseBodyEvent = {
        "type": "http.response.body",
        "body": msgspec.json.encode(problem),
        "more_body": False,
    }
    await send(start)
    await send(body)
