"""Nodes: which processes write to a shared ledger, and which of them count as dead.

A node is one process from start to end, under an id of its own. It holds a lease that it renews
with its commits; a node whose lease ran out is fenced by another one, and from then on none of its
appends is taken: it is checked in the transaction of every append, under the lock that the fencing
took as well. Leases are in the database's time, so that a node's own clock may be wrong.
"""

import secrets
import time
from typing import Any

from sqlalchemy import Connection, select

from ..errors import LedgerUnavailable
from .bulk import execute
from .schema import nodes

__all__ = ["LEASE_S", "NOW", "Node", "NodeFenced", "live_nodes"]

LEASE_S = 10.0
"""Seconds for which a node is believed to live after it was heard of."""

NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""Microseconds since the epoch, as the database has it."""
_DAY = 86_400_000_000


class NodeFenced(LedgerUnavailable):
    """Others took this node for dead; what it was executing is theirs to recover."""

    code = "node_fenced"


class Node:
    """One membership. Used by the writer's thread; `is_leased` may be asked by any."""

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self._until = f"{NOW} + {int(lease_s * 1_000_000)}"
        self.id = secrets.token_hex(8)
        self._joined = False
        self._leased_until = self._renewing = 0.0
        self._ends: dict[tuple[str, int], float] = {}

    @property
    def is_leased(self) -> bool:
        """Whether nobody can have fenced it yet: by a clock that goes on while the process stands
        still, and while the machine does, where the system has such a clock."""
        return _now() < self._leased_until

    def check_in(self, connection: Connection) -> list[str]:
        """Join, renew the lease where it is time to, and fence those whose lease ran out; returns
        their ids. Call it in a transaction that holds the append lock. Raises `NodeFenced`."""
        begun = _now()
        if not self._joined:
            # It may have joined in a transaction of which it never heard how it ended.
            joined = execute(
                connection,
                f"INSERT INTO nodes (node, joined_at, lease_until, fenced) "  # noqa: S608
                f"VALUES (?, {NOW}, {self._until}, 0) ON CONFLICT (node) "
                "DO UPDATE SET lease_until = excluded.lease_until WHERE nodes.fenced = 0 "
                "RETURNING 1",
                self.id,
            )
            self._must_live(joined)
            execute(
                connection,
                f"DELETE FROM nodes WHERE fenced = 1 AND lease_until < {NOW} - {_DAY}",  # noqa: S608
            )
        elif begun < self._leased_until - self.lease_s * 3 / 4:
            query = "SELECT 1 FROM nodes WHERE node = ? AND fenced = 0"
            self._must_live(execute(connection, query, self.id))
            return []
        else:
            renewed = execute(
                connection,
                f"UPDATE nodes SET lease_until = {self._until} "  # noqa: S608
                "WHERE node = ? AND fenced = 0 RETURNING 1",
                self.id,
            )
            self._must_live(renewed)
        dead = self._dead(connection)
        for node in dead:
            execute(connection, "UPDATE nodes SET fenced = 1 WHERE node = ?", node)
        self._renewing = begun + self.lease_s
        return dead

    def _dead(self, connection: Connection) -> list[str]:
        """The nodes whose lease ran out: by the database's clock, or, as that may be set back
        meanwhile, by this one's, from what was left of the lease when it was first seen."""
        query = f"SELECT node, lease_until, lease_until - {NOW} FROM nodes WHERE fenced = 0"  # noqa: S608
        rows: Any = execute(connection, query)
        now, before = _now(), self._ends
        self._ends = {
            (n, until): before.get((n, until), now + left / 1e6) for n, until, left in rows
        }
        return [
            node
            for node, until, left in rows
            if node != self.id and (left < 0 or self._ends[node, until] < now)
        ]

    def committed(self) -> None:
        """What `check_in` did is durable."""
        self._joined = True
        self._leased_until = max(self._leased_until, self._renewing)

    def leave(self, connection: Connection) -> None:
        """Others may take over at once."""
        execute(connection, "UPDATE nodes SET fenced = 1 WHERE node = ?", self.id)

    def _must_live(self, rows: list[object]) -> None:
        if not rows:
            self._leased_until = 0.0
            raise NodeFenced(
                f"Node {self.id} did not renew its lease in time, so the others took over what it "
                "did; nothing of this was written.",
                node=self.id,
            )


def _now() -> float:
    """Seconds since some moment; those in which the machine was suspended count where they can."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def live_nodes(c: Connection, among: list[str]) -> set[str]:
    """Those of `among` that nobody fenced."""
    if not among:
        return set()
    query = select(nodes.c.node).where(nodes.c.node.in_(among), nodes.c.fenced == 0)
    return set(c.execute(query).scalars())
