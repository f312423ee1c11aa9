"""The three layers of a run as tables, and the chain of its receipts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .checks.receipts import receipted, workflow_receipt
from .hashing import ZERO, digest
from .markdown import clock, code, short, table
from .result import Trial
from .transcript import Json, Transcript

__all__ = ["layers"]

Rows = tuple[Sequence[str], Iterable[Sequence[Any]], str]
"""Head, rows, and a line below them."""


def layers(trials: Sequence[Trial]) -> Iterator[str]:
    """The sections of the report about every test that came to its end."""
    for title, what, shown in _SECTIONS:
        yield f"## {title}"
        yield ""
        yield what
        yield ""
        for trial in trials:
            if trial.transcript is not None:
                yield f"### {trial.case.letter} {trial.case.name}"
                yield ""
                head, rows, below = shown(trial.transcript)
                yield from table(head, rows)
                yield from (below, "") if below else ()


def _steps(t: Transcript) -> Rows:
    head = ("step", "type", "status", "started", "ended", "ms", "input", "output", "receipt")
    rows = [
        (
            step["step_id"],
            step["step_type"],
            step["status"],
            clock(step["started_at"]),
            clock(step["ended_at"]),
            "–" if step["duration_ms"] is None else step["duration_ms"],
            short(step["input_hash"]),
            short(step["output_hash"]),
            short(step["receipt_hash"]),
        )
        for step in t.steps
    ]
    effects = [
        f"effect {e['effect']} taken at {clock(e['at'])} with the key `{e['idempotency_key']}`"
        for e in t.effects
    ]
    outside = f"Outside: {'; '.join(effects) or 'nothing, the service took no request'}."
    went_in, came_out = (code(t.run[name]) for name in ("input_payload", "output_payload"))
    if t.run["output_payload"] is None:
        came_out = f"nothing; the run says why: {code(t.run['error_details'])}"
    return head, rows, f"{outside}\n\nInto the run went {went_in}; out came {came_out}."


def _decisions(t: Transcript) -> Rows:
    head = ("#", "action", "step", "decision", "tier", "rules", "reason", "µs")
    entries = t.of_type("FC-POLICY-001")
    rows = [
        (
            entry["seq"],
            entry["details"]["action"],
            entry["details"].get("step_id", ""),
            f"**{entry['details']['decision']}**",
            entry["details"]["tier"],
            ", ".join(entry["details"].get("rules_triggered", [])),
            entry["details"]["reason"] + _cover(entry),
            entry["details"]["duration_us"],
        )
        for entry in entries
    ]
    bundles = {(e["details"]["policy_id"], e["details"]["policy_hash"]) for e in entries}
    told = ", ".join(f"`{name}` with the hash `{hashed}`" for name, hashed in sorted(bundles))
    return head, rows, f"All decided by policy {told}."


def _cover(entry: Json) -> str:
    gates = entry["details"].get("covered_by")
    return (
        f" Flagged still, and covered by the approval of gate {', '.join(gates)}." if gates else ""
    )


def _trail(t: Transcript) -> Rows:
    head = ("#", "time", "event", "actor", "what", "hash")
    rows = [
        (
            entry["seq"],
            clock(entry["timestamp"]),
            entry["event_type"],
            entry["actor_id"] + (f" via {entry['via']}" if entry["via"] else ""),
            entry["message"],
            short(entry["hash"]),
        )
        for entry in t.logs
    ]
    return head, rows, ""


def _receipts(t: Transcript) -> Rows:
    head = ("receipt of", "status", "links to", "hash made anew", "agrees")
    rows: list[Sequence[str]] = []
    before = ZERO
    for entry in receipted(t):
        details, receipt = entry["details"], entry["details"]["receipt"]
        made = digest(receipt)
        gate = entry["event_type"].startswith("FC-GATE")
        agrees = made == details["receipt_hash"] and receipt["prev_receipt_hash"] == before
        rows.append(
            (
                f"gate {details['gate_name']} by {receipt['actor_id']}"
                if gate
                else details["step_id"],
                receipt["status"],
                short(receipt["prev_receipt_hash"]),
                f"`{made}`",
                "yes" if agrees else "**NO**",
            )
        )
        before = details["receipt_hash"]
    whole = workflow_receipt(t)
    made, told = digest(whole), t.run["workflow_receipt_hash"]
    below = (
        f"Workflow receipt over {whole['event_count']} events and {len(whole['receipt_chain'])} "
        f"receipts, outcome {whole['outcome']}: `{made}` made anew, "
        f"{'the same as' if made == told else f'NOT `{told}`,'} the run told when it ended."
    )
    return head, rows, below


_ABOUT_STEPS = """\
What ran, when, and the hashes of what went in and came out. What the server did in one turn has one
time. `–`: it never started."""
_ABOUT_DECISIONS = """\
Every question that was put to policy, and the answer, before anything was done. Rows are numbered
as in the audit trail."""
_ABOUT_TRAIL = """\
Every event of the run, in order, with who caused it: `actor via engine` is the server at work on
behalf of whoever started the run. Each event's hash covers the one before it."""
_ABOUT_RECEIPTS = """\
Each receipt links to the one before it, and the workflow receipt covers them all."""

_SECTIONS: tuple[tuple[str, str, Callable[[Transcript], Rows]], ...] = (
    ("Layer 1: the steps", _ABOUT_STEPS, _steps),
    ("Layer 2: the policy decisions", _ABOUT_DECISIONS, _decisions),
    ("Layer 3: the audit trail", _ABOUT_TRAIL, _trail),
    ("The chain of receipts", _ABOUT_RECEIPTS, _receipts),
)
