"""What every use case works with, and the few moves that all of them make."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from ..engine.governor import Governor
from ..engine.live import LiveRun, LiveRuns
from ..engine.ports import Clock, Engine, NewId
from ..engine.sealing import seal_payload
from ..errors import Forbidden, NotFound, StaleAppend
from ..ledger import Ledger, Payload
from ..ledger.documents import gate_doc, run_doc, step_doc
from ..ledger.said import Errors
from ..spine.canonical import check_value
from ..spine.commands import Command, RecordRefusal
from ..spine.handle import handle
from ..spine.turn import Turn
from .call import Call
from .log_entries import error_hashes, log_entry
from .views import Gate, LogEntry, Run, Step, gate_view, run_view, step_view

__all__ = ["Parts", "Visit", "anew"]

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 8


def anew(
    use_case: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """A use case that is done again, from what is there now, where another node was faster."""

    @wraps(use_case)
    async def done(*args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(_TRIES):
            try:
                return await use_case(*args, **kwargs)
            except StaleAppend:
                if tried == _TRIES - 1:
                    raise
                await asyncio.sleep(0.005 * 2**tried)
        raise AssertionError

    return done


class Parts(msgspec.Struct, frozen=True):
    """The wired system below the use cases."""

    ledger: Ledger
    runs: LiveRuns
    governor: Governor
    engine: Engine
    clock: Clock
    new_id: NewId
    default_tenant: str
    require_registration: bool
    witness_keys: tuple[str, ...] = ()
    """The verifier keys of the witnesses that cosign."""

    @asynccontextmanager
    async def visit(self, call: Call, run_id: str) -> AsyncIterator["Visit"]:
        """One caller's turn at a run of theirs, alone with it. Raises `NotFound` for a run that is
        not there, or is another tenant's."""
        async with self.runs.hold(run_id) as live:
            visit = Visit(self, call, live)
            if live.run.tenant != call.tenant:
                raise NotFound(f"There is no run {run_id}.", code="run_not_found")
            yield visit


class Visit:
    """A turn of `call` at the run that `live` holds."""

    def __init__(self, parts: Parts, call: Call, live: LiveRun) -> None:
        self.parts = parts
        self.call = call
        self.live = live
        self.run = live.run
        self._basis = parts.ledger.basis(call.tenant)
        self.payloads: list[Payload] = []
        self.turn = Turn(
            live.run,
            actor=call.actor,
            now=parts.clock(),
            new_id=parts.new_id,
            log=parts.ledger.log,
        )

    def keep(self, value: Any, path: str = "") -> str:
        """Store a payload with this turn; returns its hash. Raises `InvalidInput` for a value that
        the ledger cannot hold, naming where under `path`."""
        check_value(value, path)
        payload = seal_payload(value)
        self.payloads.append(payload)
        self.live.values.put(payload.hash, value, len(payload.value))
        return payload.hash

    def drop(self, digest: str | None) -> None:
        """Store what was kept last under this hash after all not: no event of the turn names it."""
        for index in reversed(range(len(self.payloads))):
            if self.payloads[index].hash == digest:
                del self.payloads[index]
                return

    async def handle(self, command: Command, refusal: RecordRefusal) -> None:
        """Put `command` to the run. Where the actor may not do it, `refusal` is written to the log
        with the reason before the error goes on to the caller."""
        try:
            handle(self.turn, command)
        except Forbidden as e:
            await self.record(refusal, e)
            raise

    async def record(self, refusal: RecordRefusal, error: Forbidden | NotFound) -> None:
        """Write down an attempt that was refused."""
        told = msgspec.structs.replace(refusal, code=error.error_code, reason=error.detail)
        handle(self.turn, told)
        await self.live.commit(self.turn, basis=self._basis)

    async def commit(self, status: int = 0, view: Any = None) -> None:
        """Make the turn durable, with the answer `view` where the call has an idempotency key,
        and wake the engine."""
        answer = self.call.answer(status, view, self.turn.now) if status else None
        goes_on = self.run.is_managed or self.run.open_gates
        wakes = (self.run.run_id,) if goes_on else ()
        await self.live.commit(self.turn, self.payloads, answer, wakes=wakes, basis=self._basis)

    async def load(self, hashes: Iterable[str | None]) -> None:
        await self.live.load(hashes)

    async def run_view(self) -> Run:
        """The run as this turn leaves it."""
        doc = run_doc(self.run)
        return run_view(
            doc,
            await self._seen([doc.input_hash, doc.metadata_hash, doc.output_hash]),
            await self._errors([doc.error_hash]),
            list(self.run.receipts),
        )

    async def _seen(self, hashes: list[str | None]) -> dict[str, Any]:
        await self.live.load(h for h in hashes if h not in self.turn.values)
        return self.live.values.among(hashes) | self.turn.values

    async def _errors(self, hashes: Iterable[str | None]) -> Errors:
        """The payloads of errors, of this turn and from before."""
        wanted = {digest for digest in hashes if digest}
        found = {p.hash: p for p in self.payloads if p.hash in wanted}
        older = sorted(wanted - found.keys())
        return found | (await self.live.payloads(older) if older else {})

    async def gate_view(self, gate_id: str) -> Gate:
        doc = gate_doc(self.run, self.run.gates[gate_id])
        return gate_view(doc, await self._seen([doc.input_schema_hash]))

    async def step_view(self, step_id: str) -> Step:
        doc = step_doc(self.run, self.run.steps[step_id])
        return step_view(doc, await self._errors([doc.error_hash]))

    async def new_logs(self) -> list[LogEntry]:
        """The log entries of this turn."""
        errors = await self._errors(error_hashes(self.turn.events))
        return [log_entry(event, errors) for event in self.turn.events]
