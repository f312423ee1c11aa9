"""What `loose` and `strict` allow: a table that has to be changed with them."""

from typing import Any

import pytest
from tests.policy.policy_helpers import request

from federation_core.policy import Bundle, load_bundle, shipped_bundle
from federation_core.policy import judge as put
from federation_core.policy.vocabulary import ACTIONS
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.decision import Flag

BUNDLES = {name: load_bundle(shipped_bundle(name)) for name in ("loose", "strict")}
LOOSE, STRICT = BUNDLES["loose"], BUNDLES["strict"]
ANYONE = Actor("anyone")

LIFE = {a for a in ACTIONS if a.startswith(("run.", "step."))} | {"route", "gate.resolve"}
RULES = {"workflow.register", "policy.activate"}
AGENTS = {"agent.spawn", "agent.revoke", "agent.terminate"}


def allowed(bundle: Bundle, actor: Actor) -> set[str]:
    return {a for a in ACTIONS if put(bundle, request(a, actor=actor)).decision == "allow"}


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_is_sound_and_annotated(bundle: Bundle) -> None:
    assert bundle.mode == bundle.bundle_id
    assert "schema.cedarschema" in bundle.files
    for policy in bundle.policies:
        assert policy.reason
        assert policy.id.startswith(f"{bundle.bundle_id}.")
        text = bundle.files[policy.file].decode()
        assert f'@id("{policy.id}")' in text
    sources = "".join(d.decode() for n, d in bundle.files.items() if n.endswith(".cedar"))
    assert sources.count("@tier(") == sources.count("@reason(") == len(bundle.policies)


def test_both_have_one_schema() -> None:
    assert LOOSE.files["schema.cedarschema"] == STRICT.files["schema.cedarschema"]


def test_loose_permits_every_action_there_is() -> None:
    for actor in (ANYONE, SYSTEM, Actor("a", kind="agent")):
        assert allowed(LOOSE, actor) == ACTIONS


@pytest.mark.parametrize(
    ("actor", "actions"),
    [
        (ANYONE, LIFE),
        (Actor("a", roles=("finance",)), LIFE),
        (Actor("a", roles=("operator",)), LIFE | RULES | AGENTS),
        (Actor("a", roles=("policy-admin",)), LIFE | RULES),
        (Actor("a", roles=("emergency",)), LIFE | {"gate.bypass"}),
        (SYSTEM, LIFE | RULES | AGENTS),
        (Actor("a", kind="agent"), LIFE - {"gate.resolve"}),
        (Actor("a", kind="agent", roles=("emergency",)), LIFE - {"gate.resolve"}),
        (Actor("operator"), LIFE),
        (Actor("a", roles=("Operator", "operator ")), LIFE),
    ],
)
def test_strict_permits_by_role(actor: Actor, actions: set[str]) -> None:
    assert allowed(STRICT, actor) == actions


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
@pytest.mark.parametrize("action", ["step.actt", "run", "", "STEP.ACT", "gate.override"])
def test_an_unknown_action_is_denied(bundle: Bundle, action: str) -> None:
    operator = Actor("a", roles=("operator", "emergency", "policy-admin"))
    assert put(bundle, request(action, actor=operator)).decision == "deny"


@pytest.mark.parametrize(
    ("given", "loose", "strict"),
    [
        ({}, "allow", "allow"),
        ({"order_id": "o-1", "amount": 5}, "allow", "allow"),
        ({"risk": "low"}, "allow", "allow"),
        ({"risk": "medium"}, "allow", "allow"),
        ({"risk": "none"}, "allow", "allow"),
        ({"risk": None}, "allow", "allow"),
        ({"risk": "high"}, "flag", "flag"),
        ({"risk": "HIGH"}, "allow", "flag"),
        ({"risk": "hihg"}, "allow", "flag"),
        ({"risk": 3}, "allow", "flag"),
        ({"risk": ["low"]}, "allow", "flag"),
        ({"forbidden": True}, "deny", "deny"),
        ({"forbidden": False}, "allow", "allow"),
        ({"forbidden": "true"}, "allow", "deny"),
        ({"risk": "high", "forbidden": True}, "deny", "deny"),
        ({"risk": 0.12345}, "deny", "deny"),
        ([], "deny", "deny"),
        ("text", "deny", "deny"),
        (None, "allow", "allow"),
    ],
)
def test_what_an_act_may_say_of_itself(given: Any, loose: str, strict: str) -> None:
    asked = request("step.act", actor=ANYONE, input=given)
    assert put(LOOSE, asked).decision == loose
    assert put(STRICT, asked).decision == strict


@pytest.mark.parametrize("action", sorted(LIFE - {"step.act"}))
def test_only_an_act_is_flagged_for_its_risk(action: str) -> None:
    for bundle in BUNDLES.values():
        asked = request(action, actor=ANYONE, input={"risk": "high", "forbidden": True})
        assert put(bundle, asked).decision == "allow"


def test_who_must_approve() -> None:
    asked = request("step.act", actor=ANYONE, input={"risk": "high"})
    assert put(LOOSE, asked).flags == (Flag("loose.high-risk", expires_s=86400),)
    assert put(STRICT, asked).flags == (Flag("strict.risk", expires_s=86400),)
    assert put(STRICT, asked).tier == "2"


def test_neither_looks_at_more_than_the_input() -> None:
    """So that nothing need be loaded for a decision."""
    for bundle in BUNDLES.values():
        assert bundle.outputs_seen == frozenset()
        assert not any(map(bundle.sees, ("run_input", "metadata", "tags", "agent")))
