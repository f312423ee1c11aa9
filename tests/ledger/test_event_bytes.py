"""The bytes of an event: one form, its hash, and the chain (evidence.md, Event)."""

import hashlib
from typing import Any, get_args

import msgspec
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from federation_core.errors import IntegrityError
from federation_core.spine.actor import Actor
from federation_core.spine.canonical import MAX_INT, ZERO_HASH, canonical, sorted_json
from federation_core.spine.envelope import Event, Head, decode, leaf_hash, seal
from federation_core.spine.events import RUN_EVENTS, RunEventData

AT = 1_795_435_200_000_000
ANN = Actor("ann")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ints = st.integers(-MAX_INT, MAX_INT)
keys = st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True)
plain = st.recursive(
    st.none() | st.booleans() | ints | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
anything = st.recursive(
    st.none() | st.booleans() | ints | text | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


SIMPLE: dict[type[msgspec.inspect.Type], st.SearchStrategy[Any]] = {
    msgspec.inspect.StrType: text,
    msgspec.inspect.IntType: ints,
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.NoneType: st.none(),
    msgspec.inspect.DictType: st.dictionaries(keys, plain, max_size=3),
}


def values_of(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Every value that a field of this type may have."""
    simple = SIMPLE.get(type(kind))
    if simple is not None:
        return simple
    match kind:
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(values_of, types))
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(values_of(item), max_size=3).map(tuple)
        case msgspec.inspect.StructType(cls=cls):
            return bodies_of(cls)
    raise AssertionError(f"an event holds a {kind}, which the profile does not know")


def bodies_of(cls: Any) -> st.SearchStrategy[Any]:
    info = msgspec.inspect.type_info(cls)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(cls, **{field.name: values_of(field.type) for field in info.fields})


run_events = st.one_of(*map(bodies_of, get_args(RunEventData)))
actors = st.builds(Actor, text, via=st.none() | text)


def sealed(data: Any, actor: Actor = ANN, *, head: Head | None = None, code: str = "") -> Event:
    return seal(
        log="federation-core/x",
        stream="run:r",
        tenant="t",
        head=head or Head(),
        code=code or data.code,
        data=data,
        actor=actor,
        at=AT,
    )


@given(run_events, actors, st.integers(0, MAX_INT))
def test_the_fast_encoder_gives_the_rfc_8785_bytes_of_every_event(
    data: Any, actor: Actor, seq: int
) -> None:
    event = sealed(data, actor, head=Head(seq, "a" * 64))
    assert event.body == rfc8785.dumps(msgspec.json.decode(event.body))
    wire = msgspec.json.decode(event.body)
    assert sorted_json(wire["data"]) == sorted_json(data)
    assert (wire["actor"], wire["via"], wire["seq"]) == (actor.actor_id, actor.via, seq)


@given(run_events, actors)
def test_every_event_is_read_back_as_it_was(data: Any, actor: Actor) -> None:
    event = sealed(data, actor)
    assert decode(event.body, RUN_EVENTS) == event


@given(st.dictionaries(keys, plain, max_size=4))
def test_events_of_other_streams_have_rfc_8785_bytes(data: dict[str, Any]) -> None:
    event = sealed(data, code="FC-WF-001")
    assert event.body == rfc8785.dumps(msgspec.json.decode(event.body))
    assert decode(event.body, {}).data == data


@given(anything)
@example({"\ud7ff": 1, "\ue000": 2, "\U00010000": 3})
@example({"a": -0.0, "b": 1e21, "c": 1e-7, "d": 5e-324})
def test_payloads_have_rfc_8785_bytes(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_the_hash_of_an_event_is_its_leaf_hash() -> None:
    event = sealed({"a": 1}, code="FC-WF-001")
    assert event.hash == hashlib.sha256(b"\0" + event.body).hexdigest() == leaf_hash(event.body)


def test_the_first_event_links_to_zeros_and_each_other_one_to_the_one_before() -> None:
    first = sealed({"a": 1}, code="FC-WF-001")
    second = sealed({"a": 2}, head=first.next_head, code="FC-WF-001")
    assert (first.seq, first.prev) == (0, ZERO_HASH)
    assert (second.seq, second.prev) == (1, first.hash)


def test_the_example_of_the_format_is_reproduced_byte_for_byte() -> None:
    event = seal(
        log="federation-core/acme",
        stream="run:r",
        tenant="tenant_omega",
        head=Head(7, "0" * 64),
        code="FC-GATE-002",
        data={},
        actor=Actor("approver_1", via="console"),
        at=AT,
    )
    assert event.body == (
        b'{"actor":"approver_1","at":"2026-11-23T12:00:00.000000Z","data":{},'
        b'"log":"federation-core/acme","prev":"' + b"0" * 64 + b'","seq":7,"stream":"run:r",'
        b'"tenant":"tenant_omega","type":"FC-GATE-002","v":1,"via":"console"}'
    )


BODY: dict[str, Any] = msgspec.json.decode(sealed({"a": 1, "b": None}, code="FC-WF-001").body)


@pytest.mark.parametrize(
    "body",
    [
        sorted_json(BODY).replace(b'"a":1', b'"a":1,"a":1'),
        sorted_json(BODY).replace(b'"a":1', b'"a": 1'),
        sorted_json(BODY).replace(b'"a":1,"b":null', b'"b":null,"a":1'),
        sorted_json(BODY).replace(b"12:00:00.000000Z", b"12:00:00Z"),
        sorted_json(BODY).replace(b'"ann"', b'"\\u0061nn"'),
        sorted_json(BODY | {"v": 2}),
        sorted_json(BODY | {"extra": 1}),
        sorted_json({k: v for k, v in BODY.items() if k != "via"}),
        sorted_json(BODY) + b" ",
        sorted_json(BODY)[:-1],
        b"[]",
        b"",
        b"\xff",
    ],
)
def test_bytes_that_are_not_the_one_form_are_refused(body: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(body, {})
