"""The requests of `refunds.csv`, and what must become of each by the rules on paper.

The rules stand here a second time, in Python, so that the job is checked against something that is
neither the policy nor the workflow.
"""

import csv
from pathlib import Path
from typing import Any, Literal

import msgspec

from .refunds_scoring import score

__all__ = ["Outcome", "Refund", "expected", "read_refunds"]

Outcome = Literal["settled", "rejected", "denied"]


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `paid` and `amount` are minor units of `currency`."""

    request_id: str
    order_id: str
    customer_id: str
    country: str
    currency: str
    paid: int
    amount: int
    reason: str
    channel: str
    ordered_on: str
    requested_on: str
    customer_since: str
    account: str
    orders: int
    refunds: int

    @property
    def run_input(self) -> dict[str, Any]:
        """What the workflow is started with."""
        wanted = ("request_id", "order_id", "customer_id", "currency", "amount", "reason")
        return {name: getattr(self, name) for name in (*wanted, "requested_on")}


def read_refunds(path: Path, limit: int | None = None) -> list[Refund]:
    """The first `limit` rows."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    return msgspec.convert(rows, list[Refund], strict=False)


def expected(refund: Refund) -> Outcome:
    """Denied by policy, rejected by a person, or paid."""
    is_forbidden = (
        refund.country in ("IR", "KP", "SY")
        or refund.account != "open"
        or refund.amount > refund.paid
    )
    if is_forbidden:
        return "denied"
    return "rejected" if _is_unusual(refund) and refund.reason == "not_received" else "settled"


def _is_unusual(refund: Refund) -> bool:
    facts = msgspec.to_builtins(refund)
    risk: int = score(facts, facts, facts | {"since": refund.customer_since})["risk"]
    return risk >= 55
