"""What became of the refunds, and whether that is what had to become of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from rich import box
from rich.table import Table

from .batch import Refund, expected

__all__ = ["Summary"]

Json = dict[str, Any]
Totals = dict[str, dict[str, int]]

OUTCOMES: Final = ("settled", "rejected", "denied")
_OUTCOME_OF: Final = {"policy_denied": "denied", "gate_rejected": "rejected"}
_WITHOUT_MINOR_UNIT: Final = frozenset({"JPY"})
_SHOWN: Final = 5


class Summary:
    """`runs` are the runs of the workflow, `settlements` what the payment service has paid."""

    def __init__(
        self, refunds: Sequence[Refund], runs: Iterable[Json], settlements: Iterable[Json]
    ) -> None:
        self.refunds = refunds
        self._runs: dict[str, list[Json]] = defaultdict(list)
        for run in runs:
            self._runs[run["input_payload"]["request_id"]].append(run)
        self._paid = Counter((s["order_id"], s["currency"], s["amount"]) for s in settlements)

    def outcome(self, refund: Refund) -> str:
        """As the refund's run tells it."""
        runs = self._runs[refund.request_id]
        if len(runs) != 1:
            return f"in {len(runs)} runs"
        [run] = runs
        if run["status"] == "failed":
            return _OUTCOME_OF.get(run["error_details"]["code"], "failed")
        return "settled" if run["status"] == "completed" else str(run["status"])

    def totals(self, outcome: str | None = None) -> Totals:
        """Count and amount (minor units) by currency; of every refund where no outcome is given."""
        chosen = [r for r in self.refunds if outcome in (None, self.outcome(r))]
        return {
            currency: {"count": len(amounts), "amount": sum(amounts)}
            for currency in sorted({refund.currency for refund in self.refunds})
            if (amounts := [r.amount for r in chosen if r.currency == currency])
        }

    def problems(self) -> list[str]:
        """Everything that is not as the rules, and the payment service, say it must be."""
        return list(self._wrong())

    def _wrong(self) -> Iterator[str]:
        for refund in self.refunds:
            outcome, wanted = self.outcome(refund), expected(refund)
            if outcome != wanted:
                yield f"{refund.request_id} is {outcome}, and should be {wanted}"
            paid = self._paid[refund.order_id, refund.currency, refund.amount]
            if paid != (wanted == "settled"):
                yield f"{refund.request_id} ({wanted}) was paid {paid} times"
        orders = {refund.order_id for refund in self.refunds}
        strange = {key for key in self._paid if key[0] in orders} - {
            (r.order_id, r.currency, r.amount) for r in self.refunds
        }
        for order_id, currency, amount in sorted(strange):
            yield f"{order_id} was paid {currency} {amount} minor units, which nobody asked for"

    def as_json(self) -> Json:
        return {
            "requests": len(self.refunds),
            "totals": {outcome: self.totals(outcome) for outcome in OUTCOMES},
            "asked": self.totals(),
            "problems": self.problems(),
        }

    def table(self) -> Table:
        """Count and amount by currency and outcome."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("")
        for name in (*OUTCOMES, "asked for"):
            table.add_column("", justify="right", no_wrap=True)
            table.add_column(name, justify="right", no_wrap=True)
        columns = [*(self.totals(outcome) for outcome in OUTCOMES), self.totals()]
        for currency in columns[-1]:
            cells = (_cells(column.get(currency), currency) for column in columns)
            table.add_row(currency, *chain.from_iterable(cells))
        counts = (sum(total["count"] for total in column.values()) for column in columns)
        table.add_row("all", *chain.from_iterable((str(count), "") for count in counts))
        return table

    def verdict(self) -> str:
        problems = self.problems()
        if not problems:
            return (
                "Each refund has one run and the end that the rules ask for; the service paid "
                "what was settled, each once."
            )
        more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return f"{len(problems)} things are wrong:\n" + "\n".join(problems[:_SHOWN]) + more


def _cells(total: dict[str, int] | None, currency: str) -> tuple[str, str]:
    """How many, and how much."""
    if total is None:
        return "", ""
    amount = total["amount"]
    units = f"{amount:,}" if currency in _WITHOUT_MINOR_UNIT else f"{amount / 100:,.2f}"
    return str(total["count"]), units
