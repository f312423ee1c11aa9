"""Streams that are not runs: their events are decided, sealed and appended in one move."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..errors import Forbidden, StaleAppend
from ..ledger import Append, queries
from ..spine.actor import Actor
from ..spine.decision import Decision
from ..spine.envelope import Event, Head, seal
from .parts import Parts

__all__ = ["Record", "allowed", "append_record", "policy_record", "sealed"]

Record = tuple[str, dict[str, Any]]
"""An event code and its data."""


def policy_record(decision: Decision, action: str) -> Record:
    """The `FC-POLICY-001` of a decision about something that is not a run."""
    data = msgspec.to_builtins(decision)
    tightened = data.pop("tightened", None)
    data = {k: v for k, v in data.items() if v not in (None, [], ())} | {"action": action}
    if tightened:
        names = ("decision", "policy_id", "policy_hash", "rules_triggered")
        data["tightened"] = {name: tightened[name] for name in names}
    return ("FC-POLICY-001", data)


def allowed(decision: Decision) -> None:
    """Raises `Forbidden` unless `decision` allows; a flag is a refusal where nothing can wait."""
    if decision.decision != "allow":
        raise Forbidden(f"Policy refuses it: {decision.reason}", code="policy_denied")


def sealed(
    parts: Parts,
    records: Sequence[Record],
    *,
    stream: str,
    tenant: str,
    actor: Actor,
    head: Head,
    at: int,
) -> list[Event]:
    """The events of `records`, the first of which follows `head`."""
    events: list[Event] = []
    for code, data in records:
        event = seal(
            log=parts.ledger.log,
            stream=stream,
            tenant=tenant,
            head=events[-1].next_head if events else head,
            code=code,
            data=data,
            actor=actor,
            at=at,
        )
        events.append(event)
    return events


async def append_record(
    parts: Parts,
    *,
    stream: str,
    tenant: str,
    actor: Actor,
    records: list[Record],
    build: Callable[[list[Event]], Append],
) -> list[Event]:
    """Append `records` to `stream`, wherever it ends now. `build` makes the append of the events;
    its stream, base and events are filled in here. Raises `StaleAppend` where something else moved
    that they rest on: what was decided has to be decided again."""
    while True:
        head: Head = await parts.ledger.read(queries.head, stream)
        at = max(parts.clock(), await parts.ledger.read(queries.last_at, stream))
        events = sealed(parts, records, stream=stream, tenant=tenant, actor=actor, head=head, at=at)
        append = build(events)
        append.stream, append.tenant, append.base, append.events = stream, tenant, head, events
        try:
            await parts.ledger.append(append)
        except StaleAppend as e:
            if e.facts.get("stream") in append.expects:
                raise
            continue
        return events
