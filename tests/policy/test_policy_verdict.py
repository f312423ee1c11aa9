"""Deny, unless everything says otherwise."""

import itertools
import json
import random
from typing import Any

import cedarpy
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.policy_helpers import ALICE, PERMIT, bundle, request, rule

from federation_core.policy import Bundle, decide, judge, load_bundle, shipped_bundle, tighten
from federation_core.policy.vocabulary import ACTIONS
from federation_core.spine.actor import Actor
from federation_core.spine.canonical import ZERO_HASH, value_hash
from federation_core.spine.decision import Decision, Effect, Flag

FLAG = '@effect("flag")'


def cedar_alone(text: str, **context: Any) -> bool:
    """What Cedar by itself would answer."""
    return cedarpy.is_authorized(
        {
            "principal": {"type": "Actor", "id": "alice"},
            "action": {"type": "Action", "id": "step.act"},
            "resource": {"type": "Step", "id": "refund/act"},
            "context": json.dumps(context),
        },
        text,
        "[]",
    ).allowed


class TestTheTrap:
    """A `forbid` that reads an attribute which is not there."""

    POLICIES = PERMIT + rule("no-large", "context.input.amount > 100", "forbid")

    def test_cedar_alone_skips_it_and_allows(self) -> None:
        assert cedar_alone(self.POLICIES, input={"amount": 101}) is False
        assert cedar_alone(self.POLICIES, input={"amont": 101}) is True

    def test_here_it_denies_and_says_which_policy_erred(self) -> None:
        decision = judge(bundle(self.POLICIES), request(input={"amont": 101}))
        assert decision.decision == "deny"
        assert decision.rules_triggered == ("no-large",)
        assert decision.reason == (
            "Denied because policy 'no-large' could not be evaluated "
            "(record does not have the attribute `amount`)."
        )

    def test_guarded_with_has_it_decides(self) -> None:
        guarded = PERMIT + rule(
            "no-large", "context.input has amount && context.input.amount > 100", "forbid"
        )
        assert judge(bundle(guarded), request(input={"amont": 101})).decision == "allow"
        assert judge(bundle(guarded), request(input={"amount": 101})).decision == "deny"


ERRS = "context.input.nothing == 1"
KINDS = {
    "permit": rule("a-permit", "true"),
    "permit, not met": rule("b-permit", "false"),
    "permit, errs": rule("c-permit", ERRS),
    "flag": rule("d-flag", "true", "forbid", FLAG),
    "flag, not met": rule("e-flag", "false", "forbid", FLAG),
    "flag, errs": rule("f-flag", ERRS, "forbid", FLAG),
    "forbid": rule("g-forbid", "true", "forbid"),
    "forbid, not met": rule("h-forbid", "false", "forbid"),
    "forbid, errs": rule("i-forbid", ERRS, "forbid"),
}


def reference(kinds: set[str]) -> Effect:
    if any(kind.endswith("errs") for kind in kinds) or "permit" not in kinds:
        return "deny"
    if "forbid" in kinds:
        return "deny"
    return "flag" if "flag" in kinds else "allow"


def test_every_combination_of_policies_decides_as_the_rule_says() -> None:
    counts = {"allow": 0, "deny": 0, "flag": 0}
    for n in range(1, len(KINDS) + 1):
        for kinds in itertools.combinations(KINDS, n):
            decision = judge(bundle(*(KINDS[k] for k in kinds)), request(input={}))
            assert decision.decision == reference(set(kinds)), kinds
            counts[decision.decision] += 1
            erring = sorted(KINDS[k][5:].partition('"')[0] for k in kinds if k.endswith("errs"))
            if erring:
                assert list(decision.rules_triggered) == erring
            assert bool(decision.flags) == (decision.decision == "flag")
    assert counts == {"allow": 8, "flag": 8, "deny": 495}


def test_the_order_of_policies_means_nothing() -> None:
    rng = random.Random(7)
    texts = [KINDS[k] for k in ("permit", "flag", "flag, not met", "permit, not met")]
    answers = set()
    for _ in range(10):
        rng.shuffle(texts)
        decision = judge(bundle("\n".join(texts)), request(input={}))
        answers.add((decision.decision, decision.reason, decision.rules_triggered, decision.flags))
    assert len(answers) == 1


def test_a_flag_without_a_permit_is_a_deny() -> None:
    """Approval replaces the objection, never the missing permit."""
    decision = judge(bundle(rule("ask", "true", "forbid", FLAG)), request())
    assert decision.decision == "deny"
    assert decision.flags == ()
    assert decision.rules_triggered == ("ask",)
    assert "not a missing permit" in decision.reason


