"""An event as bytes: one form, one reading, everything else refused."""

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.spine_helpers import LOG, START, TENANT, long_life

from federation_core.errors import IntegrityError
from federation_core.spine.actor import Actor
from federation_core.spine.canonical import ZERO_HASH
from federation_core.spine.envelope import Event, Head, decode, leaf_hash, seal
from federation_core.spine.events import RUN_EVENTS, AttemptRefused, StepSkipped

LITERAL = (
    b'{"actor":"approver_1","at":"2026-11-23T12:00:00.000000Z",'
    b'"data":{"reason":"its condition is false","step_id":"a"},'
    b'"log":"federation-core/test","prev":"' + b"0" * 64 + b'","seq":0,"stream":"run:r1",'
    b'"tenant":"t","type":"FC-STEP-006","v":1,"via":null}'
)
texts = st.text(st.characters(exclude_categories=["Cs"]))


def sealed(data: Any, *, code: str | None = None, actor: Actor | None = None) -> Event:
    return seal(
        log=LOG,
        stream="run:r1",
        tenant=TENANT,
        head=Head(),
        code=code or data.code,
        data=data,
        actor=actor or Actor("approver_1"),
        at=START,
    )


def skipped() -> Event:
    return sealed(StepSkipped(step_id="a", reason="its condition is false"))


def test_the_literal_form() -> None:
    event = skipped()
    assert event.body == LITERAL
    assert event.prev == ZERO_HASH
    assert event.hash == hashlib.sha256(b"\0" + LITERAL).hexdigest() == leaf_hash(LITERAL)
    assert event.next_head == Head(1, event.hash)


def test_every_event_of_a_life_is_read_back_as_it_was() -> None:
    for event in long_life().events:
        assert decode(event.body, RUN_EVENTS) == event
        assert rfc8785.dumps(json.loads(event.body)) == event.body


@given(texts, texts, texts | st.none(), texts | st.none())
def test_any_text_is_written_as_rfc_8785_has_it(
    actor: str, reason: str, via: str | None, tenant: str | None
) -> None:
    data = AttemptRefused(attempted="x", refusal_code="x", reason=reason, actor_tenant=tenant)
    event = sealed(data, actor=Actor(actor, via=via))
    assert rfc8785.dumps(json.loads(event.body)) == event.body
    assert decode(event.body, RUN_EVENTS) == event


def test_other_streams_hold_plain_values() -> None:
    event = sealed({"workflow": {"id": "x", "steps": [1, None]}}, code="FC-WF-001")
    assert decode(event.body, RUN_EVENTS) == event


def told(**changes: Any) -> bytes:
    """The literal event with some members changed, written canonically."""
    wire = json.loads(LITERAL) | changes
    return rfc8785.dumps({k: v for k, v in wire.items() if v is not ...})


def test_the_control() -> None:
    assert told() == LITERAL


DATA = {"step_id": "a", "reason": "x"}
REFUSED = {
    "nothing": b"",
    "no JSON": b"{",
    "another JSON value": b"[]",
    "a space": LITERAL.replace(b",", b", ", 1),
    "a line feed": LITERAL + b"\n",
    "another order": b'{"via":null,' + LITERAL[1:].replace(b',"via":null', b""),
    "a key twice": LITERAL.replace(b'"v":1', b'"v":1,"v":1'),
    "an escape that need not be": LITERAL.replace(b'"a"}', rb'"\u0061"}'),
    "an escaped slash": LITERAL.replace(b"n-core/test", rb"n-core\/test"),
    "bytes that are not UTF-8": LITERAL.replace(b"approver_1", b"\xff"),
    "a lone surrogate": LITERAL.replace(b"approver_1", rb"\ud800"),
    "a member too many": told(note="x"),
    "another version": told(v=2),
    "a fraction": LITERAL.replace(b'"v":1', b'"v":1.0'),
    "a number as text": told(seq="0"),
    "a time in another form": told(at="2026-11-23T12:00:00Z"),
    "a time in another zone": told(at="2026-11-23T13:00:00.000000+01:00"),
    "no time": told(at="soon"),
    "data of another kind": told(data={"x": 1}),
    "no data": told(data=None),
    "a data member too many": told(data=DATA | {"note": "x"}),
    "a data member too few": told(data={"step_id": "a"}),
    "a data member of another type": told(data=DATA | {"step_id": 1}),
    "a default that stands there": told(
        type="FC-AUTH-001",
        data={"attempted": "x", "refusal_code": "x", "reason": "x", "gate_id": None},
    ),
    "a choice that there is not": told(
        type="FC-RUN-002", data={"previous_status": "pending", "new_status": "gone"}
    ),
    **{f"no {name}": told(**{name: ...}) for name in json.loads(LITERAL)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_event_in_its_one_form(name: str) -> None:
    with pytest.raises(IntegrityError):
        decode(REFUSED[name], RUN_EVENTS)


@given(st.binary())
def test_any_bytes_are_an_event_or_a_refusal(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(data, RUN_EVENTS)
