"""A run on a terminal, in three layers: its steps, what policy decided, and the audit trail."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from .fan_outs import item_of, without_completed
from .tables import clock, colored, facts, fixed, folded, moment, short, table
from .text import clean

__all__ = ["decisions", "gates", "header", "steps", "told", "trail"]

Json = dict[str, Any]
Parts = list[RenderableType]
_MAX_VALUE = 1_000
"""Characters of an input or output that are shown; `--json` has it whole."""


def header(run: Json, held: Json | None = None) -> Parts:
    """Who, what, when, and how it stands. `held` is the log entry of the pause it is in, where an
    operator asked for that."""
    error = run["error_details"]
    told = error.get("message") if isinstance(error, dict) else error
    return [
        facts(
            [
                ("Run", run["run_id"]),
                ("Status", colored(run["status"])),
                ("Held by", held and _held(held)),
                ("Workflow", f"{run['workflow_id']} {run['workflow_version']}, {run['execution']}"),
                ("Actor", run["actor_id"]),
                ("Parent", _parent(run)),
                ("Restarted from", run["restarted_from"]),
                ("Started", moment(run["created_at"])),
                ("Ended", moment(run["completed_at"])),
                ("Input", _json(run["input_payload"])),
                ("Output", _json(run["output_payload"])),
                ("Error", told if isinstance(told, str) else _json(told)),
                ("Tags", ", ".join(run["tags"])),
                ("Receipt", run["workflow_receipt_hash"]),
            ]
        )
    ]


def _held(entry: Json) -> str:
    reason = entry["details"].get("reason")
    return f"{entry['actor_id']}{f': {reason}' if reason else ''}"


def told(entry: Json) -> str:
    """The message of a log entry, and the reason where that is not in it: the messages of some are
    fixed."""
    message, reason = entry["message"], entry["details"].get("reason")
    return f"{message} ({reason})" if reason and reason not in message else message


def _parent(run: Json) -> str | None:
    step = f", step {run['parent_step']}" if run["parent_step"] else ""
    return f"{run['parent_run_id']}{step}" if run["parent_run_id"] else None


def steps(found: Iterable[Json], sizes: dict[str, int] | None = None) -> Parts:
    """When each step ran, and the hashes that it answers with; and which other runs did it. `sizes`
    are the numbers of items of the steps that fan out: these are counted, and shown where they have
    not completed."""
    shown, fans = without_completed(found, sizes or {})
    columns = [
        folded("STEP"),
        fixed("TYPE"),
        fixed("STATUS"),
        fixed("STARTED"),
        fixed("MS", right=True),
        fixed("INPUT"),
        fixed("OUTPUT"),
        fixed("RECEIPT"),
    ]
    rows = [
        [
            step["step_id"] + (f" ×{step['attempt']}" if step["attempt"] > 1 else ""),
            step["step_type"],
            colored(step["status"]),
            clock(step["started_at"]),
            step["duration_ms"],
            short(step["input_hash"]),
            short(step["output_hash"]),
            short(step["receipt_hash"]),
        ]
        for step in shown
    ]
    told = [Text(f"{clean(step_id)}: {items.text}") for step_id, items in fans.items()]
    return [*_section("Steps", table(columns, rows)), *told, *_elsewhere(shown)] if rows else []


def _elsewhere(found: Iterable[Json]) -> Parts:
    """Steps that other runs executed: children, and those that this one was restarted from."""
    rows = [
        [step["step_id"], what, step[name]]
        for step in found
        for name, what in (("child_run_id", "child run"), ("carried_from", "carried over from"))
        if step[name]
    ]
    columns = [folded("STEP"), fixed("DONE BY"), fixed("RUN")]
    return _section("Done by other runs", table(columns, rows)) if rows else []


def decisions(entries: Iterable[Json], sizes: dict[str, int] | None = None) -> Parts:
    """Every answer of policy, with the policy that gave it, its tier, and the rules it names. Of
    the items of a step, those that were allowed are counted."""
    columns = [
        folded("ACTION"),
        fixed("ANSWER"),
        fixed("TIER", right=True),
        folded("POLICY"),
        folded("RULES"),
    ]
    rows = []
    allowed: Counter[str] = Counter()
    for entry in entries:
        told = entry["details"]
        parent = item_of(told.get("step_id") or "")
        if (
            parent in (sizes or {})
            and told["decision"] == "allow"
            and told["action"][:5] == "step."
        ):
            allowed[parent] += 1
            continue
        about = f" {told['step_id']}" if told.get("step_id") else ""
        rows.append(
            [
                told["action"] + about,
                colored(told["decision"]),
                told["tier"],
                told["policy_id"],
                ", ".join(told.get("rules_triggered", ())),
            ]
        )
    counted = [Text(f"{clean(step)}: {n:,} allowed") for step, n in allowed.items()]
    parts: Parts = [*([table(columns, rows)] if rows else []), *counted]
    return [*_section("Policy decisions", parts[0]), *parts[1:]] if parts else []


def gates(found: Iterable[Json]) -> Parts:
    columns = [fixed("GATE"), fixed("STATUS"), folded("NAME"), folded("BY")]
    rows = [
        [
            gate["gate_id"],
            colored(gate["status"]),
            gate["gate_name"],
            ", ".join(a["actor_id"] for a in gate["approvals"]) or gate["approved_by"],
        ]
        for gate in found
    ]
    return _section("Gates", table(columns, rows)) if rows else []


def trail(entries: Iterable[Json], *, wide: bool) -> Parts:
    """The run's log in order; with room, also the hash of each event."""
    columns = [fixed("SEQ", right=True), fixed("TIME"), fixed("CODE"), folded("ACTOR")]
    columns += [folded("MESSAGE"), *([fixed("HASH")] if wide else [])]
    rows = [
        [
            entry["seq"],
            clock(entry["timestamp"]),
            entry["event_type"],
            entry["actor_id"] + (f" via {entry['via']}" if entry["via"] else ""),
            told(entry),
            *([entry["hash"][:16]] if wide else []),
        ]
        for entry in entries
    ]
    return _section("Audit trail", table(columns, rows))


def _section(title: str, content: RenderableType) -> Parts:
    return [Text(f"\n{title}", style="bold underline"), content]


def _json(value: Any) -> str | None:
    if value in (None, {}):
        return None
    text = msgspec.json.encode(value).decode()
    if len(text) <= _MAX_VALUE:
        return text
    return f"{text[:_MAX_VALUE]}… ({len(text):,} characters; --json shows all)"
