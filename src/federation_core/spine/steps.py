"""The states of a step. A step can only be running by holding a `Permit`, and a permit can only
come from a decision (see `fold`): promise 1 is the shape of these types, not a check beside them.
"""

import msgspec

from .events import PolicyEvaluated

__all__ = [
    "Carried",
    "Completed",
    "CutOff",
    "Denied",
    "Failed",
    "FannedOut",
    "Flagged",
    "Gathered",
    "InDoubt",
    "Pending",
    "Permit",
    "Permitted",
    "Running",
    "Skipped",
    "Step",
    "StepState",
    "Waiting",
]


class Permit(msgspec.Struct, frozen=True):
    """Leave to execute exactly this attempt of this step with this input.

    `decision_hash` is the hash of the event that gave it.
    """

    step_id: str
    attempt: int
    input_hash: str
    decision_hash: str

    def idempotency_key(self, run_id: str) -> str:
        """The same whenever this attempt is started again."""
        return f"{run_id}:{self.step_id}:{self.attempt}"


class Pending(msgspec.Struct, frozen=True):
    """Not decided yet; not to be asked before `not_before` (microseconds) where it is a retry."""

    attempt: int = 1
    not_before: int | None = None
    status = "pending"


class Flagged(msgspec.Struct, frozen=True):
    """Policy asks for people. Put to policy again once its gates are approved."""

    attempt: int
    input_hash: str
    decision_hash: str
    status = "waiting"


class Permitted(msgspec.Struct, frozen=True):
    """Allowed, and not started."""

    permit: Permit
    status = "pending"


class Running(msgspec.Struct, frozen=True):
    """`node` executes it, where there are several."""

    permit: Permit
    started_at: int
    node: str | None = None
    status = "running"


class Waiting(msgspec.Struct, frozen=True):
    """A GATE step at its own gate."""

    permit: Permit
    started_at: int
    gate_id: str
    status = "waiting"


class InDoubt(msgspec.Struct, frozen=True):
    """Started, no end seen, and not safe to repeat: a person says what happened."""

    permit: Permit
    started_at: int
    gate_id: str | None = None
    status = "in_doubt"


class Completed(msgspec.Struct, frozen=True):
    permit: Permit
    started_at: int
    ended_at: int
    output_hash: str
    receipt_hash: str
    is_told: bool = False
    """It was in doubt, and a person said that it happened: `ended_at` is when they said so."""
    status = "completed"


class Failed(msgspec.Struct, frozen=True):
    permit: Permit
    started_at: int
    ended_at: int
    error_type: str
    error_hash: str | None
    receipt_hash: str
    status = "failed"


class Denied(msgspec.Struct, frozen=True):
    """Final: there is no event that leads out of it."""

    attempt: int
    input_hash: str
    decision_hash: str
    status = "denied"


class Skipped(msgspec.Struct, frozen=True):
    """Its condition was false. Steps that need it go on."""

    reason: str
    status = "skipped"


class FannedOut(msgspec.Struct, frozen=True):
    """Its items are under way, each a step of its own."""

    started_at: int
    status = "running"


class Gathered(msgspec.Struct, frozen=True):
    """Every item of its fan-out has completed."""

    started_at: int
    ended_at: int
    status = "completed"


class CutOff(msgspec.Struct, frozen=True):
    """The run ended before all items of its fan-out had."""

    started_at: int
    ended_at: int
    status = "failed"


class Carried(msgspec.Struct, frozen=True):
    """It ended well in the run `from_run`, from which this one was restarted: its output is there,
    and nothing of it is executed here."""

    from_run: str
    attempt: int
    output_hash: str
    receipt_hash: str
    status = "completed"


StepState = (
    Pending
    | Flagged
    | Permitted
    | Running
    | Waiting
    | InDoubt
    | Completed
    | Failed
    | Denied
    | Skipped
    | FannedOut
    | Gathered
    | CutOff
    | Carried
)


class Step(msgspec.Struct, frozen=True):
    """A step of a run: `index` counts from 0 in file order (managed) or in order of appearance;
    those of the items of a fan-out go on where those before them ended.

    `decision` is the last one about it, `decided_at` in microseconds. `input_hash` is what it
    was last asked about: a repeated question with the same input finds the same hash.
    """

    step_id: str
    step_type: str
    index: int
    state: StepState
    decision: PolicyEvaluated | None = None
    decided_at: int | None = None
    input_hash: str | None = None

    @property
    def attempt(self) -> int:
        """The number of the attempt this state is about, from 1; 0 for a skipped step. (A fan-out
        is begun once; its items have attempts of their own.)"""
        match self.state:
            case Skipped():
                return 0
            case FannedOut() | Gathered() | CutOff():
                return 1
            case Pending(attempt=n) | Flagged(attempt=n) | Denied(attempt=n) | Carried(attempt=n):
                return n
            case other:
                return other.permit.attempt

    @property
    def in_flight(self) -> bool:
        """Something may be happening in the world on its behalf."""
        return isinstance(self.state, (Permitted, Running))

    @property
    def is_satisfied(self) -> bool:
        """Steps that need it may go on."""
        return isinstance(self.state, (Completed, Skipped, Gathered, Carried))
