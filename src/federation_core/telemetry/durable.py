"""What observers are told: what became durable, in the shape that the ledger takes it."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ..spine.envelope import Event

__all__ = ["Appended", "Observer", "StepRow", "run_row", "step_type", "was_seen"]


class Appended(Protocol):
    """One append: its events, and the projection rows that they changed (see `ledger.Append`)."""

    stream: str
    events: list[Event]
    rows: dict[str, list[tuple[Any, ...]]]


class Observer(Protocol):
    """Told of every batch that became durable, in order, on the event loop. It must not wait."""

    def committed(self, appends: Sequence[Appended], /) -> None: ...


class StepRow(msgspec.Struct, frozen=True):
    """What observers read of a step's row."""

    step_id: str
    step_type: str
    ended_at: str | None = None
    duration_ms: int | None = None


class RunRow(msgspec.Struct, frozen=True):
    """What observers read of a run's row."""

    run_id: str
    workflow_id: str
    workflow_version: str
    status: str
    tenant_id: str
    correlation_id: str
    created_at: str
    parent_run_id: str | None = None
    error_code: str | None = None


_step = msgspec.json.Decoder(StepRow)
_run = msgspec.json.Decoder(RunRow)


def run_row(append: Appended) -> RunRow:
    """The run as this append leaves it."""
    return _run.decode(append.rows["runs"][0][5])


def step_type(append: Appended, step_id: str) -> str:
    """The type of a step that this append changed."""
    step = _step_row(append, step_id)
    return "none" if step is None else step.step_type


def was_seen(append: Appended, step_id: str) -> bool:
    """Whether somebody saw the end of the step that this append tells, and did not say later that
    it must have been."""
    step = _step_row(append, step_id)
    return step is None or step.ended_at is None or step.duration_ms is not None


def _step_row(append: Appended, step_id: str) -> StepRow | None:
    for row in append.rows.get("steps", ()):
        step = _step.decode(row[2])
        if step.step_id == step_id:
            return step
    return None
