"""The refunds example at rest: its requests, its policy, and the check of its summary."""

import csv
import importlib
import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation_core.policy import Bundle, check_bundle, judge, load_bundle, read_bundle_folder
from federation_core.spine.actor import Actor
from federation_core.spine.decision import PolicyRequest

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "refunds"
LIMIT = 120


def rows() -> list[dict[str, str]]:
    with (EXAMPLE / "refunds.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of the example."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"examples.refunds.{name}")


def run_of(refund: Any, outcome: str) -> Json:
    codes = {"denied": "policy_denied", "rejected": "gate_rejected"}
    return {
        "status": "completed" if outcome == "settled" else "failed",
        "input_payload": refund.run_input,
        "error_details": {"code": codes[outcome]} if outcome in codes else None,
    }


def test_the_summary_sees_everything_that_can_be_wrong(example: Callable[[str], Any]) -> None:
    batch, summary = example("batch"), example("summary")
    refunds = batch.read_refunds(EXAMPLE / "refunds.csv", LIMIT)
    runs = [run_of(refund, batch.expected(refund)) for refund in refunds]
    paid = [
        {"order_id": r.order_id, "currency": r.currency, "amount": r.amount}
        for r in refunds
        if batch.expected(r) == "settled"
    ]
    first = refunds[0]

    def problems(runs_: list[Json], paid_: list[Json]) -> list[str]:
        found: list[str] = summary.Summary(refunds, runs_, paid_).problems()
        return found

    assert problems(runs, paid) == []
    assert problems(runs[1:], paid) == [f"{first.request_id} is in 0 runs, and should be settled"]
    assert problems([runs[0], *runs], paid) == [
        f"{first.request_id} is in 2 runs, and should be settled"
    ]
    assert problems([run_of(first, "denied"), *runs[1:]], paid) == [
        f"{first.request_id} is denied, and should be settled"
    ]
    assert problems(runs, [paid[0], *paid]) == [f"{first.request_id} (settled) was paid 2 times"]
    assert problems(runs, paid[1:]) == [f"{first.request_id} (settled) was paid 0 times"]
    assert problems(runs, [*paid, paid[0] | {"amount": 1}]) == [
        f"{first.order_id} was paid {first.currency} 1 minor units, which nobody asked for"
    ]


# ------------------------------------------------------------------------ the requests, the policy


def test_the_requests_are_what_the_script_makes() -> None:
    made = runpy.run_path(str(EXAMPLE / "make_requests.py"))["make_requests"]()
    assert [{key: str(value) for key, value in row.items()} for row in made] == rows()
    assert len({row["order_id"] for row in rows()}) == len(rows()) == 1_000
    per_customer = Counter(row["customer_id"] for row in rows())
    assert max(per_customer.values()) >= 10
    assert sum(count == 1 for count in per_customer.values()) >= 150


FACTS: Json = {
    "country": "DE",
    "account": "open",
    "amount": 4_000,
    "paid": 4_000,
    "eur_cents": 4_000,
    "risk": 0,
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(read_bundle_folder(EXAMPLE / "policy"))


def asked(bundle: Bundle, facts: Json) -> tuple[str, tuple[str, ...]]:
    request = PolicyRequest(
        actor=Actor("refund-job", roles=("operator",)),
        tenant="default",
        action="step.gate",
        workflow_id="refund",
        step_id="approve",
        context={"input": facts, "now": 0},
    )
    decision = judge(bundle, request)
    return decision.decision, decision.rules_triggered


@pytest.mark.parametrize(
    ("facts", "decision", "rules"),
    [
        ({}, "allow", ("ordinary",)),
        ({"eur_cents": 49_999, "risk": 54}, "allow", ("ordinary",)),
        ({"eur_cents": 50_000}, "flag", ("large",)),
        ({"eur_cents": 499_999}, "flag", ("large",)),
        ({"eur_cents": 500_000}, "flag", ("very-large",)),
        ({"risk": 55}, "flag", ("unusual",)),
        ({"risk": 100, "eur_cents": 500_000}, "flag", ("unusual", "very-large")),
        ({"country": "KP"}, "deny", ("embargo",)),
        ({"account": "closed"}, "deny", ("account-closed",)),
        ({"amount": 4_001}, "deny", ("more-than-paid",)),
        ({"country": "IR", "eur_cents": 500_000}, "deny", ("embargo", "very-large")),
    ],
)
def test_the_policy_rules(
    bundle: Bundle, facts: Json, decision: str, rules: tuple[str, ...]
) -> None:
    assert asked(bundle, FACTS | facts) == (decision, tuple(f"refunds.{rule}" for rule in rules))


@pytest.mark.parametrize("missing", FACTS)
def test_a_refund_of_which_a_fact_is_missing_is_denied(bundle: Bundle, missing: str) -> None:
    facts = {name: value for name, value in FACTS.items() if name != missing}
    assert asked(bundle, facts)[0] == "deny"


def test_a_misspelt_fact_is_found_when_the_bundle_is_loaded() -> None:
    files = dict(read_bundle_folder(EXAMPLE / "policy"))
    files["refunds.cedar"] = files["refunds.cedar"].replace(b"input.country", b"input.contry")
    assert "contry" in " ".join(check_bundle(files))