def test_nothing_applies() -> None:
    decision = judge(
        bundle(rule("never", "false"), manifest="id: b\nversion: '1'\ntier: 2"), request()
    )
    assert (decision.decision, decision.tier, decision.rules_triggered) == ("deny", "2", ())
    assert decision.reason == "No policy permits step.act here."


def test_what_a_flag_asks_for() -> None:
    asks = bundle(
        PERMIT,
        rule("z", "true", "forbid", f'{FLAG} @reason("Late.")'),
        rule(
            "a",
            "true",
            "forbid",
            f'{FLAG} @reason("Large.") @approvers("role:finance, bob") @quorum("2") @expires("1h")',
        ),
        rule("not-met", "false", "forbid", FLAG),
    )
    decision = judge(asks, request())
    assert decision.decision == "flag"
    assert decision.flags == (Flag("a", ("bob", "role:finance"), 2, 3600), Flag("z"))
    assert decision.rules_triggered == ("a", "z")
    assert decision.reason == "Large.; Late."


def test_a_forbid_beside_a_flag_gives_its_own_reason() -> None:
    both = bundle(
        PERMIT,
        rule("ask", "true", "forbid", f'{FLAG} @reason("Ask.")'),
        rule("never", "true", "forbid", '@reason("Never.")'),
    )
    decision = judge(both, request())
    assert (decision.decision, decision.reason) == ("deny", "Never.")
    assert decision.rules_triggered == ("ask", "never")


@pytest.mark.parametrize(
    ("tiers", "highest"),
    [(("2", "10"), "10"), (("9", "0"), "9"), ((None, "0"), "1"), ((None,), "1")],
)
def test_the_tier_is_the_highest_by_number(tiers: tuple[str | None, ...], highest: str) -> None:
    policies = [
        rule(f"r{i}", "true", notes="" if tier is None else f'@tier("{tier}")')
        for i, tier in enumerate(tiers)
    ]
    decision = judge(bundle(*policies, manifest="id: b\nversion: '1'\ntier: 1"), request())
    assert (decision.decision, decision.tier) == ("allow", highest)


def test_a_decision_names_its_bundle() -> None:
    own = bundle(PERMIT)
    decision = judge(own, request())
    assert (decision.policy_id, decision.policy_hash) == ("test", own.bundle_hash)
    assert decision.duration_us == 0


def test_long_reasons_are_cut() -> None:
    policies = (rule(f"r{i}", "true", notes=f'@reason("{"x" * 290}")') for i in range(9))
    assert len(judge(bundle(*policies), request()).reason) == 500


class TestWhatErrorsMayTell:
    """A value of the input has no place in the ledger, where it could not be erased."""

    @pytest.mark.parametrize(
        "condition",
        [
            'decimal(context.input.a) == decimal("1.0")',
            "ip(context.input.a).isLoopback()",
            "datetime(context.input.a) < datetime(context.input.a)",
            "context.input.n * 1000000 > 3",
            "context.input.a > 3",
            "context.input has a && context.input.a.b",
            "context.input.missing",
        ],
    )
    def test_no_value_is_quoted(self, condition: str) -> None:
        decision = judge(
            bundle(PERMIT, rule("r", condition, "forbid")),
            request(input={"a": "SECRET", "n": 9007199254740991}),
        )
        assert decision.decision == "deny"
        assert decision.rules_triggered == ("r",)
        assert "SECRET" not in decision.reason
        assert "9007199254740991" not in decision.reason

    def test_a_key_of_the_input_is_not_quoted_either(self) -> None:
        decision = judge(bundle(PERMIT), request(input={"SECRET": {"SECRET": 0.123456789}}))
        assert decision.decision == "deny"
        assert "SECRET" not in decision.reason

    def test_refusals_name_the_place_alone(self) -> None:
        decision = judge(bundle(PERMIT), request(input={"a": [0.123456789]}))
        assert "a value in input: " in decision.reason
        assert "123456789" not in decision.reason


AWKWARD = [
    'a" || true || "',
    '"; permit (principal, action, resource); //',
    "line\nbreak",
    "\0",
    "",
    "\\",
    "\\u{41}",
    'Actor::"root"',
    "é\u202e🐝",
    "x" * 1_000,
]


