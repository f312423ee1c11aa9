"""Writes `refunds.csv`: a thousand refund requests, the same ones each time.

    python examples/refunds/make_requests.py

Amounts are whole minor units of their currency (cents, öre, grosze; yen have none). `orders` and
`refunds` are what the shop knew of the customer before this batch. Nobody in it exists.
"""

import csv
import math
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

SEED = 20261129
REQUESTS = 1_000
CUSTOMERS = 640
FIRST_DAY, DAYS = date(2026, 11, 2), 14

COLUMNS = [
    "request_id",
    "order_id",
    "customer_id",
    "country",
    "currency",
    "paid",
    "amount",
    "reason",
    "channel",
    "ordered_on",
    "requested_on",
    "customer_since",
    "account",
    "orders",
    "refunds",
]

# Where customers live, how many of a thousand, and what they pay in.
COUNTRIES = (
    *(("DE", 185, "EUR"), ("FR", 105, "EUR"), ("NL", 70, "EUR"), ("ES", 60, "EUR")),
    *(("IT", 55, "EUR"), ("AT", 35, "EUR"), ("BE", 30, "EUR"), ("IE", 20, "EUR")),
    *(("FI", 20, "EUR"), ("PT", 15, "EUR"), ("GB", 130, "GBP"), ("US", 105, "USD")),
    *(("PL", 60, "PLN"), ("SE", 45, "SEK"), ("CH", 40, "CHF"), ("JP", 25, "JPY")),
)
EMBARGOED = ("IR", "KP", "SY")
UNITS_PER_EURO = {
    "EUR": 1.0,
    "GBP": 0.87,
    "USD": 1.09,
    "PLN": 4.3,
    "SEK": 11.4,
    "CHF": 0.94,
    "JPY": 164,
}
REASONS = (
    *(("damaged", 24), ("not_as_described", 19), ("not_received", 17), ("changed_mind", 22)),
    *(("wrong_item", 11), ("cancelled_event", 5), ("duplicate_charge", 2)),
)
CHANNELS = (("web", 58), ("app", 33), ("phone", 9))


class Customer(NamedTuple):
    customer_id: str
    country: str
    currency: str
    since: date
    account: str
    orders: int
    refunds: int
    is_business: bool


def make_customer(number: int, rng: Random) -> Customer:
    country, _, currency = rng.choices(COUNTRIES, [weight for _, weight, _ in COUNTRIES])[0]
    if number % 80 == 17:
        country, currency = EMBARGOED[number // 80 % 3], "EUR"
    age = min(3_600, 4 + int(rng.lognormvariate(math.log(420), 1.2)))
    orders = 1 + int(rng.lognormvariate(math.log(1 + age / 60), 0.7))
    refunds = sum(rng.random() < 0.07 for _ in range(orders))
    if number % 11 == 5:  # those who send nearly everything back
        orders = max(orders, 8)
        refunds = math.ceil(orders * rng.uniform(0.55, 0.9))
    return Customer(
        customer_id=f"C-{10_000 + number * 7}",
        country=country,
        currency=currency,
        since=FIRST_DAY - timedelta(days=age),
        account="closed" if number % 90 == 44 else "open",
        orders=orders,
        refunds=refunds,
        is_business=number % 25 == 3,
    )


def price(currency: str, rng: Random, *, is_business: bool) -> int:
    """A price as shops write them, in minor units: log-normal, most around 50 euros."""
    middle, spread = (2_400, 0.9) if is_business else (52, 1.0)
    units = max(3.0, rng.lognormvariate(math.log(middle), spread)) * UNITS_PER_EURO[currency]
    if currency == "JPY":
        return round(units / 10) * 10
    if currency == "SEK":
        return round(units) * 100
    return int(units) * 100 + rng.choices((99, 0, 50, 95), (60, 20, 10, 10))[0]


def refunded(paid: int, currency: str, number: int, rng: Random) -> int:
    """Most ask for all of it, others for a part; a few for more than they paid."""
    if number % 167 == 60:
        return paid * 3 // 2
    if rng.random() < 0.72:
        return paid
    part = int(paid * rng.uniform(0.15, 0.85))
    step = {"JPY": 10, "SEK": 100}.get(currency, 5)
    return max(step, part // step * step)


def make_request(number: int, customer: Customer, rng: Random) -> dict[str, object]:
    requested = FIRST_DAY + timedelta(days=number * DAYS // REQUESTS)
    waited = min((requested - customer.since).days, int(rng.lognormvariate(math.log(12), 1.1)))
    paid = price(customer.currency, rng, is_business=customer.is_business)
    return {
        "request_id": f"R-{number + 1:04}",
        "order_id": f"O-{700_000 + number * 13 + rng.randrange(13)}",
        "customer_id": customer.customer_id,
        "country": customer.country,
        "currency": customer.currency,
        "paid": paid,
        "amount": refunded(paid, customer.currency, number, rng),
        "reason": rng.choices([r for r, _ in REASONS], [w for _, w in REASONS])[0],
        "channel": rng.choices([c for c, _ in CHANNELS], [w for _, w in CHANNELS])[0],
        "ordered_on": requested - timedelta(days=waited),
        "requested_on": requested,
        "customer_since": customer.since,
        "account": customer.account,
        "orders": customer.orders,
        "refunds": customer.refunds,
    }


def make_requests(seed: int = SEED) -> list[dict[str, object]]:
    """In the order they came in. Few customers ask often, most ask once (Zipf's law)."""
    rng = Random(seed)
    customers = [make_customer(number, rng) for number in range(CUSTOMERS)]
    rng.shuffle(customers)
    weights = list(accumulate(1 / (rank + 12) ** 0.8 for rank in range(CUSTOMERS)))
    return [
        make_request(number, rng.choices(customers, cum_weights=weights)[0], rng)
        for number in range(REQUESTS)
    ]


def main() -> None:
    path = Path(__file__).with_name("refunds.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(make_requests())
    print(f"{REQUESTS} requests in {path}")


if __name__ == "__main__":
    main()
