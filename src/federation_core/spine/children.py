"""Child runs: a step that is executed by a run of its own.

The child's id is a UUIDv7 (RFC 9562 section 5.7) of when its step was started, to the millisecond;
its 74 bits of chance are the first of SHA-256("fc/child/v1" ‖ 0 ‖ parent ‖ 0 ‖ step ‖ 0 ‖ attempt).
So whoever knows the parent's events knows the child's id: a crash between the start of the step and
the birth of the child neither loses nor doubles it.
"""

from .canonical import sha256
from .definition import ChildWork, StepSpec
from .events import StepFailed
from .run import Run
from .steps import Running
from .times import from_rfc3339

__all__ = [
    "MAX_DEPTH",
    "PARENT_ENDED",
    "REFUSED",
    "abandoned_child",
    "awaited_child",
    "child_run_id",
    "is_child_id",
    "is_child_step",
]

MAX_DEPTH = 16
"""Levels of runs below one that nobody's step started: a workflow that calls itself ends there."""

PARENT_ENDED = "parent_ended"
"""The error code of a child run that was cancelled because nothing waits for it any more."""

REFUSED = "ChildRefused"
"""The error type of a step whose child run was never born."""


def is_child_step(spec: StepSpec | None) -> bool:
    return spec is not None and isinstance(spec.work, ChildWork)


def child_run_id(parent: str, step_id: str, attempt: int, started_at: int) -> str:
    """The id of the run that executes this attempt; `started_at` (microseconds) is of its step."""
    return _uuid7(started_at // 1000, _bits(parent, step_id, attempt))


def is_child_id(run_id: str, parent: str, step_id: str, attempt: int) -> bool:
    """Whether `run_id` is a child's of this attempt, whenever it was started."""
    digits = run_id.replace("-", "")
    try:
        at = int(digits[:12], 16)
    except ValueError:
        return False
    return run_id == _uuid7(at, _bits(parent, step_id, attempt))


def _bits(parent: str, step_id: str, attempt: int) -> int:
    told = "\0".join(("fc/child/v1", parent, step_id, str(attempt)))
    return int(sha256(told.encode()), 16) >> (256 - 74)


def _uuid7(milliseconds: int, bits: int) -> str:
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (bits >> 62) << 64
    value |= 0b10 << 62 | bits & ((1 << 62) - 1)
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def awaited_child(run: Run, step_id: str) -> str | None:
    """The child that this step waits for now; None where it waits for none."""
    step = run.steps[step_id]
    if not isinstance(step.state, Running) or not is_child_step(run.spec_of(step_id)):
        return None
    return child_run_id(run.run_id, step_id, step.state.permit.attempt, step.state.started_at)


def abandoned_child(run: Run, failed: StepFailed) -> str | None:
    """The child that a step of `run` waited for when it failed, whatever became of that."""
    if not is_child_step(run.spec_of(failed.step_id)):
        return None
    started_at = from_rfc3339(failed.receipt["started_at"])
    return child_run_id(run.run_id, failed.step_id, failed.attempt, started_at)