@pytest.mark.parametrize("name", AWKWARD)
def test_ids_from_outside_stay_ids(name: str) -> None:
    """Whatever its id is made of, somebody is not root, and has no role of that name."""
    only_root = bundle(
        rule("root", 'principal == Actor::"root" || principal in Role::"admin"'),
    )
    for who in (Actor(name), Actor("a", roles=(name,)), Actor("a", kind=name)):
        decision = judge(only_root, request(actor=who, tenant=name, workflow_id=name))
        assert decision.reason == "No policy permits step.act here."


@pytest.mark.parametrize("name", AWKWARD)
def test_ids_from_outside_are_seen_as_they_are(name: str) -> None:
    """A policy that names exactly this actor, role, step, workflow and tenant is met."""
    quoted = "".join(f"\\u{{{ord(c):x}}}" for c in name)
    seen = bundle(
        f'@id("a") permit (principal == Actor::"{quoted}", action, resource in Tenant::"{quoted}")'
        f' when {{ principal in Role::"{quoted}" && principal.roles.contains("{quoted}")'
        f' && principal.tenant == "{quoted}" && resource in Workflow::"{quoted}" }};'
    )
    actor = Actor(name, roles=(name,))
    for step_id in (None, "act"):
        asked = request(actor=actor, tenant=name, workflow_id=name, step_id=step_id)
        assert judge(seen, asked).decision == "allow"


def test_a_step_cannot_pass_for_a_step_of_another_workflow() -> None:
    """`pay/refund` + `act` is allowed; `pay` + `refund/act` would have the same name."""
    one = bundle('@id("a") permit (principal, action, resource == Step::"pay/refund/act");')
    assert judge(one, request(workflow_id="pay/refund", step_id="act")).decision == "allow"
    decision = judge(one, request(workflow_id="pay", step_id="refund/act"))
    assert decision.decision == "deny"
    assert "slash" in decision.reason


def test_the_resource_is_a_step_or_a_workflow_in_a_tenant() -> None:
    step = bundle(rule("a", 'resource is Step && resource == Step::"refund/act"'))
    assert judge(step, request()).decision == "allow"
    whole = bundle(rule("a", 'resource == Workflow::"refund" && resource in Tenant::"acme"'))
    assert judge(whole, request("run.create", step_id=None)).decision == "allow"
    assert judge(whole, request()).decision == "deny"
    assert judge(whole, request(step_id=None, tenant="other")).decision == "deny"


class TestWhatCannotBeAsked:
    """Fails closed, with a decision rather than an exception."""

    @pytest.mark.parametrize(
        "asked",
        [
            request(actor=Actor("\ud800")),
            request(actor=Actor("a", roles=("\udfff",))),
            request(tenant="\ud800"),
            request("\ud800"),
            request(workflow_id="\ud800"),
            request(actor=Actor("a", roles=["x"])),  # type: ignore[arg-type]
            request(actor=None),  # type: ignore[arg-type]
            request(workflow_id=5),  # type: ignore[arg-type]
            request(now=1.23456),
            request(run_id=object()),
            msgspec.structs.replace(request(), context=None),
        ],
    )
    def test_is_denied(self, asked: Any) -> None:
        for policies in (PERMIT, rule("whole", "context == context")):
            decision = decide(bundle(policies), asked)
            assert decision.decision == "deny"

    def test_even_where_cedar_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = bundle(PERMIT)

        def breaks(*_: object) -> None:
            raise RuntimeError("a secret in the message")

        monkeypatch.setattr(cedarpy, "is_authorized", breaks)
        decision = judge(loaded, request())
        assert decision.decision == "deny"
        assert decision.reason == "Policy could not be asked: RuntimeError."
        assert decision.request_hash != ZERO_HASH

    def test_no_form_no_hash(self) -> None:
        assert judge(bundle(PERMIT), request(tenant="\ud800")).request_hash == ZERO_HASH
        assert judge(bundle(PERMIT), request(input=[1.5, None])).request_hash != ZERO_HASH


