"""C2SP tlog-witness over HTTP: an ASGI application with one route, POST /add-checkpoint.

200 has the cosignature, 409 the size that was cosigned last; every other answer is a sentence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from ..errors import FederationError
from .errors import (
    ForkedLog,
    InconsistentLog,
    LogSignature,
    RequestMalformed,
    StaleSize,
    UnknownLog,
)
from .protocol import (
    MAX_REQUEST_BYTES,
    PATH,
    SIZE_TYPE,
    encode_cosignatures,
    encode_size,
    parse_request,
)
from .witness import Witness

__all__ = ["WitnessApp"]

Receive = Callable[..., Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_TEXT = "text/plain; charset=utf-8"
_BODY_TIMEOUT_S = 10.0
_STATUS: dict[type[FederationError], int] = {
    RequestMalformed: 400,
    LogSignature: 403,
    UnknownLog: 404,
    ForkedLog: 409,
    InconsistentLog: 422,
}

_log = structlog.get_logger(__name__)


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class WitnessApp:
    """The ASGI application of one witness."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Any, receive: Receive) -> _Answer:
        if scope["path"] != PATH:
            return _said(404, f"There is only {PATH} here.")
        if scope["method"] != "POST":
            return _said(405, f"{PATH} takes POST.", (b"allow", b"POST"))
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                body = await _body(receive)
        except TimeoutError:
            return _said(408, "The request did not come to its end in time.")
        if body is None:
            return _said(413, f"A request has at most {MAX_REQUEST_BYTES} bytes.")
        # A thread waits for the disk, so that the others are read meanwhile.
        return await asyncio.to_thread(self._decided, body)

    def _decided(self, body: bytes) -> _Answer:
        try:
            cosignatures = self._witness.add_checkpoint(parse_request(body))
        except StaleSize as e:
            return _Answer(409, encode_size(e.size), SIZE_TYPE)
        except FederationError as e:
            return _refused(e, body)
        except Exception:
            _log.exception("request_failed")
            return _said(500, "The witness failed; its log says why.")
        return _Answer(200, encode_cosignatures(cosignatures))


def _refused(error: FederationError, body: bytes) -> _Answer:
    if isinstance(error, ForkedLog | InconsistentLog):
        # The log signed this: with what it signed before it proves what the log did.
        _log.error(error.code, detail=error.detail, request=body.decode(errors="replace"))
    status = _STATUS.get(type(error))
    if status is None:  # nothing that the log can mend
        _log.error(error.code, detail=error.detail)
        return _said(503, "The witness cannot work now; its operator has to mend something.")
    return _said(status, error.detail)


def _said(status: int, sentence: str, *headers: tuple[bytes, bytes]) -> _Answer:
    return _Answer(status, f"{sentence}\n".encode(), headers=headers)


async def _body(receive: Receive) -> bytes | None:
    """What was sent; None where it is over the limit, of which no more is read then."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(parts)
        parts += message.get("body", b"")
        if len(parts) > MAX_REQUEST_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(parts)
