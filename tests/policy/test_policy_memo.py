"""A remembered answer is the answer: the memo changes how long a decision takes, nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.policy import Bundle, judge, load_bundle
from federation_core.spine.actor import Actor
from federation_core.spine.decision import PolicyRequest

CEDAR = """
@id("permit") permit (principal, action, resource)
  unless { context.input has blocked && context.input.blocked == true };
@id("large") @effect("flag") forbid (principal, action == Action::"step.act", resource)
  when { context.input has amount && context.input.amount > 100 };
@id("alice") forbid (principal == Actor::"alice", action == Action::"step.decide", resource);
@id("deep") forbid (principal, action, resource)
  when { context.outputs has a && context.outputs.a has b && context.outputs.a.b == "no" };
@id("role") @effect("flag") forbid (principal in Role::"intern", action, resource);
"""
FILES = {"bundle.yaml": b"id: memo\nversion: 1.0.0\n", "rules.cedar": CEDAR.encode()}
SHARED = load_bundle(FILES)

SMALL: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 100, 101, 1.0, 101.5, "1", "no", "", [], {}]
)
INPUTS = st.dictionaries(st.sampled_from(["blocked", "amount", "other"]), SMALL)
OUTPUTS = st.dictionaries(st.sampled_from(["a", "z"]), SMALL | st.dictionaries(st.just("b"), SMALL))
ACTORS = st.builds(
    Actor,
    st.sampled_from(["alice", "bob"]),
    roles=st.sampled_from([(), ("intern",), ("intern", "staff"), ("staff", "intern")]),
)


def request(actor: Actor, action: str, given_: Any, outputs: Any, run_id: str) -> PolicyRequest:
    context = {"run_id": run_id, "now": 1, "tags": [], "input": given_, "outputs": outputs}
    return PolicyRequest(actor, "t", action, "w", "s", context)


REQUESTS = st.builds(
    request,
    ACTORS,
    st.sampled_from(["step.act", "step.decide", "run.start"]),
    INPUTS,
    OUTPUTS,
    st.sampled_from(["r1", "r2"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_remembered_answers_equal_those_of_a_fresh_bundle(requests: list[PolicyRequest]) -> None:
    for asked in requests:
        assert judge(SHARED, asked) == judge(load_bundle(FILES), asked)


@pytest.mark.parametrize(("first", "second"), [(1, True), (0, False), (100, 101), ("1", 1)])
def test_values_that_python_holds_equal_are_kept_apart(first: Any, second: Any) -> None:
    bundle = load_bundle(FILES)
    for value in (first, second):
        asked = request(Actor("bob"), "step.act", {"amount": value}, {}, "r1")
        assert judge(bundle, asked) == judge(load_bundle(FILES), asked)


def test_the_same_question_has_the_same_answer_and_its_own_request_hash() -> None:
    bundle = load_bundle(FILES)
    answers = [
        judge(bundle, request(Actor("bob"), "step.act", {"amount": 5}, {}, run_id))
        for run_id in ("r1", "r2")
    ]
    assert answers[0].request_hash != answers[1].request_hash
    hashes = {"request_hash": ""}
    assert msgspec.structs.replace(answers[0], **hashes) == msgspec.structs.replace(
        answers[1], **hashes
    )


def test_a_whole_context_that_is_read_is_never_remembered() -> None:
    files = FILES | {
        "rules.cedar": b'@id("any") permit (principal, action, resource) when '
        b"{ context == context };"
    }
    bundle: Bundle = load_bundle(files)
    asked = request(Actor("bob"), "step.act", {}, {}, "r1")
    assert bundle.slices.of("step.act").memo.key(asked, asked.context) is None
