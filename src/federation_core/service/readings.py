"""What is measured, gathered when somebody asks; what the database has to be asked for, at most
every few seconds, and nobody waits long for that."""

import asyncio
from collections.abc import Iterable, Iterator

import structlog

from ..errors import FederationError
from ..ledger import Ledger, queries
from ..ledger.queries import GatesWaiting
from ..spine.times import Clock, from_rfc3339
from ..telemetry.families import Family, Measured, gauge

__all__ = ["Readings"]

FRESH_S = 10.0
"""How long an answer of the database is good."""
_PATIENCE_S = 0.5
"""How long a reading waits for a newer one."""


class Readings:
    """Use it on the event loop of its ledger."""

    def __init__(self, ledger: Ledger, clock: Clock, parts: Iterable[Measured]) -> None:
        self._ledger, self._clock = ledger, clock
        self._parts = tuple(parts)
        self._gates: GatesWaiting | None = None
        self._read_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def families(self) -> list[Family]:
        """All of it, as it is now; of the gates as they were a few seconds ago at most, unless the
        database does not answer: then how long ago that was is told as well."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_at > FRESH_S:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(), name="gates-reading")
            await asyncio.wait({self._asking}, timeout=_PATIENCE_S)
        found = [family for part in self._parts for family in part.families()]
        if self._gates is not None:
            found.extend(self._of_gates(self._gates, loop.time() - self._read_at))
        return found

    async def _ask(self) -> None:
        try:
            self._gates = await self._ledger.read(queries.gates_waiting)
            self._read_at = asyncio.get_running_loop().time()
        except FederationError:
            pass  # the age of the last reading tells
        except Exception:
            structlog.get_logger().exception("gates_not_read")
        finally:
            self._asking = None

    def _of_gates(self, gates: GatesWaiting, age: float) -> Iterator[Family]:
        yield gauge("fedcore_gates_pending", "Gates that wait for people.", gates.pending)
        oldest = self._age(gates.oldest)
        yield gauge("fedcore_gates_oldest_seconds", "How long the oldest has waited.", oldest)
        yield gauge("fedcore_gates_in_doubt", "Of these, steps in doubt.", gates.in_doubt)
        oldest = self._age(gates.oldest_in_doubt)
        yield gauge("fedcore_gates_in_doubt_oldest_seconds", "The oldest of them.", oldest)
        yield gauge("fedcore_gates_read_age_seconds", "How old the figures of gates are.", age)

    def _age(self, since: str | None) -> float:
        if since is None:
            return 0.0
        return max(0, self._clock() - from_rfc3339(since)) / 1_000_000

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
