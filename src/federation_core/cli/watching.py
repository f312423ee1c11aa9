"""Following a run while it lives."""

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..client import Client, ServerUnreachable
from .fan_outs import item_of
from .output import Output
from .run_report import told
from .tables import clock, colored, fixed, folded, table
from .text import clean

__all__ = ["FINAL", "Progress", "watch"]

Json = dict[str, Any]

_STEP_STATUS = {
    "FC-STEP-001": "running",
    "FC-STEP-002": "completed",
    "FC-STEP-003": "failed",
    "FC-STEP-004": "retrying",
    "FC-STEP-005": "in_doubt",
    "FC-STEP-006": "skipped",
    "FC-STEP-007": "running",
    "FC-GATE-001": "waiting",
}
_RUN_CODES = frozenset({"FC-RUN-001", "FC-RUN-002", "FC-RUN-003"})
_TAIL = 5
_PATIENCE = 30
_PAUSE_S = 1.0

FINAL = frozenset({"completed", "failed", "cancelled"})


class Progress:
    """A run as its log tells it so far: `status`, and the steps in the order they came up."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.status = "pending"
        self.steps: dict[str, Json] = {}
        self._tail: list[str] = []

    def apply(self, entry: Json) -> None:
        """Take in one log entry."""
        code, step_id = entry["event_type"], entry["step_id"]
        if code in _RUN_CODES:
            self.status = entry["new_status"]
        elif step_id is not None:
            self._step(step_id, code, entry)
        self._tail = [*self._tail, f"{clock(entry['timestamp'])}  {clean(told(entry))}"][-_TAIL:]

    def _step(self, step_id: str, code: str, entry: Json) -> None:
        empty = {"status": "pending", "decision": None, "started": None, "ms": None}
        step = self.steps.setdefault(step_id, empty)
        if code == "FC-POLICY-001" and entry["details"]["action"].startswith("step."):
            step["decision"] = entry["decision"]
            if entry["decision"] == "deny":
                step["status"] = "denied"
        elif code in _STEP_STATUS:
            step["status"] = _STEP_STATUS[code]
            step["ms"] = entry["duration_ms"]
        if code in ("FC-STEP-001", "FC-STEP-007"):
            step["started"] = clock(entry["timestamp"])
        if code == "FC-STEP-007":
            step |= {"items": entry["details"]["items"], "done": 0}
            self._gathered(step)
        parent = self.steps.get(item_of(step_id) or "", {})
        if "items" in parent and step["status"] == "completed":
            del self.steps[step_id]
            parent["done"] += 1
            self._gathered(parent)

    def _gathered(self, step: Json) -> None:
        """Completed items are counted, and not shown any more."""
        if step["done"] == step["items"]:
            step["status"] = "completed"

    def view(self) -> RenderableType:
        """The steps as a table, and the last things that happened."""
        tail = [
            Text(clean(line), style="dim", no_wrap=True, overflow="ellipsis") for line in self._tail
        ]
        title = Text.assemble(f"Run {self.run_id}  ", colored(self.status))
        return Group(title, Text(), self._table(), Text(), *tail)

    def _table(self) -> Table:
        columns = [folded("STEP"), fixed("STATUS"), fixed("POLICY"), fixed("STARTED")]
        rows = [
            [_name(step_id, s), colored(s["status"]), colored(s["decision"]), s["started"], s["ms"]]
            for step_id, s in self.steps.items()
        ]
        return table([*columns, fixed("MS", right=True)], rows)


def _name(step_id: str, step: Json) -> str:
    return f"{step_id} {step['done']:,}/{step['items']:,}" if "items" in step else step_id


def watch(client: Client, run_id: str, out: Output) -> str:
    """Show the run's entries as they become durable, until it has ended; its last status."""
    progress = Progress(run_id)
    if out.as_json or not out.console.is_terminal:
        for entry in _entries(client, progress):
            out.entry(entry, _line(entry))
        return progress.status
    with Live(console=out.console, refresh_per_second=8) as live:
        for _ in _entries(client, progress):
            live.update(progress.view())
    return progress.status


def _entries(client: Client, progress: Progress) -> Iterator[Json]:
    """Every entry once, over as many connections as it takes: a server may start again while
    somebody watches. Raises `ServerUnreachable` where it does not come back."""
    seen, patience = None, _PATIENCE
    while True:
        try:
            for entry in client.events(progress.run_id, after=seen):
                seen, patience = entry["seq"], _PATIENCE
                progress.apply(entry)
                yield entry
        except ServerUnreachable:
            if seen is None:
                raise
        if progress.status in FINAL:
            return
        if patience == 0:
            raise ServerUnreachable(f"{client.url} tells no more of a run that has not ended.")
        patience -= 1
        time.sleep(_PAUSE_S)


def _line(entry: Json) -> str:
    return f"{entry['timestamp']} {entry['event_type']} {clean(told(entry))}"
