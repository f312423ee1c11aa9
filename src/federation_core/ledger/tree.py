"""The Merkle tree over the log: what is kept of it, and how it grows.

Leaf hashes stand in `events`. Of every 256 entries that make a full tile only the tile's root is
added, so a million events cost four thousand rows, and every hash that a proof needs lies in a few
short ranges (C2SP tlog-tiles, height 8).
"""

from sqlalchemy import Connection, func, select

from ..errors import IntegrityError
from ..transparency import EMPTY_ROOT, CompactRange, TileNodes, node_hash, root_of
from .schema import events, tiles

__all__ = ["LogTree", "load_tree", "nodes", "root_at", "tile_hashes", "tree_size"]

TILE = 256
FullTile = tuple[int, int, bytes]
"""Level, number, and the root of a tile of which all 256 entries are there."""


class LogTree:
    """The right edge of the tree: for each level the entries of its last, partial tile.

    An entry of level L is the root of 256^L leaves; the perfect subtrees of all levels, the
    highest first, are those of the whole tree (RFC 9162 section 2.1.1).
    """

    def __init__(self, edges: list[CompactRange] | None = None, size: int = 0) -> None:
        self._edges = edges or [CompactRange()]
        self.size = size

    def append(self, leaf: bytes) -> list[FullTile]:
        """Add a leaf hash; returns the tiles that it filled, the lowest first."""
        self.size += 1
        edge = self._edges[0]
        edge.append(leaf)
        return [] if edge.size < TILE else self._close(0)

    def _close(self, level: int) -> list[FullTile]:
        root = self._edges[level].root()
        self._edges[level] = CompactRange()
        if level + 1 == len(self._edges):
            self._edges.append(CompactRange())
        self._edges[level + 1].append(root)
        full = [(level, self.size // TILE ** (level + 1) - 1, root)]
        return full if self._edges[level + 1].size < TILE else full + self._close(level + 1)

    def root(self) -> bytes:
        """The root hash, 32 bytes."""
        subtrees = [node for edge in reversed(self._edges) for node in edge.nodes]
        if not subtrees:
            return EMPTY_ROOT
        root = subtrees.pop()
        while subtrees:
            root = node_hash(subtrees.pop(), root)
        return root

    def copy(self) -> "LogTree":
        return LogTree([edge.copy() for edge in self._edges], self.size)


def tree_size(c: Connection) -> int:
    """How many leaves there are."""
    last = c.execute(select(func.max(events.c.position))).scalar()
    return 0 if last is None else int(last) + 1


def tile_hashes(c: Connection, level: int, number: int, width: int) -> bytes:
    """The first `width` hashes of a tile, 32 bytes each. Raises `IntegrityError` where the ledger
    does not have them all."""
    first = number * TILE
    if level == 0:
        query = (
            select(events.c.hash)
            .where(events.c.position >= first, events.c.position < first + width)
            .order_by(events.c.position)
        )
    else:
        query = (
            select(tiles.c.root)
            .where(tiles.c.level == level - 1)
            .where(tiles.c.number >= first, tiles.c.number < first + width)
            .order_by(tiles.c.number)
        )
    try:
        found = bytes.fromhex("".join(c.execute(query).scalars().all()))
    except (ValueError, TypeError) as e:
        raise IntegrityError(f"Tile {level}/{number} of the log holds no hashes.") from e
    if len(found) != 32 * width:
        raise IntegrityError(f"Tile {level}/{number} of the log is not whole.")
    return found


def nodes(c: Connection, size: int) -> TileNodes:
    """Reads the nodes of the tree as it was at `size` leaves, for proofs."""
    return TileNodes(size, lambda level, number, width: tile_hashes(c, level, number, width))


def root_at(c: Connection, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else root_of(size, nodes(c, size))


def load_tree(c: Connection) -> LogTree:
    """The tree as it is stored."""
    size = tree_size(c)
    edges: list[CompactRange] = []
    entries, level = size, 0
    while entries or not edges:
        edge = CompactRange()
        width = entries % TILE
        if width:
            data = tile_hashes(c, level, entries // TILE, width)
            for i in range(0, len(data), 32):
                edge.append(data[i : i + 32])
        edges.append(edge)
        entries, level = entries // TILE, level + 1
    return LogTree(edges, size)
