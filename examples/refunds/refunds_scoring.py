"""What a refund is worth in euros, and what is unusual about it: the step `score`. Pure."""

from datetime import date
from typing import Any

__all__ = ["EURO_RATE", "euro_cents", "score"]

EURO_RATE = {
    "EUR": 10_000,
    "GBP": 11_500,
    "USD": 9_200,
    "PLN": 2_330,
    "SEK": 880,
    "CHF": 10_600,
    "JPY": 61,
}
"""Ten-thousandths of a euro for one unit of each currency, fixed for the batch."""

_MINOR_UNITS = {"JPY": 1}


def euro_cents(amount: int, currency: str) -> int:
    """Euro cents, rounded down, for `amount` minor units of `currency`."""
    return amount * EURO_RATE[currency] * 100 // (10_000 * _MINOR_UNITS.get(currency, 100))


def score(
    request: dict[str, Any], order: dict[str, Any], customer: dict[str, Any]
) -> dict[str, Any]:
    """`{"eur_cents", "risk", "signs"}`: `risk` is 0 to 100, the sum of what its signs weigh."""
    asked_on = date.fromisoformat(request["requested_on"])
    known_days = (asked_on - date.fromisoformat(customer["since"])).days
    waited_days = (asked_on - date.fromisoformat(order["ordered_on"])).days
    found = (
        (40, "sends_most_back", 2 * customer["refunds"] > customer["orders"] >= 5),
        (25, "new_customer", known_days < 30),
        (20, "says_not_received", request["reason"] == "not_received"),
        (20, "long_after_order", waited_days > 60),
        (15, "by_phone", order["channel"] == "phone"),
    )
    signs = [(weight, name) for weight, name, applies in found if applies]
    return {
        "eur_cents": euro_cents(request["amount"], request["currency"]),
        "risk": min(100, sum(weight for weight, _ in signs)),
        "signs": [name for _, name in signs],
    }
