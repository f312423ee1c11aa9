"""Runs in memory. A cached run is only ever ahead of the ledger inside `hold`; what was not made
durable there is forgotten, and read again from its events."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ..errors import FederationError, IntegrityError, NotFound
from ..ledger import Answer, Ledger, Payload, queries
from ..ledger.projections import append_of
from ..spine.definition import Workflow
from ..spine.envelope import Head, decode
from ..spine.events import RUN_EVENTS, RunCreated
from ..spine.fold import apply
from ..spine.run import Run
from ..spine.steps import Permit
from ..spine.turn import Turn
from .item_lists import ItemList, ItemLists
from .values import Values

__all__ = ["LiveRun", "LiveRuns", "ValueMissing"]


_PAGE = 1_000
"""Events, or payloads, that are read at a time: a long run need not fit in memory twice."""


class ValueMissing(FederationError):
    """A payload that is needed now was erased."""

    code = "value_missing"


class LiveRun:
    """A run, and those of its payloads that are at hand. `lists` are of all runs."""

    def __init__(self, run: Run, ledger: Ledger, lists: ItemLists) -> None:
        self.run = run
        self.values = Values()
        self._lists = lists
        self._new_lists: dict[str, ItemList] = {}
        self._ledger = ledger
        self._durable = run.head

    @property
    def is_durable(self) -> bool:
        """Whether the state in memory is what the ledger holds."""
        return self._durable == self.run.head

    async def commit(
        self,
        turn: Turn,
        payloads: Iterable[Payload] = (),
        answer: Answer | None = None,
        *,
        wakes: tuple[str, ...] = (),
        basis: dict[str, Head] | None = None,
    ) -> list[Permit]:
        """Append the turn, whose decisions rest on `basis` (see `Ledger.basis`); once it is durable
        the runs `wakes` are woken, whatever became of the caller. The permits it returns are
        durable: only these may be executed.

        Raises `StaleAppend`, `Conflict` or `LedgerUnavailable`; then nothing was stored.
        """
        if turn.events:
            append = append_of(turn, list(payloads), answer)
            append.wakes += wakes
            append.expects = append.expects | (basis or {})
            await self._ledger.append(append)
            self._durable = self.run.head
            self.values.take(turn.values)
            for digest, items in self._new_lists.items():
                self._lists.put(self.run.stream, digest, items)
            self._new_lists.clear()
        return turn.permits

    def keep_items(self, payload: Payload) -> None:
        """Have the list at hand that this turn stores."""
        self._new_lists[payload.hash] = ItemList(payload.value)

    async def items(self, digest: str) -> ItemList | None:
        """The list that a step fans out over; None where it was erased."""
        items = self._new_lists.get(digest) or self._lists.get(self.run.stream, digest)
        if items is None:
            found = await self.payloads([digest])
            if digest in found:
                items = ItemList(found[digest].value)
                self._lists.put(self.run.stream, digest, items)
        return items

    def drop_items(self) -> None:
        """The lists of fan-outs that are done are not needed any more; once the run has ended, none
        is."""
        for fan in self.run.fans.values():
            if fan.is_done or self.run.is_ended:
                self._lists.drop(self.run.stream, fan.items_hash)

    async def load(self, hashes: Iterable[str | None]) -> None:
        """Bring payloads into `values`; those that were erased stay missing."""
        missing = [h for h in dict.fromkeys(hashes) if h and h not in self.values]
        if missing:
            for digest, payload in (await self.payloads(missing)).items():
                value = msgspec.json.decode(payload.value)
                self.values.put(digest, value, len(payload.value))

    async def payloads(self, hashes: list[str]) -> dict[str, Payload]:
        """Payloads as they are stored; those that were erased are missing."""
        return await self._ledger.read(queries.payloads_of, self.run.stream, hashes)

    async def are_salted(self, hashes: list[str]) -> bool:
        """Whether any of these payloads is a sensitive one."""
        for begin in range(0, len(hashes), _PAGE):
            found = await self.payloads(hashes[begin : begin + _PAGE])
            if any(payload.salt for payload in found.values()):
                return True
        return False

    async def salt_of(self, digest: str | None) -> str | None:
        """The salt that a sensitive payload was hashed with."""
        if digest is None:
            return None
        found = await self.payloads([digest])
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
        self._lists = ItemLists()

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
                    slot.live = LiveRun(run, self._ledger, self._lists)
                try:
                    yield slot.live
                finally:
                    if not slot.live.is_durable:
                        slot.live = None
                    else:
                        slot.live.values.trim()
                        slot.live.drop_items()
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
            if slot.live is not None:
                slot.live.drop_items()
            return
        self._slots.move_to_end(run_id)
        if len(self._slots) > self._capacity:
            oldest, idle = next(iter(self._slots.items()))
            if not idle.holders:
                del self._slots[oldest]

    async def _read(self, run_id: str) -> Run:
        run: Run | None = None
        while True:
            first = run.head.seq if run else 0
            bodies = await self._ledger.read(
                queries.bodies, f"run:{run_id}", first=first, limit=_PAGE
            )
            events = [decode(body, RUN_EVENTS) for body in bodies]
            if run is None:
                if not events:
                    raise NotFound(f"There is no run {run_id}.", code="run_not_found")
                run = Run(await self._definition_of(events[0].data))
            for event in events:
                apply(run, event)
            if len(events) < _PAGE:
                return run

    async def _definition_of(self, created: Any) -> Workflow | None:
        if isinstance(created, RunCreated) and created.execution == "managed":
            return await self.definition(created.definition_hash or "")
        return None

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
