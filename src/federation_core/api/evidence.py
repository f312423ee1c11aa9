"""Evidence: packs, receipts, and erasure."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec

from ..identity import Scope
from ..service import EraseRequest
from ..service.erasures import Erased
from ..service.evidence import Pack
from .context import Ask
from .operation import operation

__all__ = ["erase", "get_evidence", "get_evidence_of_many", "get_receipt"]

_TAG = "evidence"
_ZIP = "application/zip"
_CHUNK = 1 << 18


class EvidenceQuery(msgspec.Struct, frozen=True):
    """`sensitive` puts the values of sensitive steps in, and needs `admin`."""

    payloads: bool = True
    sensitive: bool = False


class ManyQuery(msgspec.Struct, frozen=True):
    """Ended runs with this tag, created at or after `since` (RFC 3339)."""

    tag: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    since: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    payloads: bool = True
    sensitive: bool = False


@operation(
    "GET",
    "/workflows/runs/{run_id}/evidence",
    tag=_TAG,
    scope=Scope.WORKFLOW_READ,
    media_type=_ZIP,
)
async def get_evidence(ask: Ask, run_id: str, query: EvidenceQuery) -> AsyncIterator[bytes]:
    """Get the evidence pack of a run.

    A zip that can be verified with nothing but Python and the trust file of the log.
    """
    pack = await ask.core.evidence.pack(
        ask.call, run_id, payloads=query.payloads, sensitive=query.sensitive
    )
    return _sent(ask, pack, run_id)


@operation("GET", "/evidence", tag=_TAG, scope=Scope.WORKFLOW_READ, media_type=_ZIP, refuses=(404,))
async def get_evidence_of_many(ask: Ask, query: ManyQuery) -> AsyncIterator[bytes]:
    """Get one evidence pack of many ended runs."""
    pack = await ask.core.evidence.pack_of_many(
        ask.call,
        tag=query.tag,
        since=query.since,
        payloads=query.payloads,
        sensitive=query.sensitive,
    )
    return _sent(ask, pack, "runs")


def _sent(ask: Ask, pack: Pack, name: str) -> AsyncIterator[bytes]:
    digest = pack.summary.pack_hash
    ask.reply["ETag"] = f'"{digest}"'
    ask.reply["Content-Length"] = str(pack.summary.size_bytes)
    ask.reply["X-Checkpoint-Size"] = str(pack.summary.checkpoint_size)
    ask.reply["Content-Disposition"] = f'attachment; filename="{name}.evidence.zip"'
    return _chunks(pack)


async def _chunks(pack: Pack) -> AsyncIterator[bytes]:
    with pack.file as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


@operation(
    "GET",
    "/workflows/runs/{run_id}/receipt",
    tag=_TAG,
    scope=Scope.WORKFLOW_READ,
    media_type="application/vnd.dsse.envelope.v1+json",
    refuses=(409,),
)
async def get_receipt(ask: Ask, run_id: str) -> bytes:
    """Get the signed receipt of a run that has ended.

    The workflow receipt in a DSSE envelope, signed with the key of the log.
    """
    return await ask.core.evidence.receipt(ask.call, run_id)


@operation(
    "POST",
    "/erasures",
    tag=_TAG,
    scope=Scope.ADMIN,
    refuses=(404,),
    example={
        "run_id": "01932d5e-8f6a-7c31-9a04-5b1f0c9d2e77",
        "reason": "Request of 2 March, case 88",
    },
)
async def erase(ask: Ask, body: EraseRequest) -> Erased:
    """Erase payloads.

    Those of a run, or one wherever the tenant has it. Who did it and why is an event; the chain
    still verifies, and packs made from then on say what was erased.
    """
    return await ask.core.erasures.erase(ask.call, body)