class TestRequestHash:
    def test_is_over_what_was_put_to_the_policy(self) -> None:
        asked = request(
            input={"amount": 1.5, "note": None}, run_input={"a": 1}, step_id="act", agent="a1"
        )
        expected = {
            "principal": {
                "id": "alice",
                "kind": "user",
                "roles": ["finance", "ops"],
                "tenant": "acme",
            },
            "action": "step.act",
            "resource": {"type": "Step", "id": "refund/act"},
            "context": {"now": 1, "input": {"amount": 1.5, "note": None}},
        }
        assert judge(bundle(PERMIT), asked).request_hash == value_hash(expected)

    def test_holds_more_where_policies_look_at_more(self) -> None:
        looks = bundle(
            rule(
                "r",
                "context.outputs.score.risk == 1 && context.run_input.a == 1 && context has agent",
            )
        )
        outputs = {"score": {"risk": 1}, "other": {"large": "x"}}
        decision = judge(looks, request(outputs=outputs, run_input={"a": 1}, metadata={"m": 1}))
        assert decision.request_hash == value_hash(
            {
                "principal": {
                    "id": "alice",
                    "kind": "user",
                    "roles": ["finance", "ops"],
                    "tenant": "acme",
                },
                "action": "step.act",
                "resource": {"type": "Step", "id": "refund/act"},
                "context": {
                    "now": 1,
                    "input": {},
                    "run_input": {"a": 1},
                    "outputs": {"score": {"risk": 1}},
                },
            }
        )

    def test_differs_with_every_part(self) -> None:
        asked = [
            request(),
            request("step.decide"),
            request(actor=Actor("bob", "user", ALICE.roles)),
            request(actor=Actor("alice", "agent", ALICE.roles)),
            request(actor=Actor("alice", "user", ("ops",))),
            request(tenant="other"),
            request(workflow_id="other"),
            request(step_id="other"),
            request(step_id=None),
            request(input={"a": 1}),
            request(attempt=2),
            request(run_id="r"),
        ]
        assert len({judge(bundle(PERMIT), r).request_hash for r in asked}) == len(asked)

    def test_the_order_of_roles_and_keys_means_nothing(self) -> None:
        one = request(actor=Actor("a", roles=("x", "y")), input={"a": 1, "b": 2})
        other = request(actor=Actor("a", roles=("y", "x", "y")), input={"b": 2, "a": 1})
        hashes = {judge(bundle(PERMIT), r).request_hash for r in (one, other)}
        assert len(hashes) == 1


def test_what_stands_though_nobody_gave_it() -> None:
    """So that a policy may ask `context.metadata has x` of any request."""
    looks = bundle(
        rule(
            "r",
            "!(context.input has x) && !(context.run_input has x) && !(context.metadata has x)"
            " && !(context.outputs has x) && context.tags.isEmpty() && !(context has agent)",
        )
    )
    assert judge(looks, request()).decision == "allow"
    nothing: dict[str, Any] = dict.fromkeys(
        ("input", "run_input", "metadata", "outputs", "tags", "agent", "step_id")
    )
    plain = msgspec.structs.replace(request(), context={"now": 1} | nothing)
    assert judge(looks, plain).decision == "allow"


def test_slicing_by_action_changes_no_answer() -> None:
    """Each action is put to a set of its own; Cedar, given all policies, says the same."""
    rng = random.Random(3)
    actions = sorted(ACTIONS)
    for _ in range(30):
        policies = []
        for i in range(12):
            scope = rng.choice(
                [
                    "action",
                    f'action == Action::"{rng.choice(actions)}"',
                    f'action in Action::"{rng.choice(actions)}"',
                    "action in ["
                    + ", ".join(f'Action::"{a}"' for a in rng.sample(actions, 6))
                    + "]",
                ]
            )
            head = rng.choice(["permit", "forbid"])
            test = rng.choice(["true", "context.now == 1", "context.now == 2"])
            policies.append(f'@id("r{i}") {head} (principal, {scope}, resource) when {{ {test} }};')
        sliced = bundle(*policies)
        for action in actions:
            whole = cedarpy.is_authorized(
                {
                    "principal": {"type": "Actor", "id": "alice"},
                    "action": {"type": "Action", "id": action},
                    "resource": {"type": "Step", "id": "refund/act"},
                    "context": '{"now": 1}',
                },
                "\n".join(policies),
                "[]",
            )
            decision = judge(sliced, request(action))
            assert (decision.decision == "allow") == whole.allowed
            ids = whole.diagnostics.id_annotations_by_reason.values()
            assert sorted(decision.rules_triggered) == sorted(ids)


def test_an_unknown_action_meets_only_what_is_for_any() -> None:
    scoped = '@id("a") permit (principal, action == Action::"step.act", resource);'
    assert judge(bundle(scoped), request("step.other")).decision == "deny"
    assert judge(bundle(PERMIT), request("step.other")).decision == "allow"


def test_more_than_ten_policies_are_named_right() -> None:
    """Cedar names them policy0 to policy11; as text, policy10 comes before policy2."""
    policies = "\n".join(rule(f"r{i}", f"context.input.n == {i}") for i in range(12))
    loaded = bundle(policies)
    for i in range(12):
        assert judge(loaded, request(input={"n": i})).rules_triggered == (f"r{i}",)
        erring = bundle(policies, rule(f"e{i}", "context.input.gone"))
        assert judge(erring, request(input={"n": i})).rules_triggered == (f"e{i}",)


