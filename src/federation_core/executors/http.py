"""`run: http`: send one request, take one bounded answer.

The output of a 2xx answer is its JSON body; of other text `{"text": …}`; of none at all, null.
"""

import base64
import contextlib
import os
import re
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import quote

import httpcore
import httpx

from ..errors import InvalidInput
from ..spine.canonical import parse
from ..spine.definition import HttpWork
from ..telemetry import outgoing
from .allow import AllowList
from .base import MAX_OUTPUT_BYTES, StepContext, StepError
from .http_request import OutgoingRequest, prepare
from .network import GuardedBackend, GuardedTransport, Resolver, resolve

__all__ = ["HttpExecutor"]

_CONNECT_S = 10.0
"""Seconds that one address may take; the step's timeout bounds the whole."""
_EXCERPT_CHARS = 300
_RETRIABLE = frozenset({408, 425, 429})
_MIN_SECRET = 8
"""Shorter pieces of a secret stand in too many innocent places to be blotted out."""


class HttpExecutor:
    """Sends a step's request to a host of `allow`.

    No redirect is followed, no cookie kept, no proxy or `.netrc` of the environment used.
    """

    def __init__(
        self,
        allow: AllowList,
        *,
        environ: Mapping[str, str] = os.environ,
        resolver: Resolver = resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        max_bytes: int = MAX_OUTPUT_BYTES,
    ) -> None:
        self._allow = allow
        self._environ = environ
        self._backend = GuardedBackend(allow, resolver, backend)
        self._max_bytes = max_bytes
        self._client: httpx.AsyncClient | None = None

    async def execute(
        self, work: HttpWork, step_input: Any, ctx: StepContext, scope: Mapping[str, Any]
    ) -> Any:
        del scope  # the input is the evaluated request
        request = prepare(work, step_input, ctx, self._allow, self._environ)
        try:
            with outgoing(request.method, *request.target, request.headers) as trace:
                async with self._opened().stream(
                    request.method, request.url, headers=request.headers, content=request.content
                ) as response:
                    trace.status = response.status_code
                    return await self._answer(request, response)
        except httpx.TransportError as e:
            message = f"{request.label} failed: {e or 'no more is known'}."
            raise StepError(type(e).__name__, message, retriable=True) from e

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=GuardedTransport(self._backend),
                headers={"User-Agent": "federation-core", "Accept-Encoding": "gzip"},
                timeout=httpx.Timeout(None, connect=_CONNECT_S),
                trust_env=False,
            )
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return self._client

    async def _answer(self, request: OutgoingRequest, response: httpx.Response) -> Any:
        status = response.status_code
        said = f"{request.label} answered {status}"
        if 300 <= status < 400:
            raise StepError("Redirect", f"{said}, a redirect, which is not followed.")
        if status >= 400:
            raise StepError(
                "HttpStatus",
                f"{said}: {await self._excerpt(request, response)}",
                retriable=status >= 500 or status in _RETRIABLE,
            )
        body = await _body(response, self._max_bytes)
        if len(body) > self._max_bytes:
            raise StepError("AnswerRefused", f"{said} with over {self._max_bytes} bytes.")
        return _blotted_value(_value(body, response, said), request.secrets)

    async def _excerpt(self, request: OutgoingRequest, response: httpx.Response) -> str:
        """The beginning of what an error answer says, on one line; nothing of it where secrets
        were sent, for people see it, and there are too many ways to spell one."""
        if request.secrets:
            return "what it says is withheld, for a secret was sent"
        try:
            body = await _body(response, self._max_bytes)
        except StepError as e:
            return e.message
        text = body.decode("utf-8", "replace")
        return " ".join(text[:_EXCERPT_CHARS].split())


async def _body(response: httpx.Response, limit: int) -> bytes:
    """The body without its content coding, cut off (and no more read) beyond `limit` + 1 bytes."""
    raw = bytearray()
    stream = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
    async with contextlib.aclosing(stream) as chunks:
        async for chunk in chunks:
            raw += chunk
            if len(raw) > limit:
                break
    coding = response.headers.get("content-encoding", "").strip().lower()
    if not raw or coding in ("", "identity"):
        return bytes(raw[: limit + 1])
    if coding not in ("gzip", "x-gzip"):
        raise StepError("AnswerRefused", f"The answer is coded as {coding!r}; only gzip is read.")
    return _inflated(bytes(raw), limit)


def _inflated(raw: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = inflater.decompress(raw, limit + 1)
    except zlib.error as e:
        raise StepError("AnswerRefused", f"The answer is no gzip: {e}.") from e
    if len(body) <= limit and (not inflater.eof or inflater.unused_data):
        raise StepError("AnswerRefused", "The answer's gzip does not end where the body ends.")
    return body


def _value(body: bytes, response: httpx.Response, said: str) -> Any:
    if not body:
        return None
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media == "application/json" or media.endswith("+json"):
            return parse(body)
        return {"text": body.decode("utf-8")}
    except InvalidInput as e:
        raise StepError("AnswerRefused", f"{said} with JSON that is refused. {e.detail}") from e
    except UnicodeDecodeError as e:
        raise StepError("AnswerRefused", f"{said} with what is neither JSON nor UTF-8.") from e


def _blotted_value(value: Any, secrets: Sequence[str]) -> Any:
    """A service that repeats a header does not bring its secret into the ledger: every text of the
    parsed answer is searched, as it is and in base64."""
    pieces: set[str] = set()
    for secret in secrets:
        for piece in (secret, *secret.split()):
            if len(piece) >= _MIN_SECRET:
                coded = base64.b64encode(piece.encode()).decode().rstrip("=")
                pieces.update((piece, quote(piece, safe=""), coded))
    if not pieces:
        return value
    return _blot(value, re.compile("|".join(map(re.escape, sorted(pieces, key=len, reverse=True)))))


def _blot(value: Any, found: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return found.sub("***", value)
    if isinstance(value, list):
        return [_blot(item, found) for item in value]
    if isinstance(value, dict):
        return {_blot(key, found): _blot(item, found) for key, item in value.items()}
    return value
