"""How a test puts something unlawful before the fold, or something refused before `handle`."""

from typing import Any

import msgspec
import pytest
from tests.spine_helpers import LOG, Life, fork, same

from federation_core.errors import CallerError, IntegrityError
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.commands import Command, RecordRefusal
from federation_core.spine.envelope import Event, Head, seal
from federation_core.spine.events import RunEventData
from federation_core.spine.fold import apply
from federation_core.spine.handle import handle
from federation_core.spine.turn import Turn

__all__ = ["Spot", "here", "refused"]


class Spot:
    """The place of one event in a life that goes on with `command`: `run` is the state before it.

    What stands there lawfully is `event`; `refuses` puts something else there.
    """

    def __init__(self, life: Life, command: Command, code: str, actor: Actor = SYSTEM) -> None:
        self.run = fork(life.run)
        turn = Turn(fork(life.run), actor=actor, now=life.now, new_id=life.next_gate, log=LOG)
        handle(turn, command)
        for event in turn.events:
            if event.type == code:
                self.event = event
                apply(fork(self.run), event)
                return
            apply(self.run, event)
        raise AssertionError(f"no {code} in {[event.type for event in turn.events]}")

    def other(self, **changes: Any) -> Event:
        """The event with `changes`: of its place (`seq`, `prev`, `at`, `actor` and so on), else
        of its data."""
        event = self.event
        place = {n: changes.pop(n) for n in Event.__struct_fields__ if n in changes}
        actor = place.get("actor", Actor(event.actor, via=event.via))
        data: RunEventData = place.get("data", event.data)
        return seal(
            log=LOG,
            stream=place.get("stream", event.stream),
            tenant=place.get("tenant", event.tenant),
            head=Head(place.get("seq", event.seq), place.get("prev", event.prev)),
            code=data.code,
            data=msgspec.structs.replace(data, **changes),
            actor=actor,
            at=place.get("at", event.at),
        )

    def refuses(self, why: str, **changes: Any) -> None:
        with pytest.raises(IntegrityError, match=why):
            apply(fork(self.run), self.other(**changes))


def here(life: Life) -> Spot:
    """The place of the next event, whatever it is: lawfully, a refused attempt stands there."""
    refusal = RecordRefusal(action="run.pause", code="x", reason="x")
    return Spot(life, refusal, "FC-AUTH-001")


def refused(code: str, life: Life, command: Command, actor: Actor = SYSTEM) -> CallerError:
    """`command` is refused with `code`, and has changed nothing and left no event."""
    before = fork(life.run)
    turn = Turn(life.run, actor=actor, now=life.now, new_id=life.next_gate, log=LOG)
    with pytest.raises(CallerError) as caught:
        handle(turn, command)
    assert caught.value.error_code == code
    assert not turn.events
    assert same(life.run, before)
    return caught.value
