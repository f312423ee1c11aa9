"""The same request again gets the first answer again, word for word."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ..errors import CallerError
from ..service import Call, FederationCore, Key
from ..spine.actor import Actor
from ..spine.canonical import value_hash
from .operation import Operation

__all__ = ["Once", "key_of", "once"]


class Once(msgspec.Struct, frozen=True):
    """An answer, and whether it was given before."""

    status: int
    body: bytes
    replayed: bool


def key_of(
    key: str, operation: Operation, actor: Actor, params: Mapping[str, str], body: Any
) -> Key:
    """The key with the hash of what is asked.

    An alias asks the same as its canonical path: what counts is the operation, the last id in the
    path (the ids before it follow from it), the body as it was understood, and who asks: nobody is
    told what somebody else's request was answered.
    """
    asked = {
        "operation": operation.name,
        "actor": [actor.actor_id, actor.via],
        "about": list(params.values())[-1:],
        "body": msgspec.to_builtins(body),
    }
    return Key(key, value_hash(asked))


async def once(
    core: FederationCore, call: Call, status: int, act: Callable[[], Awaitable[bytes]]
) -> Once:
    """The first answer to `call`'s key, or what `act` answers now.

    Of two requests with one key at the same time the slower one fails, at the ledger or because
    the faster one has changed the run already; it is told what the faster one was told.
    """
    found = await core.answers.find(call)
    if found is None:
        try:
            body = await act()
        except CallerError:
            found = await core.answers.find(call)
            if found is None:
                raise
        else:
            if await core.answers.find(call) is None:  # nothing was changed that it came with
                await core.answers.remember(call, status, body)
            return Once(status, body, replayed=False)
    return Once(found.status, found.body, replayed=True)
