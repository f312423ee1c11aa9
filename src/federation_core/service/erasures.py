"""Erasure: a payload and its salt are gone; that it was there, and who erased it, stays."""

import msgspec

from ..errors import Conflict, FieldError, InvalidInput, NotFound
from ..identity import Scope
from ..ledger import Append, Erasure, queries
from ..ledger.schedules import schedule_place
from ..spine.envelope import Event, Head
from ..spine.schedule import schedule_stream
from .call import Call
from .parts import Parts, anew
from .reading import require_run
from .records import append_record
from .requests import EraseRequest

__all__ = ["Erased", "Erasures"]

_GONE = msgspec.json.encode(
    {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "detail": "What was answered to this idempotency key held values that were erased.",
        "code": "answer_erased",
    }
)


class Erased(msgspec.Struct, frozen=True):
    """What was erased: hashes by run, or by the stream of a schedule."""

    payloads: dict[str, list[str]]
    reason: str


class Erasures:
    """`fc.erasures`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @anew
    async def erase(self, call: Call, request: EraseRequest) -> Erased:
        """Erase the payloads of a run, or one payload in every run and schedule of the tenant, and
        write to the log who did it and why (`FC-DATA-001`), in one transaction.

        Raises `NotFound` where there is nothing to erase, `Conflict` where a run that needs it has
        not ended, or a schedule that does was not removed.
        """
        call.caller.require(Scope.ADMIN)
        found = await self._found(call, request)
        if not any(found.values()):
            raise NotFound("There is nothing to erase, or not any more.", code="payload_not_found")
        tenant = call.tenant
        records = [
            (
                "FC-DATA-001",
                {"payload_hashes": hashes, "reason": request.reason, "stream": stream},
            )
            for stream, hashes in found.items()
        ]
        erasures = [
            Erasure(stream, tuple(hashes), tenant, _told_by(tenant, stream), 410, _GONE)
            for stream, hashes in found.items()
        ]
        told = Erased({s.removeprefix("run:"): h for s, h in found.items()}, request.reason)

        def build(events: list[Event]) -> Append:
            append = Append("", tenant, Head(), events, erasures=erasures)
            append.answer = call.answer(200, told, events[-1].at)
            return append

        await append_record(
            self._parts,
            stream=f"log:{tenant}",
            tenant=tenant,
            actor=call.actor,
            records=records,
            build=build,
        )
        return told

    async def _found(self, call: Call, request: EraseRequest) -> dict[str, list[str]]:
        ledger = self._parts.ledger
        if (request.run_id is None) == (request.payload_hash is None):
            error = FieldError("/run_id", "give this or payload_hash")
            raise InvalidInput("Name a run_id or a payload_hash, one of them.", errors=[error])
        if request.run_id is not None:
            await self._must_have_ended(call, request.run_id)
            stream = f"run:{request.run_id}"
            return {stream: await ledger.read(queries.payload_hashes, stream)}
        assert request.payload_hash is not None
        streams = await ledger.read(queries.streams_with, call.tenant, request.payload_hash)
        for stream in streams:
            if stream.startswith("run:"):
                await self._must_have_ended(call, stream.removeprefix("run:"))
            else:
                await self._must_be_removed(call, _schedule_of(call.tenant, stream))
        return {stream: [request.payload_hash] for stream in streams}

    async def _must_have_ended(self, call: Call, run_id: str) -> None:
        doc = await self._parts.ledger.read(require_run, call.tenant, run_id)
        if doc.completed_at is None:
            raise Conflict(
                f"Run {run_id} is {doc.status} and needs its values; end it first.",
                code="run_not_ended",
            )

    async def _must_be_removed(self, call: Call, schedule_id: str) -> None:
        place = await self._parts.ledger.read(schedule_place, call.tenant, schedule_id)
        if place.schedule is not None and place.schedule.exists:
            raise Conflict(
                f"Schedule {schedule_id} needs its values; remove it first.",
                code="schedule_not_removed",
            )


def _schedule_of(tenant: str, stream: str) -> str:
    return stream.removeprefix(schedule_stream(tenant, ""))


def _told_by(tenant: str, stream: str) -> str:
    """What stands in every answer that tells of the stream: ids of runs are like nothing else,
    those of schedules are words."""
    if stream.startswith("run:"):
        return stream.removeprefix("run:")
    return f'"schedule_id":"{_schedule_of(tenant, stream)}"'
