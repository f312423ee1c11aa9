"""What policies look at is found, or everything counts: never too little."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.policy_helpers import PERMIT, bundle, request, rule

from federation_core.policy import judge
from federation_core.policy.vocabulary import CONTEXT


@pytest.mark.parametrize(
    ("condition", "attributes", "outputs"),
    [
        ("true", set(), set()),
        ("context.metadata.a == 1", {"metadata"}, set()),
        ('context["metadata"]["a"] == 1', {"metadata"}, set()),
        ("context has metadata", {"metadata"}, set()),
        ("context has metadata.a.b", {"metadata"}, set()),
        ('context.tags.contains("context")', {"tags"}, set()),
        ("context.outputs.a.b == 1", {"outputs"}, {"a"}),
        ('context.outputs["a b"] == 1', {"outputs"}, {"a b"}),
        ('context.outputs[""] == 1', {"outputs"}, {""}),
        ("context.outputs has a", {"outputs"}, {"a"}),
        ("context has outputs.a.b", {"outputs"}, {"a"}),
        ("context has outputs", {"outputs"}, set()),
        ("context.outputs.a == context.outputs.b", {"outputs"}, {"a", "b"}),
        ("context.outputs == {}", {"outputs"}, None),
        ("(if true then context.outputs else {}) has a", {"outputs"}, None),
        ("{x: context.outputs}.x.a == 1", {"outputs"}, None),
        ("[context.outputs].isEmpty()", {"outputs"}, None),
        ("context == {}", None, None),
        ("(if true then context else context).input == 1", None, None),
        ("[context].contains(context)", None, None),
        ('{Var: 1} has Var && principal.kind == "context"', set(), set()),
        ('{".": 1, "has": 2}["has"] == 2', set(), set()),
    ],
)
def test_what_is_looked_at(
    condition: str, attributes: set[str] | None, outputs: set[str] | None
) -> None:
    for clause in ("when", "unless"):
        text = rule("r", condition).replace("when", clause)
        loaded = bundle(PERMIT, text)
        assert {n for n in CONTEXT if loaded.sees(n)} == (attributes or set()) or attributes is None
        assert all(map(loaded.sees, CONTEXT)) == (attributes is None)
        assert loaded.outputs_seen == (None if outputs is None else frozenset(outputs))


def test_policies_look_together() -> None:
    loaded = bundle(
        rule("a", "context.outputs.x.n == 1"),
        rule("b", "context.outputs.y.n == context.run_input.n"),
    )
    assert loaded.outputs_seen == frozenset({"x", "y"})
    assert loaded.sees("run_input")
    assert not loaded.sees("metadata")


def test_what_no_policy_looks_at_need_not_be_readable() -> None:
    """Except the input."""
    unreadable = [None, 0.123456]
    looks = bundle(PERMIT, rule("r", "context.outputs.a == 1 || context.metadata has a", "forbid"))
    fine: dict[str, Any] = {"outputs": {"b": unreadable}, "run_input": unreadable, "tags": [None]}
    assert judge(looks, request(**fine)).decision == "deny", "outputs.a is not there"
    assert (
        judge(looks, request(**fine | {"outputs": {"a": 2, "b": unreadable}})).decision == "allow"
    )
    assert judge(looks, request(outputs={"a": unreadable})).decision == "deny"
    assert judge(looks, request(outputs={"a": 2}, metadata={"x": unreadable})).decision == "deny"
    assert judge(looks, request(outputs={"a": 2}, input={"x": unreadable})).decision == "deny"


_terms = st.sampled_from(
    [
        "context.metadata has a",
        "context.run_input has a",
        "context.outputs has a",
        "context.outputs has b",
        'context.tags.contains("a")',
        "context has agent",
        "context.input has a",
        "context.now == 1",
        "context has run_id",
        "context == context",
    ]
)


@settings(deadline=None)
@given(st.lists(_terms, min_size=1, max_size=4), st.randoms())
def test_leaving_out_what_is_not_looked_at_changes_no_answer(terms: list[str], rng: Any) -> None:
    """Compared with a bundle that looks at everything, and so is given everything."""
    text = rule("r", rng.choice([" && ", " || "]).join(terms))
    frugal, whole = bundle(text), bundle(text, rule("all", "context == {} && false", "forbid"))
    everything: dict[str, Any] = {
        "metadata": {"a": 1},
        "run_input": {"b": 1},
        "outputs": {"a": 1, "c": 2},
        "tags": ["a"],
        "input": {"a": 1},
        "run_id": "r",
        "agent": "x",
    }
    context = {name: v for name, v in everything.items() if rng.random() < 0.5}
    one, other = judge(frugal, request(**context)), judge(whole, request(**context))
    assert (one.decision, one.rules_triggered) == (other.decision, other.rules_triggered)
