"""What is asked of the log as a whole: its keys, its checkpoints, the tree over it."""

from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from ..errors import InvalidInput, NotFound
from ..ledger.schema import checkpoints, events
from ..ledger.tree import nodes, tile_hashes, tree_size
from ..transparency import Tile, consistency_proof, inclusion_proof
from ..transparency.tiles import EntryBundle, tile_width

__all__ = [
    "SignedCheckpoint",
    "checkpoint_at",
    "consistency",
    "end_of",
    "entries",
    "inclusion",
    "newest_checkpoint",
    "rotations",
    "tile",
]

_MAX_ENTRY = 0xFFFF


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A stored checkpoint: `root` in hex, `note` as the log signed it, `cosignatures` the lines
    that witnesses added, `signed_at` in microseconds."""

    size: int
    root: str
    note: str
    cosignatures: str
    witnesses: int
    signed_at: int

    @property
    def text(self) -> str:
        """The whole note."""
        return self.note + self.cosignatures


def newest_checkpoint(c: Connection) -> SignedCheckpoint | None:
    row = c.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
    return None if row is None else SignedCheckpoint(*row)


def checkpoint_at(c: Connection, size: int) -> SignedCheckpoint | None:
    """The checkpoint over exactly `size` events."""
    row = c.execute(select(checkpoints).where(checkpoints.c.size == size)).first()
    return None if row is None else SignedCheckpoint(*row)


def rotations(c: Connection) -> list[tuple[int, dict[str, Any]]]:
    """(leaf index, data) of every rotation of the log's key, in order."""
    query = (
        select(events.c.position, events.c.body)
        .where(events.c.stream == "log", events.c.type == "FC-KEY-001")
        .order_by(events.c.seq)
    )
    return [(row.position, msgspec.json.decode(row.body)["data"]) for row in c.execute(query)]


def end_of(c: Connection, streams: list[str]) -> int:
    """The size of the smallest tree that has every event of `streams`."""
    last = c.execute(select(func.max(events.c.position)).where(events.c.stream.in_(streams)))
    found = last.scalar()
    return 0 if found is None else int(found) + 1


def inclusion(c: Connection, index: int, size: int) -> list[bytes]:
    """Proof that leaf `index` is in the tree of `size` leaves. Raises `InvalidInput`."""
    _check_size(c, size)
    return inclusion_proof(index, size, nodes(c, size))


def consistency(c: Connection, old: int, new: int) -> list[bytes]:
    """Proof that the tree of `new` leaves begins with that of `old`. Raises `InvalidInput`."""
    _check_size(c, new)
    return consistency_proof(old, new, nodes(c, new))


def _check_size(c: Connection, size: int) -> None:
    there = tree_size(c)
    if size > there:
        raise InvalidInput(f"The log has {there} leaves, not {size}.", code="INDEX_RANGE")


def tile(c: Connection, wanted: Tile) -> bytes:
    """The hashes of a tile. Raises `NotFound` where the log has not got so far."""
    if wanted.width > tile_width(wanted.level, wanted.number, tree_size(c)):
        raise NotFound("The log has no such tile, or not yet.", code="tile_not_found")
    return tile_hashes(c, wanted.level, wanted.number, wanted.width)


def entries(c: Connection, wanted: EntryBundle) -> bytes:
    """The events of an entry bundle, each after its length in two bytes. Raises `NotFound`."""
    first = wanted.number * 256
    query = (
        select(events.c.body)
        .where(events.c.position >= first, events.c.position < first + wanted.width)
        .order_by(events.c.position)
    )
    found = [body.encode() for body in c.execute(query).scalars()]
    if len(found) != wanted.width or any(len(body) > _MAX_ENTRY for body in found):
        raise NotFound("The log has no such bundle of entries, or not yet.", code="tile_not_found")
    return b"".join(len(body).to_bytes(2, "big") + body for body in found)
