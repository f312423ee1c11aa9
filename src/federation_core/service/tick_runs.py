"""The run of one tick: created once, whoever tries, and however often."""

import asyncio
from typing import Any

from ..errors import CallerError, IntegrityError, StaleAppend
from ..identity import Caller, Scope
from ..ledger import queries
from ..spine.actor import Actor
from ..spine.envelope import decode
from ..spine.events import RUN_EVENTS, PolicyEvaluated
from ..spine.schedule import Schedule, ScheduleAdded, Ticked, tick_run_id
from ..spine.times import to_rfc3339
from .call import Call
from .parts import Parts
from .requests import CreateRunRequest
from .runs import Runs
from .tick_plan import Planned

__all__ = ["RESERVED", "VIA", "TickRuns", "tick_request"]

RESERVED = "schedule"
"""The key under which a run's metadata say which schedule made it, and for when."""

VIA = "schedule"
"""Through whom the one who added a schedule starts its runs."""

_MAX_REASON = 500
_PAUSE_S = 0.01
_TRIES = 20


def tick_request(
    schedule: Schedule | ScheduleAdded, given: dict[str, Any], metadata: dict[str, Any], at: int
) -> CreateRunRequest:
    """What is asked for at the tick `at` (microseconds)."""
    told = {"id": schedule.schedule_id, "at": to_rfc3339(at)}
    return CreateRunRequest(
        workflow_id=schedule.workflow_id,
        workflow_version=schedule.workflow_version,
        input_payload=given,
        metadata={**metadata, RESERVED: told},
        tags=list(schedule.tags),
        execution="managed",
    )


class TickRuns:
    """Makes the runs of one schedule; `values` are its payloads by their hash."""

    def __init__(
        self, parts: Parts, runs: Runs, tenant: str, schedule: Schedule, values: dict[str, Any]
    ) -> None:
        self._parts = parts
        self._runs = runs
        self._tenant = tenant
        self._schedule = schedule
        self._values = values

    async def make(self, planned: Planned) -> Ticked:
        """The run of a tick, unless it is there, and what is to be recorded of it. What the run is
        refused for is recorded too; raises what may be otherwise later."""
        if planned.missed:
            return self._told(planned, outcome="missed")
        run_id = tick_run_id(self._tenant, self._schedule.schedule_id, planned.at)
        told = await self._found(planned, run_id)
        if told is not None:
            return told
        try:
            await self._surely_create(planned, run_id)
        except CallerError as e:
            # Another node may know more (a newer registration), and have created it meanwhile.
            told = await self._found(planned, run_id)
            return told or self._told(
                planned,
                outcome="refused",
                error_code=e.error_code,
                reason=_why(e),
            )
        told = await self._found(planned, run_id)
        if told is None:
            raise IntegrityError(f"The run {run_id} was created, and is not there.")
        return told

    async def _surely_create(self, planned: Planned, run_id: str) -> None:
        for _ in range(_TRIES):
            try:
                return await self._create(planned, run_id)
            except StaleAppend:
                if await self._found(planned, run_id) is not None:
                    return None
                await asyncio.sleep(_PAUSE_S)  # another node activated a policy, say
        # Once more; where that fails this tick is done later, and those of others now.
        return await self._create(planned, run_id)

    async def _create(self, planned: Planned, run_id: str) -> None:
        schedule = self._schedule
        missing = {schedule.input_hash, schedule.metadata_hash} - self._values.keys()
        if missing:
            raise CallerError(
                "The input or the metadata of the schedule were erased; add it anew.",
                code="input_erased",
            )
        actor = Actor(schedule.actor_id, schedule.actor_kind, schedule.actor_roles, via=VIA)
        call = Call(
            caller=Caller(
                actor=actor,
                tenant=self._tenant,
                scopes=frozenset({Scope.WORKFLOW_WRITE}),
                token_id=f"schedule {schedule.schedule_id}",
            ),
            correlation_id=f"t:{self._tenant}|c:{run_id}",
            mode=schedule.policy_mode,
        )
        given, metadata = (
            self._values[schedule.input_hash],
            self._values[schedule.metadata_hash],
        )
        request = tick_request(schedule, given, metadata, planned.at)
        await self._runs.bear(call, request, run_id=run_id)

    async def _found(self, planned: Planned, run_id: str) -> Ticked | None:
        """What the run itself says of its birth, so that it is told alike by whoever made it."""
        bodies = await self._parts.ledger.read(queries.bodies, f"run:{run_id}", limit=2)
        if not bodies:
            return None
        asked = decode(bodies[-1], RUN_EVENTS).data
        if isinstance(asked, PolicyEvaluated) and asked.decision == "deny":
            reason = asked.reason[:_MAX_REASON]
            return self._told(planned, outcome="denied", run_id=run_id, reason=reason)
        return self._told(planned, outcome="created", run_id=run_id)

    def _told(self, planned: Planned, **facts: Any) -> Ticked:
        return Ticked(
            schedule_id=self._schedule.schedule_id,
            at=to_rfc3339(planned.at),
            skipped_from=_time(planned.skipped_from),
            next_at=_time(planned.next_at),
            **facts,
        )


def _why(error: CallerError) -> str:
    """What a value is refused for names its keys, which have no place in the ledger."""
    if error.errors:
        return "The input is refused; start a run with it, and the answer says where and why."
    return error.detail[:_MAX_REASON]


def _time(instant: int | None) -> str | None:
    return None if instant is None else to_rfc3339(instant)
