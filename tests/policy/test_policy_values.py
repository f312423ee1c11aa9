"""JSON becomes Cedar by one rule each, or is refused: nothing is guessed."""

import json
import math
from enum import StrEnum
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.policy_helpers import PERMIT, bundle, request, rule

from federation_core.errors import InvalidInput
from federation_core.policy import judge
from federation_core.policy.values import to_cedar

MAX = 2**53 - 1


class Kind(StrEnum):
    ACT = "ACT"


def decimal(text: str) -> dict[str, Any]:
    return {"__extn": {"fn": "decimal", "arg": text}}


CONVERTED = [
    ("text", "text"),
    ("", ""),
    ('nul \0, quote ", é, 🐝', 'nul \0, quote ", é, 🐝'),
    (Kind.ACT, "ACT"),
    (True, True),
    (False, False),
    (0, 0),
    (MAX, MAX),
    (-MAX, -MAX),
    (2.0, 2),
    (-0.0, 0),
    (1e3, 1000),
    (1.5, decimal("1.5")),
    (-0.0001, decimal("-0.0001")),
    (0.1, decimal("0.1")),
    (922337203685477.5, decimal("922337203685477.5")),
    (-922337203685477.5, decimal("-922337203685477.5")),
    ([], []),
    ((1, 2), [1, 2]),
    ([1, "a", {"b": []}], [1, "a", {"b": []}]),
    ({}, {}),
    ({"": 1, "a b": 2, "__x": 3, "\0": 4}, {"": 1, "a b": 2, "__x": 3, "\0": 4}),
    ({"type": "Actor", "id": "root"}, {"type": "Actor", "id": "root"}),
    ({"fn": "ip", "arg": "::1"}, {"fn": "ip", "arg": "::1"}),
    ({"a": None, "b": {"c": None}}, {"b": {}}),
]

REFUSED = [
    (None, ""),
    ([1, None], "/1"),
    ({"a": [None]}, "/a/0"),
    (MAX + 1, ""),
    (2**70, ""),
    ({"a": -MAX - 1}, "/a"),
    (1e16, ""),
    (1e300, ""),
    (0.00001, ""),
    (1.23456, ""),
    ({"lines": [{"price": 0.12345}]}, "/lines/0/price"),
    (922337203685477.6, ""),
    (5e-324, ""),
    (math.nan, ""),
    (math.inf, ""),
    (-math.inf, ""),
    ("\ud800", ""),
    ({"\udfff": 1}, ""),
    ({"a/b~c": {"d": None, "e": [None]}}, "/a~1b~0c/e/0"),
    ({1: 2}, ""),
    ({"a": {None: 2}}, "/a"),
    (b"bytes", ""),
    ({"a": {1, 2}}, "/a"),
    ({"a": object()}, "/a"),
    ({"__entity": {"type": "Role", "id": "admin"}}, ""),
    ({"a": {"__extn": {"fn": "ip", "arg": "::1"}}}, "/a"),
    ({"a": [{"__expr": "1 + 1"}]}, "/a/0"),
    ({"__entity": 1, "harmless": 2}, ""),
]


@pytest.mark.parametrize(("value", "expected"), CONVERTED)
def test_converted(value: Any, expected: Any) -> None:
    converted = to_cedar(value)
    assert converted == expected
    assert type(converted) is type(expected) or isinstance(value, Kind)


@pytest.mark.parametrize(("value", "path"), REFUSED)
def test_refused_with_its_place(value: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        to_cedar(value)
    assert refusal.value.errors[0].path == path
    assert refusal.value.detail.encode()


@pytest.mark.parametrize(("value", "expected"), CONVERTED)
def test_cedar_reads_what_was_converted(value: Any, expected: Any) -> None:
    seen = bundle(PERMIT, rule("look", "context.input == 17", "forbid"))
    assert judge(seen, request(input=value)).decision == "allow", expected


@pytest.mark.parametrize("value", [value for value, _ in REFUSED])
def test_an_input_that_cannot_be_read_is_a_deny_though_no_policy_looks(value: Any) -> None:
    decision = judge(bundle(PERMIT), request(input=[value]))
    assert decision.decision == "deny"
    assert decision.reason.startswith("The policy cannot read a value in input: ")
    assert decision.rules_triggered == ()


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("context.input.n == 2", {"n": 2.0}),
        ("context.input.n == 2", {"n": 2}),
        ('context.input.n == decimal("1.5")', {"n": 1.5}),
        ('context.input.n.lessThan(decimal("0.1"))', {"n": 0.0999}),
        ("context.input.s == [2, 1]", {"s": [1, 2, 2, 1]}),
        ("context.input.s.isEmpty()", {"s": []}),
        ('context.input.s.contains({"a": 1})', {"s": [{"a": 1}, "x"]}),
        ("!(context.input has gone)", {"gone": None}),
        ("context.input.s == {a: 1}", {"s": {"a": 1, "b": None}}),
        ('context.input.s == "\\0"', {"s": "\0"}),
        ('context.input["a b"].c', {"a b": {"c": True}}),
    ],
)
def test_what_a_policy_sees(condition: str, value: Any) -> None:
    assert judge(bundle(rule("see", condition)), request(input=value)).decision == "allow"


def test_injection_of_an_entity_cedar_alone_would_believe_it() -> None:
    condition = 'context.input.approver == Role::"admin"'
    forged = {"approver": {"__entity": {"type": "Role", "id": "admin"}}}
    answer = cedarpy.is_authorized(
        {
            "principal": {"type": "Actor", "id": "mallory"},
            "action": {"type": "Action", "id": "step.act"},
            "resource": {"type": "Workflow", "id": "w"},
            "context": json.dumps({"input": forged}),
        },
        rule("admin", condition),
        "[]",
    )
    assert answer.allowed
    decision = judge(bundle(rule("admin", condition)), request(input=forged))
    assert decision.decision == "deny"
    assert "'__entity'" in decision.reason


def test_deep_values_up_to_the_limit_and_no_further() -> None:
    """32 levels, as everywhere: two more are the context's own."""
    seen = bundle(PERMIT, rule("look", "context.outputs.a == 1", "forbid"))

    def nested(levels: int) -> Any:
        value: Any = 1
        for i in range(levels):
            value = {"k": value} if i % 2 else [value]
        return value

    assert judge(seen, request(outputs={"a": nested(32)})).decision == "allow"
    assert judge(seen, request(outputs={"a": nested(33)})).decision == "deny"
    assert judge(seen, request(input=nested(100_000))).decision == "deny"


def test_a_value_that_holds_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)
    assert judge(bundle(PERMIT), request(input=knot)).decision == "deny"


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", 0.5, -1.25, MAX, MAX + 1])
)
_keys = st.text(max_size=8) | st.sampled_from(["__entity", "__extn", "__expr", "type", "id", "\0"])
anything = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(anything)
def test_every_value_converts_or_is_refused(value: Any) -> None:
    """And Cedar takes all that converts; what is refused is never allowed."""
    seen = bundle(PERMIT, rule("look", 'context.input == "no such text"', "forbid"))
    decision = judge(seen, request(input={"value": value}))
    readable = True
    try:
        to_cedar({"value": value})
    except InvalidInput:
        readable = False
    assert decision.decision == ("allow" if readable else "deny"), decision.reason


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_fraction_that_converts_is_exactly_that_fraction(number: float) -> None:
    try:
        converted = to_cedar(number)
    except InvalidInput:
        return
    if isinstance(converted, int):
        assert converted == number
    else:
        assert float(converted["__extn"]["arg"]) == number
        assert len(converted["__extn"]["arg"].partition(".")[2]) <= 4
