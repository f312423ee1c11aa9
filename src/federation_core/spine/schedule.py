"""What a schedule is, and what may happen to it: the fold of the events of its stream.

A tick is done by recording it: each `FC-SCHED-003` begins where the schedule's `next_at` stands and
moves it on, so no instant can be recorded twice. The run of a tick has an id that follows from the
instant, so no instant can have two runs either, whoever creates them and whenever.
"""

import hashlib
from typing import Any, ClassVar, Literal

import msgspec

from ..errors import IntegrityError, InvalidInput
from .canonical import canonical
from .decision import PolicyMode
from .shapes import prepare
from .times import from_rfc3339, to_rfc3339

__all__ = [
    "CatchUp",
    "Outcome",
    "Schedule",
    "ScheduleAdded",
    "ScheduleHeld",
    "ScheduleRemoved",
    "ScheduleStatus",
    "Tick",
    "Ticked",
    "follow",
    "schedule_stream",
    "tick_run_id",
]

CatchUp = Literal["all", "latest", "none"]
ScheduleStatus = Literal["active", "paused", "removed"]
Outcome = Literal["created", "denied", "refused", "missed"]
"""`denied`: policy denied the run, which is on record and has failed. `refused`: there is no run,
and `error_code` says why. `missed`: it came too late, and the schedule does not catch up."""

_RUN_ID_PREFIX = b"fc/schedule-tick/v1\0"
_OTHERS = frozenset({"FC-POLICY-001", "FC-AUTH-001"})


