"""Evidence packs: one file that convinces somebody who trusts nobody."""

import tempfile
from typing import BinaryIO

import msgspec
from sqlalchemy import Connection

from ..errors import Conflict, NotFound
from ..evidence.build import PackRequest, PackSigner, PackSummary, build_pack
from ..evidence.receipts import envelope
from ..evidence.scan import scan_run
from ..evidence.selection import runs_for
from ..evidence.signer import Signer
from ..identity import Scope
from ..ledger import Append
from ..ledger.tree import tree_size
from ..spine.envelope import Head
from .call import Call
from .parts import Parts
from .reading import require_run

__all__ = ["Evidence", "Pack"]


_ATTEMPTS = 20


class Pack(msgspec.Struct, frozen=True):
    """A finished pack in a temporary file, which is gone when it is closed."""

    summary: PackSummary
    file: BinaryIO


class Evidence:
    """`fc.evidence`."""

    def __init__(self, parts: Parts, signer: Signer) -> None:
        self._parts = parts
        self._signer = signer

    async def pack(
        self, call: Call, run_id: str, *, payloads: bool = True, sensitive: bool = False
    ) -> Pack:
        """The pack of one run. `sensitive` puts the values of sensitive steps in, and needs
        `admin`. Raises `NotFound`."""
        call.caller.require(Scope.WORKFLOW_READ)
        await self._parts.ledger.read(require_run, call.tenant, run_id)
        return await self._pack(call, [run_id], payloads=payloads, sensitive=sensitive)

    async def receipt(self, call: Call, run_id: str) -> bytes:
        """The workflow receipt in a DSSE envelope. Raises `NotFound`, `Conflict` for a run that
        has not ended."""
        call.caller.require(Scope.WORKFLOW_READ)
        doc = await self._parts.ledger.read(require_run, call.tenant, run_id)
        if doc.completed_at is None:
            raise Conflict(
                f"The run is {doc.status}; it has a receipt once it has ended.",
                code="run_not_ended",
            )
        receipt = (await self._parts.ledger.read(scan_run, run_id)).receipt
        assert receipt is not None  # it has ended
        key = self._signer.keys.key
        return envelope(receipt, key.signing, key.verifier.name)

    async def pack_of_many(
        self,
        call: Call,
        *,
        tag: str | None = None,
        since: str | None = None,
        payloads: bool = True,
        sensitive: bool = False,
    ) -> Pack:
        """One pack of the ended runs that have `tag`, and were created at or after `since` (RFC
        3339). Raises `NotFound` where there is none."""
        call.caller.require(Scope.WORKFLOW_READ)
        found = await self._parts.ledger.read(runs_for, call.tenant, tag=tag, since=since)
        if not found:
            raise NotFound(_nothing(tag, since), code="run_not_found")
        return await self._pack(call, found, payloads=payloads, sensitive=sensitive)

    async def _pack(
        self, call: Call, run_ids: list[str], *, payloads: bool, sensitive: bool
    ) -> Pack:
        if sensitive:
            call.caller.require(Scope.ADMIN)
        request = PackRequest(
            run_ids=tuple(run_ids), tenant=call.tenant, payloads=payloads, sensitive=sensitive
        )
        file = tempfile.TemporaryFile(prefix="fedcore-pack-")  # noqa: SIM115 (the caller closes it)
        try:
            summary = await self._built(request, file)
            await self._remember(call.tenant, summary)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return Pack(summary, file)

    async def _built(self, request: PackRequest, file: BinaryIO) -> PackSummary:
        """A run that is under way may go on between the signing and the reading, and the key may be
        rotated: then once more."""
        for _ in range(_ATTEMPTS):
            await self._signer.covering(await self._parts.ledger.read(tree_size))
            key = self._signer.keys.key
            signer = PackSigner(key=key.signing, vkey=key.verifier)
            try:
                return await self._parts.ledger.read(_build, request, signer, file)
            except Conflict as e:
                if e.error_code not in ("checkpoint_pending", "key_rotated"):
                    raise
        raise Conflict(
            "The run goes on faster than it can be signed; ask again.", code="checkpoint_pending"
        )

    async def _remember(self, tenant: str, summary: PackSummary) -> None:
        now = self._parts.clock()
        rows = [(r, summary.pack_hash, summary.checkpoint_size, now) for r in summary.run_ids]
        await self._parts.ledger.append(Append("", tenant, Head(), [], rows={"packs": rows}))


def _nothing(tag: str | None, since: str | None) -> str:
    wanted = ["has ended"]
    wanted += [f"has the tag {tag!r}"] if tag is not None else []
    wanted += [f"was created at {since} or later"] if since is not None else []
    return f"There is no run that {' and '.join(wanted)}. Runs that are under way are not in a set."


def _build(c: Connection, request: PackRequest, signer: PackSigner, file: BinaryIO) -> PackSummary:
    return build_pack(c, request, signer, file)
