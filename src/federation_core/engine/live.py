"""Runs in memory. A cached run is only ever ahead of the ledger inside `hold`; what was not made
durable there is forgotten, and read again from its events."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ..errors import IntegrityError, NotFound
from ..ledger import Answer, Ledger, Payload, queries
from ..ledger.projections import append_of
from ..spine.definition import Workflow
from ..spine.envelope import decode
from ..spine.events import RUN_EVENTS, RunCreated
from ..spine.fold import replay
from ..spine.run import Run
from ..spine.steps import Permit
from ..spine.turn import Turn

__all__ = ["LiveRun", "LiveRuns"]


class LiveRun:
    """A run, and the payloads of it that were needed so far (hash → value)."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self.run = run
        self.values: dict[str, Any] = {}
        self._ledger = ledger
        self._durable = run.head

    @property
    def is_durable(self) -> bool:
        """Whether the state in memory is what the ledger holds."""
        return self._durable == self.run.head

    async def commit(
        self, turn: Turn, payloads: Iterable[Payload] = (), answer: Answer | None = None
    ) -> list[Permit]:
        """Append the turn. The permits it returns are durable: only these may be executed.

        Raises `StaleAppend`, `Conflict` or `LedgerUnavailable`; then nothing was stored.
        """
        if turn.events:
            await self._ledger.append(append_of(turn, list(payloads), answer))
            self._durable = self.run.head
            self.values.update(turn.values)
        return turn.permits

    async def load(self, hashes: Iterable[str | None]) -> None:
        """Bring payloads into `values`; those that were erased stay missing."""
        missing = [h for h in dict.fromkeys(hashes) if h and h not in self.values]
        if missing:
            found = await self._ledger.read(queries.payloads_of, self.run.stream, missing)
            for digest, payload in found.items():
                self.values[digest] = msgspec.json.decode(payload.value)

    async def salt_of(self, digest: str | None) -> str | None:
        """The salt that a sensitive payload was hashed with."""
        if digest is None:
            return None
        found = await self._ledger.read(queries.payloads_of, self.run.stream, [digest])
        return found[digest].salt if digest in found else None


class _Slot:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.live: LiveRun | None = None
        self.holders = 0


class LiveRuns:
    """At most `capacity` runs that nobody holds stay in memory."""

    def __init__(self, ledger: Ledger, capacity: int = 2_048) -> None:
        self._ledger = ledger
        self._capacity = capacity
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._definitions: dict[str, Workflow] = {}

    @asynccontextmanager
    async def hold(self, run_id: str, born: Run | None = None) -> AsyncIterator[LiveRun]:
        """The run, for the one task that may change it now. `born` is a run that is being created.

        Raises `NotFound` where there is no such run.
        """
        slot = self._slots.get(run_id)
        if slot is None:
            slot = self._slots[run_id] = _Slot()
        slot.holders += 1
        try:
            async with slot.lock:
                if slot.live is not None and not await self._is_fresh(slot.live):
                    slot.live = None
                if slot.live is None:
                    run = born or await self._read(run_id)
                    slot.live = LiveRun(run, self._ledger)
                try:
                    yield slot.live
                finally:
                    if not slot.live.is_durable:
                        slot.live = None
        finally:
            slot.holders -= 1
            self._let_go(run_id, slot)

    async def _is_fresh(self, live: LiveRun) -> bool:
        """Whether no other node has taken the run on since."""
        if not self._ledger.is_shared:
            return True
        return await self._ledger.read(queries.head, live.run.stream) == live.run.head

    def _let_go(self, run_id: str, slot: _Slot) -> None:
        if slot.holders:
            return
        if slot.live is None or slot.live.run.is_ended:
            self._slots.pop(run_id, None)
            return
        self._slots.move_to_end(run_id)
        if len(self._slots) > self._capacity:
            oldest, idle = next(iter(self._slots.items()))
            if not idle.holders:
                del self._slots[oldest]

    async def _read(self, run_id: str) -> Run:
        bodies = await self._ledger.read(queries.bodies, f"run:{run_id}")
        if not bodies:
            raise NotFound(f"There is no run {run_id}.", code="run_not_found")
        events = [decode(body, RUN_EVENTS) for body in bodies]
        created = events[0].data
        definition = None
        if isinstance(created, RunCreated) and created.execution == "managed":
            definition = await self.definition(created.definition_hash or "")
        return replay(events, definition)

    async def definition(self, digest: str) -> Workflow:
        """The workflow of this definition hash. Raises `IntegrityError` where it is missing or is
        not what its hash says."""
        known = self._definitions.get(digest)
        if known is None:
            text = await self._ledger.read(queries.object_text, digest)
            if text is None:
                raise IntegrityError(f"The workflow definition {digest} is missing.")
            known = Workflow.from_canonical(text.encode())
            if known.definition_hash != digest:
                raise IntegrityError(f"The workflow definition {digest} was changed.")
            self._definitions[digest] = known
        return known
