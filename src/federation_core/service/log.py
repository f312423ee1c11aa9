"""The log itself: its checkpoints, proofs, tiles and keys, for whoever audits it."""

import base64

import msgspec

from ..errors import InvalidInput, NotFound
from ..evidence import log_queries
from ..evidence.keys import Epoch
from ..evidence.signer import Signer
from ..identity import Scope
from ..ledger import Answer
from ..transparency.tiles import parse_entries_path, parse_tile_path
from .call import Call
from .parts import Parts
from .requests import RotateRequest

__all__ = ["Log", "LogKeyView", "Proof"]


class Proof(msgspec.Struct, frozen=True):
    """Hashes in base64, in the order of RFC 9162 sections 2.1.3 and 2.1.4."""

    hashes: list[str]


class LogKeyView(msgspec.Struct, frozen=True):
    """A key of the log, good for trees of `from_size` to `to_size` leaves; null for the one that
    signs now."""

    key: str
    from_size: int
    to_size: int | None


class Log:
    """`fc.log`. What it shows of all tenants together are hashes; entries need `admin`."""

    def __init__(self, parts: Parts, signer: Signer) -> None:
        self._parts = parts
        self._signer = signer

    async def checkpoint(self, call: Call) -> str:
        """The newest checkpoint, with the cosignatures that there are. Raises `NotFound` before
        there is any."""
        call.caller.require(Scope.WORKFLOW_READ)
        newest = await self._signer.refreshed() or await self._signer.sign()
        if newest is None:
            raise NotFound("Nothing has happened that could be signed.", code="no_checkpoint")
        return newest.text

    async def inclusion(self, call: Call, index: int, size: int | None) -> Proof:
        """Proof that leaf `index` is in the tree of `size` leaves; by default that of the newest
        checkpoint."""
        call.caller.require(Scope.WORKFLOW_READ)
        size = self._size() if size is None else size
        return _proof(await self._parts.ledger.read(log_queries.inclusion, index, size))

    async def consistency(self, call: Call, old: int, new: int | None) -> Proof:
        """Proof that the tree of `new` leaves begins with that of `old`, which is not empty."""
        call.caller.require(Scope.WORKFLOW_READ)
        if old == 0:
            raise InvalidInput("Every tree begins with the empty one; that proves nothing.")
        new = self._size() if new is None else new
        return _proof(await self._parts.ledger.read(log_queries.consistency, old, new))

    def _size(self) -> int:
        return self._signer.newest.size if self._signer.newest else 0

    async def tile(self, call: Call, path: str) -> bytes:
        """A tile of hashes, or with `admin` a bundle of entries, by its C2SP path."""
        if path.startswith("entries/"):
            call.caller.require(Scope.ADMIN)
            bundle = parse_entries_path(path)
            return await self._parts.ledger.read(log_queries.entries, bundle)
        call.caller.require(Scope.WORKFLOW_READ)
        return await self._parts.ledger.read(log_queries.tile, parse_tile_path(path))

    async def keys(self, call: Call) -> list[LogKeyView]:
        """The keys of the log, the oldest first."""
        call.caller.require(Scope.WORKFLOW_READ)
        return [_view(epoch) for epoch in self._signer.keys.epochs]

    async def rotate(self, call: Call, request: RotateRequest) -> LogKeyView:
        """Make a new key the one that signs. See `Keyring.rotate` for what is raised."""
        call.caller.require(Scope.ADMIN)
        await self._signer.sign()
        now = self._parts.clock()

        def told(epoch: Epoch) -> Answer | None:
            return call.answer(201, _view(epoch), now)

        view = _view(await self._signer.rotate(call.actor, request.reason, told))
        await self._signer.sign()
        return view

    async def trust(self, call: Call) -> str:
        """The trust file of this log, as `docs/evidence.md` describes it."""
        call.caller.require(Scope.WORKFLOW_READ)
        lines = [
            "# Who an auditor of this log trusts. Get it from its operator once, and keep it:",
            "# what a pack brings along proves nothing about who signed it.",
        ]
        for epoch in self._signer.keys.epochs:
            until = "now" if epoch.last is None else f"{epoch.last} events"
            lines.append(f"# signs from {epoch.first} events to {until}")
            lines += [f"log {epoch.key.text}", f"issuer {epoch.key.text}"]
        lines += [f"witness {key}" for key in self._parts.witness_keys]
        lines.append("# quorum 1     # how many of the witnesses must have cosigned")
        return "\n".join(lines) + "\n"


def _proof(hashes: list[bytes]) -> Proof:
    return Proof([base64.b64encode(h).decode() for h in hashes])


def _view(epoch: Epoch) -> LogKeyView:
    return LogKeyView(epoch.key.text, epoch.first, epoch.last)
