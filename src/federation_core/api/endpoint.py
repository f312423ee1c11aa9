"""The way of a request through an operation: who, what, once, and the answer."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.response import Stream

from ..errors import FederationError
from ..service import Call
from .bodies import Body, Nothing, convert, read_query
from .context import Anyone, Api, Ask
from .correlation import correlation_of
from .headers import Headers
from .idempotency import key_of, once
from .operation import JSON, Operation

__all__ = ["answer"]

Reply = Response[Any]


async def answer(
    api: Api, operation: Operation, request: Request[Any, Any, Any], params: Mapping[str, str]
) -> Reply:
    """Raises any `FederationError`; `problems` knows how to tell it."""
    request.scope["state"]["operation"] = operation.name
    if operation.scope is None:
        return _reply(operation, await operation.handler(_anyone(api, request)), {})
    headers = Headers(request.scope["headers"])
    body = Body(request.receive, headers)
    with api.requests.place():
        try:
            caller = api.auth.caller(headers)
            correlation_id = correlation_of(request.scope, caller.tenant)
            told = request.scope["state"]["about"]
            told.tenant, told.run_id = caller.tenant, params.get("run_id")
            caller.require(operation.scope)
            given = await _given(operation, request, body)
            key = headers.text("X-Idempotency-Key") if operation.takes_key else None
            ask = Ask(
                api=api,
                correlation_id=correlation_id,
                request_id=request.scope["state"]["request_id"],
                call=Call(
                    caller=caller,
                    correlation_id=correlation_id,
                    mode=headers.mode,
                    key=None
                    if key is None
                    else key_of(key, operation, caller.actor, params, given.get("body")),
                ),
                wait=headers.wait if operation.waits else None,
                last_event_id=headers.text("Last-Event-ID"),
            )
            return await _asked(operation, ask, {**params, **given})
        except FederationError:
            if operation.takes_key:
                await body.drain()
            raise


async def _asked(operation: Operation, ask: Ask, given: dict[str, Any]) -> Reply:
    if ask.call.key is None:
        return _reply(operation, await operation.handler(ask, **given), ask.reply)

    async def act() -> bytes:
        return msgspec.json.encode(await operation.handler(ask, **given))

    found = await once(ask.core, ask.call, operation.status, act)
    if found.replayed:
        ask.reply["Idempotency-Replayed"] = "true"
    return _json(operation, found.status, found.body, ask.reply)


def _anyone(api: Api, request: Request[Any, Any, Any]) -> Anyone:
    return Anyone(
        api=api,
        correlation_id=correlation_of(request.scope, api.core.default_tenant),
        request_id=request.scope["state"]["request_id"],
    )


async def _given(
    operation: Operation, request: Request[Any, Any, Any], body: Body
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    raw = request.scope["query_string"]
    query = read_query(raw, operation.query or Nothing, lenient=operation.lenient)
    if operation.query is not None:
        given["query"] = query
    if operation.body is None and operation.takes_key and not operation.lenient:
        await body.nothing()
    if operation.body is not None:
        given["body"] = convert(await body.json(), operation.body, lenient=operation.lenient)
    return given


def _reply(operation: Operation, result: Any, headers: dict[str, str]) -> Reply:
    if operation.media_type == JSON:
        return _json(operation, operation.status, msgspec.json.encode(result), headers)
    headers = headers | {"content-type": operation.media_type}  # whole: with or without a charset
    if isinstance(result, AsyncIterator):
        return Stream(result, headers=headers)
    return Response(result, headers=headers)


def _json(operation: Operation, status: int, body: bytes, headers: dict[str, str]) -> Reply:
    if operation.location is not None:
        headers = headers | {"Location": operation.location(msgspec.json.decode(body))}
    return Response(body, status_code=status, media_type=JSON, headers=headers)