UNGUARDED = bundle(
    PERMIT,
    rule("amount", "context.input.amount > 100", "forbid"),
    rule("deep", "context.outputs.a.b.c == 2", "forbid"),
    rule("tag", 'context.tags.contains("x")', "forbid"),
)
_few: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1, 2, 3, 101, True, 1.0, 1.5, "x", "1", "missing", [], [1], {}]
)
_some = _few | st.dictionaries(st.sampled_from("abc"), _few) | st.lists(_few, max_size=2)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["amount", "x"]), _some) | _some,
    st.dictionaries(st.just("a"), _some | st.dictionaries(st.just("b"), _some)) | _some,
    _some,
)
def test_an_answer_does_not_depend_on_what_was_asked_before(
    given: Any, outputs: Any, tags: Any
) -> None:
    """Policies that ask nothing first: what is missing must not pass for a value."""
    asked = request(input=given, outputs=outputs, tags=tags)
    assert judge(UNGUARDED, asked) == judge(load_bundle(UNGUARDED.files), asked)


@pytest.mark.parametrize("amount", [0, 1, 2, [1], [0, 1], ["missing", 1]])
def test_a_missing_attribute_is_no_value_that_was_seen_before(amount: Any) -> None:
    one = bundle(PERMIT, rule("no-five", "context.input.amount == 5", "forbid"))
    assert judge(one, request(input={"amount": amount})).decision == "allow"
    assert judge(one, request(input={})).decision == "deny"


def test_decide_measures_with_the_clock_it_is_given() -> None:
    ticks = iter([5_000, 12_345_999])
    assert decide(bundle(PERMIT), request(), clock=lambda: next(ticks)).duration_us == 12_340
    assert decide(bundle(PERMIT), request()).duration_us >= 0


EFFECTS: tuple[Effect, ...] = ("allow", "flag", "deny")


def answer(effect: Effect, policy_id: str, *flags: Flag) -> Decision:
    return Decision(effect, f"{policy_id} says", policy_id, "0" * 64, "1", (), ZERO_HASH, 0, flags)


@pytest.mark.parametrize(("own", "stricter"), list(itertools.product(EFFECTS, EFFECTS)))
def test_tightening_takes_the_more_restrictive(own: Effect, stricter: Effect) -> None:
    first = answer(own, "own", *([Flag("a")] if own == "flag" else []))
    second = answer(stricter, "strict", *([Flag("b")] if stricter == "flag" else []))
    joined = tighten(first, second)
    assert EFFECTS.index(joined.decision) == max(EFFECTS.index(own), EFFECTS.index(stricter))
    own_wins = EFFECTS.index(own) >= EFFECTS.index(stricter)
    assert (joined.policy_id, joined.tightened) == (
        ("own", second) if own_wins else ("strict", first)
    )
    expected = {*first.flags, *second.flags} if joined.decision == "flag" else set()
    assert set(joined.flags) == expected


def test_tightening_keeps_what_each_flag_asks_for() -> None:
    """One name, two requirements: people must satisfy both; the very same one counts once."""
    mild, hard, same = Flag("a"), Flag("a", ("role:cfo",), 2, 60), Flag("b")
    joined = tighten(answer("flag", "own", same, mild), answer("flag", "strict", hard, same))
    assert joined.flags == (mild, hard, same)


STRICT = load_bundle(shipped_bundle("strict"))


@settings(deadline=None)
@given(
    st.sampled_from(sorted(ACTIONS)) | st.text(),
    st.builds(
        Actor,
        st.text(),
        st.sampled_from(["service", "agent", "user"]) | st.text(),
        st.lists(st.text()).map(tuple),
    ),
    st.none() | st.text(),
    st.dictionaries(st.text(), st.none() | st.integers() | st.floats() | st.text()),
)
def test_deciding_never_raises(
    action: str, actor: Actor, step_id: str | None, given: dict[str, Any]
) -> None:
    asked = request(action, actor=actor, step_id=step_id, input=given)
    for loaded in (STRICT, _LOOKS):
        decision = judge(loaded, asked)
        assert decision.decision in EFFECTS
        assert decision.reason
        assert action in ACTIONS or decision.decision == "deny"


_LOOKS: Bundle = bundle(
    '@id("a") permit (principal, action == Action::"step.act", resource)'
    ' when { context.input.a > 1 && context.metadata.b == "c" };'
)
