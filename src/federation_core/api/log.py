"""The log: its checkpoints, proofs, tiles and keys."""

from typing import Annotated

import msgspec

from ..identity import Scope
from ..service import RotateRequest
from ..service.log import LogKeyView, Proof
from .context import Ask
from .operation import operation

__all__ = ["checkpoint", "consistency", "inclusion", "log_keys", "rotate_key", "tile", "trust"]

_TAG = "ledger"
_TEXT = "text/plain; charset=utf-8"
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class InclusionQuery(msgspec.Struct, frozen=True):
    """`size` is that of the newest checkpoint where it is not given."""

    index: Size
    size: Size | None = None


class ConsistencyQuery(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """`to` is the size of the newest checkpoint where it is not given."""

    old: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    new: Size | None = None


@operation(
    "GET",
    "/ledger/checkpoint",
    tag=_TAG,
    scope=Scope.WORKFLOW_READ,
    media_type=_TEXT,
    refuses=(404,),
)
async def checkpoint(ask: Ask) -> str:
    """Read the newest checkpoint.

    A C2SP tlog-checkpoint: a signed note of the log's name, how many events it has, and the root
    over them, with the cosignatures of witnesses.
    """
    return await ask.core.log.checkpoint(ask.call)


@operation("GET", "/ledger/proof/inclusion", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def inclusion(ask: Ask, query: InclusionQuery) -> Proof:
    """Prove that an event is in the log.

    The hashes, in base64, of RFC 9162 section 2.1.3.
    """
    return await ask.core.log.inclusion(ask.call, query.index, query.size)


@operation("GET", "/ledger/proof/consistency", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def consistency(ask: Ask, query: ConsistencyQuery) -> Proof:
    """Prove that the log was only added to.

    The hashes, in base64, of RFC 9162 section 2.1.4. `from=0` is refused: it would prove nothing.
    """
    return await ask.core.log.consistency(ask.call, query.old, query.new)


@operation(
    "GET",
    "/ledger/tile/{tile}",
    tag=_TAG,
    scope=Scope.WORKFLOW_READ,
    media_type="application/octet-stream",
    rest="tile",
)
async def tile(ask: Ask, tile: str) -> bytes:
    """Read a tile of the log.

    C2SP tlog-tiles of height 8: `<L>/<N>` or `<L>/<N>.p/<W>` are hashes. `entries/<N>` are the
    events of all tenants, and need `admin`.
    """
    return await ask.core.log.tile(ask.call, tile)


@operation("GET", "/ledger/keys", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def log_keys(ask: Ask) -> list[LogKeyView]:
    """List the keys of the log, the oldest first, with the tree sizes that they sign."""
    return await ask.core.log.keys(ask.call)


@operation(
    "POST",
    "/ledger/keys",
    tag=_TAG,
    status=201,
    scope=Scope.ADMIN,
    example={"reason": "yearly rotation"},
)
async def rotate_key(ask: Ask, body: RotateRequest) -> LogKeyView:
    """Rotate the key of the log.

    The new key signs from the next event on; the rotation is an event that both keys signed. It is
    a 409 where the key comes from the settings.
    """
    return await ask.core.log.rotate(ask.call, body)


@operation("GET", "/ledger/trust", tag=_TAG, scope=Scope.WORKFLOW_READ, media_type=_TEXT)
async def trust(ask: Ask) -> str:
    """Read the trust file that an auditor needs."""
    return await ask.core.log.trust(ask.call)
