"""The page's examples load, and do what the page says of them."""

import re
from pathlib import Path

import pytest
from tests.policy.policy_helpers import request

from federation_core.policy import Bundle, check_bundle, judge, load_bundle
from federation_core.policy.vocabulary import ACTIONS, CONTEXT, ENTITY_TYPES
from federation_core.spine.actor import Actor
from federation_core.spine.decision import Flag

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "writing-policies.md").read_text("utf-8")
SCHEMA = (
    Path(__file__).resolve().parents[2]
    / "src/federation_core/policy/bundles/strict/schema.cedarschema"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def files(block: int) -> dict[str, bytes]:
    return {"bundle.yaml": blocks("yaml")[0].encode(), "a.cedar": blocks("cedar")[block].encode()}


REFUNDS, TRAP, ASKED = range(3)


@pytest.fixture
def refunds() -> Bundle:
    return load_bundle(files(REFUNDS))


def test_every_example_loads() -> None:
    assert len(blocks("cedar")) == 3
    assert len(blocks("yaml")) == 1
    for block in range(3):
        assert check_bundle(files(block)) == []


def test_the_refunds(refunds: Bundle) -> None:
    def act(amount: int) -> str:
        return judge(refunds, request(input={"amount": amount})).decision

    assert (refunds.bundle_id, refunds.mode, refunds.tier) == ("refunds", "strict", "1")
    assert [act(50000), act(50001), act(1000000), act(1000001)] == ["allow", "flag", "flag", "deny"]
    flagged = judge(refunds, request(input={"amount": 50001}))
    assert flagged.flags == (Flag("refunds.large", ("role:finance",), 2, 86400),)
    assert judge(refunds, request(workflow_id="other")).decision == "deny"
    register = request("workflow.register", actor=Actor("o", roles=("operator",)), step_id=None)
    assert judge(refunds, register).decision == "allow"
    assert judge(refunds, request("workflow.register", step_id=None)).decision == "deny"


def test_the_trap_is_a_deny_and_asking_first_decides() -> None:
    trap, asked = load_bundle(files(TRAP)), load_bundle(files(ASKED))
    for given in ({}, {"amount": "60000"}):
        decision = judge(trap, request(input=given))
        assert decision.decision == "deny"
        assert "'trap.large' could not be evaluated" in decision.reason
    missing = judge(asked, request(input={}))
    assert (missing.decision, missing.reason) == ("deny", "A refund must say its amount.")
    assert judge(asked, request(input={}, workflow_id="other")).decision == "allow"
    assert judge(asked, request(input={"amount": 5})).decision == "allow"


def test_the_trap_does_not_pass_the_schema() -> None:
    text = SCHEMA.read_text("utf-8").replace("risk?: String,", "risk?: String,\n  amount?: Long,")
    schema = {"schema.cedarschema": text.encode()}
    assert check_bundle(files(REFUNDS) | schema) == []
    assert check_bundle(files(ASKED) | schema) == []
    problems = check_bundle(files(TRAP) | schema)
    assert problems
    assert all('@id("trap.large")' in p for p in problems)


def test_every_name_is_on_the_page() -> None:
    for name in ACTIONS | CONTEXT:
        assert f"`{name}`" in PAGE, name
    for name in ENTITY_TYPES - {"Action"}:
        assert f'`{name}::"' in PAGE, name
