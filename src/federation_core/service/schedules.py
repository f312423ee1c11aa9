"""Schedules: adding, holding and removing them. The scheduler makes their runs."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from ..engine.sealing import seal_payload
from ..errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, StaleAppend
from ..identity import Scope, grants
from ..ledger import Payload
from ..ledger.schedules import schedule_place
from ..spine.canonical import check_value
from ..spine.schedule import (
    Schedule,
    ScheduleAdded,
    ScheduleHeld,
    ScheduleRemoved,
    tick_run_id,
)
from ..spine.times import to_rfc3339
from .call import Call
from .parts import Parts
from .records import Record, policy_record
from .requests import AddScheduleRequest
from .runs import Runs
from .schedule_append import schedule_append
from .schedule_views import Schedule as ScheduleView
from .schedule_views import (
    ScheduleAnswer,
    read_schedule,
    read_schedules,
    schedule_values,
    schedule_view,
)
from .tick_runs import RESERVED, tick_request
from .timetable import Timetable, never

__all__ = ["Schedules"]

TICKS_SHOWN = 20


class _Change(NamedTuple):
    """What a use case makes of a schedule; with a `refusal`, only a record of the attempt."""

    records: list[Record]
    payloads: tuple[Payload, ...] = ()
    refusal: Forbidden | None = None


_Changer = Callable[[Schedule | None, int], Awaitable[_Change]]
"""Called with the schedule as it stands, and the time (microseconds); raises what refuses."""


class Schedules:
    """`fc.schedules`."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts = parts
        self._runs = runs

    async def add(self, call: Call, request: AddScheduleRequest) -> ScheduleView:
        """From now on a run of the workflow is created at every tick, as by the caller.

        Policy is asked about the first run (`run.create`) now, and about each one when it is
        created; a deny now raises `Forbidden`, and is on record. Raises `InvalidInput` for an
        expression, a zone or an input that cannot be used, or a workflow that is not registered,
        `Conflict` where there is a schedule of this id.
        """
        call.caller.require("workflow:write")
        timetable = Timetable(request.cron, request.timezone)
        given = _sealed(request.input_payload, "/input_payload")
        metadata = _sealed(_own(request.metadata), "/metadata")
        schedule_id = request.schedule_id or self._parts.new_id()

        async def change(schedule: Schedule | None, now: int) -> _Change:
            if schedule is not None and schedule.exists:
                raise Conflict(
                    f"There is a schedule {schedule_id} already; remove it first, or take another "
                    "id.",
                    code="schedule_exists",
                )
            first = timetable.after(now)
            if first is None:
                raise never(request.cron, now)
            added = ScheduleAdded(
                schedule_id=schedule_id,
                workflow_id=request.workflow_id,
                workflow_version=request.workflow_version,
                cron=request.cron,
                timezone=request.timezone,
                catch_up=request.catch_up,
                input_hash=given.hash,
                metadata_hash=metadata.hash,
                tags=tuple(request.tags),
                actor_kind=call.actor.kind,
                actor_roles=call.actor.roles,
                policy_mode=call.mode,
                next_at=to_rfc3339(first),
            )
            decision = await self._runs.preview(
                call,
                tick_request(added, request.input_payload, request.metadata, first),
                tick_run_id(call.tenant, schedule_id, first),
            )
            asked = policy_record(decision, "run.create")
            if decision.decision == "deny":  # a flag is no refusal: each run waits at its own gate
                refusal = Forbidden(f"Policy refuses it: {decision.reason}", code="policy_denied")
                told = _refusal("schedule.add", refusal.error_code, decision.reason)
                return _Change([asked, told], refusal=refusal)
            return _Change([asked, _record(added)], (given, metadata))

        return await self._change(call, schedule_id, 201, change)

    async def remove(self, call: Call, schedule_id: str) -> ScheduleView:
        """It ticks no more. Raises `NotFound`, `Forbidden` (see `_strange`)."""
        call.caller.require("workflow:write")

        async def change(schedule: Schedule | None, _now: int) -> _Change:
            found = _must_exist(schedule, schedule_id)
            if (refused := self._strange(call, found, "schedule.remove")) is not None:
                return refused
            return _Change([_record(ScheduleRemoved(schedule_id=schedule_id))])

        return await self._change(call, schedule_id, 200, change)

    async def pause(self, call: Call, schedule_id: str) -> ScheduleView:
        """It does not tick until it is resumed. Raises `NotFound`, `Conflict`, `Forbidden`."""
        return await self._hold(call, schedule_id, paused=True)

    async def resume(self, call: Call, schedule_id: str) -> ScheduleView:
        """It goes on with the first tick from now; those between have no runs. Raises `NotFound`,
        `Conflict`, `Forbidden`."""
        return await self._hold(call, schedule_id, paused=False)

    async def listed(self, call: Call) -> list[ScheduleView]:
        """The schedules of the tenant, by their id."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(read_schedules, call.tenant)

    async def get(self, call: Call, schedule_id: str) -> ScheduleAnswer:
        """A schedule and its newest ticks. Raises `NotFound`."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(
            read_schedule, call.tenant, schedule_id, ticks=TICKS_SHOWN
        )

    async def _hold(self, call: Call, schedule_id: str, *, paused: bool) -> ScheduleView:
        call.caller.require("workflow:write")

        async def change(schedule: Schedule | None, now: int) -> _Change:
            found = _must_exist(schedule, schedule_id)
            action = "schedule.pause" if paused else "schedule.resume"
            if (refused := self._strange(call, found, action)) is not None:
                return refused
            if (found.status == "paused") == paused:
                raise Conflict(
                    f"Schedule {schedule_id} is {found.status} already.",
                    code="schedule_paused" if paused else "schedule_not_paused",
                )
            first = None if paused else Timetable(found.cron, found.timezone).after(now)
            next_at = None if first is None else to_rfc3339(first)
            held = ScheduleHeld(schedule_id=schedule_id, paused=paused, next_at=next_at)
            return _Change([_record(held)])

        return await self._change(call, schedule_id, 200, change)

    def _strange(self, call: Call, schedule: Schedule, action: str) -> _Change | None:
        """The refusal of somebody who holds or removes what another has scheduled, where the policy
        mode is strict: policy has no action for it, so it is the other's own, or an
        administrator's."""
        strict = self._parts.governor.mode(call.tenant, call.mode) == "strict"
        own = call.actor.actor_id == schedule.actor_id
        if not strict or own or grants(call.caller.scopes, Scope.ADMIN):
            return None
        refusal = Forbidden(
            f"{schedule.actor_id} added schedule {schedule.schedule_id}; in strict mode only they, "
            f"or who has the scope {str(Scope.ADMIN)!r}, may hold, resume or remove it.",
            code="not_the_scheduler",
        )
        return _Change([_refusal(action, refusal.error_code, refusal.detail)], refusal=refusal)

    async def _change(
        self, call: Call, schedule_id: str, status: int, change: _Changer
    ) -> ScheduleView:
        """Append what `change` makes of the schedule; anew, where it moved on meanwhile."""
        parts = self._parts
        while True:
            place = await parts.ledger.read(schedule_place, call.tenant, schedule_id)
            at = max(parts.clock(), place.last_at)
            basis = parts.ledger.basis(call.tenant)
            made = await change(place.schedule, at)
            append, schedule = schedule_append(
                parts,
                place,
                made.records,
                tenant=call.tenant,
                schedule_id=schedule_id,
                actor=call.actor,
                at=at,
            )
            append.payloads = list(made.payloads)
            append.expects = basis
            view: ScheduleView | None = None
            if schedule is not None and made.refusal is None:
                values = {p.hash: msgspec.json.decode(p.value) for p in made.payloads}
                values |= await parts.ledger.read(schedule_values, call.tenant, schedule)
                view = schedule_view(schedule, values)
                append.answer = call.answer(status, view, at)
            try:
                await parts.ledger.append(append)
            except StaleAppend:
                continue
            if made.refusal is not None:
                raise made.refusal
            assert view is not None
            return view


def _record(event: ScheduleAdded | ScheduleRemoved | ScheduleHeld) -> Record:
    return event.code, msgspec.to_builtins(event)


def _must_exist(schedule: Schedule | None, schedule_id: str) -> Schedule:
    if schedule is None or not schedule.exists:
        raise NotFound(f"There is no schedule {schedule_id}.", code="schedule_not_found")
    return schedule


def _sealed(value: dict[str, object], path: str) -> Payload:
    check_value(value, path)
    return seal_payload(value)


def _own(metadata: dict[str, object]) -> dict[str, object]:
    if RESERVED in metadata:
        why = "the server says here which schedule made a run; take another key"
        raise InvalidInput(
            f"The key {RESERVED!r} of the metadata is refused: {why}.",
            errors=[FieldError(f"/metadata/{RESERVED}", why)],
        )
    return metadata


def _refusal(attempted: str, code: str, reason: str) -> Record:
    return "FC-AUTH-001", {"attempted": attempted, "refusal_code": code, "reason": reason}