class _Data(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Optional facts are left out where there are none; times are RFC 3339."""


class ScheduleAdded(_Data, frozen=True, kw_only=True):
    """The runs act as the event's actor, with the kind and the roles that they had then."""

    code: ClassVar[str] = "FC-SCHED-001"
    schedule_id: str
    workflow_id: str
    workflow_version: str | None = None
    cron: str
    timezone: str
    catch_up: CatchUp
    input_hash: str
    metadata_hash: str
    tags: tuple[str, ...] = ()
    actor_kind: str
    actor_roles: tuple[str, ...] = ()
    policy_mode: PolicyMode | None = None
    next_at: str


class ScheduleRemoved(_Data, frozen=True, kw_only=True):
    code: ClassVar[str] = "FC-SCHED-002"
    schedule_id: str


class Ticked(_Data, frozen=True, kw_only=True):
    """`at` is the instant that the schedule names. Where ticks before it were passed over (under
    `catch_up`, or because there were too many) `skipped_from` is the first of them. Without a
    `next_at` the schedule never ticks again."""

    code: ClassVar[str] = "FC-SCHED-003"
    schedule_id: str
    at: str
    outcome: Outcome
    run_id: str | None = None
    error_code: str | None = None
    reason: str | None = None
    skipped_from: str | None = None
    next_at: str | None = None


class ScheduleHeld(_Data, frozen=True, kw_only=True):
    """Paused, or let go on: ticks of the time between are nobody's."""

    code: ClassVar[str] = "FC-SCHED-004"
    schedule_id: str
    paused: bool
    next_at: str | None = None


ScheduleEvent = ScheduleAdded | ScheduleRemoved | Ticked | ScheduleHeld
_EVENTS: dict[str, type[ScheduleEvent]] = {
    kind.code: kind for kind in (ScheduleAdded, ScheduleRemoved, Ticked, ScheduleHeld)
}
prepare(*_EVENTS.values())


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One tick as it was recorded, at `recorded_at`."""

    at: str
    outcome: Outcome
    run_id: str | None
    error_code: str | None
    reason: str | None
    skipped_from: str | None
    recorded_at: str

    @classmethod
    def of(cls, event: Ticked, recorded_at: str) -> "Tick":
        return cls(
            at=event.at,
            outcome=event.outcome,
            run_id=event.run_id,
            error_code=event.error_code,
            reason=event.reason,
            skipped_from=event.skipped_from,
            recorded_at=recorded_at,
        )


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as its events left it. `next_at` is None where it does not tick (any more)."""

    schedule_id: str
    workflow_id: str
    workflow_version: str | None
    cron: str
    timezone: str
    catch_up: CatchUp
    status: ScheduleStatus
    input_hash: str
    metadata_hash: str
    tags: tuple[str, ...]
    policy_mode: PolicyMode | None
    actor_id: str
    actor_kind: str
    actor_roles: tuple[str, ...]
    via: str | None
    added_at: str
    updated_at: str
    next_at: str | None
    last_tick: Tick | None

    @property
    def exists(self) -> bool:
        return self.status != "removed"


def schedule_stream(tenant: str, schedule_id: str) -> str:
    return f"schedule:{tenant}/{schedule_id}"


def tick_run_id(tenant: str, schedule_id: str, at: int) -> str:
    """The id of the run of one tick, `at` in microseconds: a UUIDv7 (RFC 9562 section 5.7) of that
    instant, its random bits the first 74 of SHA-256(`"fc/schedule-tick/v1\\0"` ‖ the RFC 8785 form
    of `[tenant, schedule_id, instant]`)."""
    told = canonical([tenant, schedule_id, to_rfc3339(at)])
    bits = int.from_bytes(hashlib.sha256(_RUN_ID_PREFIX + told).digest()[:10]) >> 6
    rand_a, rand_b = bits >> 62, bits & ((1 << 62) - 1)
    number = (at // 1000) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def follow(
    schedule: Schedule | None,
    code: str,
    data: dict[str, Any],
    *,
    stream: str,
    tenant: str,
    actor: str,
    via: str | None,
    at: str,
) -> Schedule | None:
    """The schedule after an event of its stream. Raises `IntegrityError` for one that cannot
    follow, or is none."""
    if code in _OTHERS:
        return schedule
    event = _read(code, data)
    if stream != schedule_stream(tenant, event.schedule_id):
        raise IntegrityError(f"Event {code} is of another schedule.")
    if isinstance(event, ScheduleAdded):
        return _added(schedule, event, actor, via, at)
    if schedule is None or not schedule.exists:
        raise IntegrityError(f"Event {code} cannot be: there is no schedule.")
    replace = msgspec.structs.replace
    match event:
        case ScheduleRemoved():
            return replace(schedule, status="removed", next_at=None, updated_at=at)
        case ScheduleHeld(paused=paused, next_at=next_at):
            if (schedule.status == "paused") == paused or (paused and next_at):
                raise IntegrityError("A schedule that is held cannot be held, nor the other way.")
            status: ScheduleStatus = "paused" if paused else "active"
            return replace(schedule, status=status, next_at=next_at, updated_at=at)
        case Ticked():
            _check_tick(schedule, event, tenant)
            tick = Tick.of(event, at)
            return replace(schedule, next_at=event.next_at, last_tick=tick, updated_at=at)


def _read(code: str, data: dict[str, Any]) -> ScheduleEvent:
    kind = _EVENTS.get(code)
    if kind is None:
        raise IntegrityError(f"The stream of a schedule has no event {code[:20]!r}.")
    try:
        event = msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise IntegrityError(f"The event {code} is not of its shape: {e}") from e
    _check_time(None if isinstance(event, ScheduleRemoved) else event.next_at)
    return event


def _added(
    schedule: Schedule | None, event: ScheduleAdded, actor: str, via: str | None, at: str
) -> Schedule:
    if schedule is not None and schedule.exists:
        raise IntegrityError("A schedule that is there cannot be added.")
    return Schedule(
        schedule_id=event.schedule_id,
        workflow_id=event.workflow_id,
        workflow_version=event.workflow_version,
        cron=event.cron,
        timezone=event.timezone,
        catch_up=event.catch_up,
        status="active",
        input_hash=event.input_hash,
        metadata_hash=event.metadata_hash,
        tags=event.tags,
        policy_mode=event.policy_mode,
        actor_id=actor,
        actor_kind=event.actor_kind,
        actor_roles=event.actor_roles,
        via=via,
        added_at=at,
        updated_at=at,
        next_at=event.next_at,
        last_tick=None,
    )


def _check_time(text: str | None) -> int:
    try:
        at = from_rfc3339(text) if text is not None else 0
    except InvalidInput as e:
        raise IntegrityError(e.detail) from e
    if text is not None and to_rfc3339(at) != text:
        raise IntegrityError(f"{text!r} is not a time with six digits.")
    return at


def _check_tick(schedule: Schedule, tick: Ticked, tenant: str) -> None:
    """Ticks follow one another: the first that this one tells of is the one that was next, and the
    next one is later. (Times with six digits sort as text.) The run is the one of this tick."""
    at = _check_time(tick.at)
    first = tick.skipped_from or tick.at
    if first != schedule.next_at or first > tick.at or (tick.next_at or "~") <= tick.at:
        raise IntegrityError(f"The tick of {tick.at} cannot be: {schedule.next_at} is next.")
    has_run = tick.outcome in ("created", "denied")
    if tick.run_id != (tick_run_id(tenant, schedule.schedule_id, at) if has_run else None):
        raise IntegrityError(f"The tick of {tick.at} is {tick.outcome}, and its run is not so.")
