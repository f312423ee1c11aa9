"""Counts what became durable: like every other state it is a function of the events."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from ..spine.definition import StepType
from ..spine.envelope import Event
from ..spine.events import (
    RUN_EVENTS,
    Execution,
    GateBypassed,
    GateExpired,
    GateRequested,
    GateResolved,
    GateResumed,
    GateType,
    PolicyEvaluated,
    RunCreated,
    RunEnded,
    StepCompleted,
    StepFailed,
    StepInDoubt,
    StepSkipped,
)
from ..spine.gates import GateStatus
from ..spine.receipts import took_ms
from ..spine.run import FINAL
from ..spine.times import from_rfc3339
from .durable import Appended, step_type
from .families import Family, Histogram, Labels, counter, histogram

__all__ = ["Meter"]

_DECISION = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1)
_WAIT = (1, 10, 60, 300, 900, 3_600, 14_400, 86_400, 259_200, 604_800)


_ENDS = ("completed", "failed", "denied", "in_doubt", "skipped")


def _counts(known: Iterable[Labels]) -> defaultdict[Labels, int]:
    """Zero for each that is known: who watches a counter sees no rise in one that was not there."""
    return defaultdict(int, dict.fromkeys(known, 0))


class Meter:
    """What this process appended since it started."""

    def __init__(self) -> None:
        kinds = [kind.value for kind in StepType]
        self._events = _counts((code,) for code in RUN_EVENTS)
        self._decisions: defaultdict[Labels, int] = defaultdict(int)
        self._decision_s = Histogram(_DECISION)
        self._steps = _counts((kind, end) for kind in kinds for end in _ENDS)
        self._step_s = defaultdict(Histogram, {(kind,): Histogram() for kind in kinds})
        self._created = _counts((execution,) for execution in get_args(Execution))
        self._ended = _counts((status,) for status in FINAL)
        self._asked = _counts((kind,) for kind in get_args(GateType))
        self._closed = _counts((s,) for s in get_args(GateStatus) if s != "pending")
        self._wait_s = Histogram(_WAIT)
        self._by_type: dict[type, Callable[[Appended, Event], None]] = {
            PolicyEvaluated: self._decided,
            StepCompleted: self._step_ended,
            StepFailed: self._step_ended,
            StepInDoubt: self._step_left,
            StepSkipped: self._step_left,
            RunCreated: self._run_created,
            RunEnded: self._run_ended,
            GateRequested: self._gate_asked,
            **dict.fromkeys((GateResolved, GateResumed, GateExpired, GateBypassed), self._gate),
        }

    def committed(self, appends: Sequence[Appended], /) -> None:
        for append in appends:
            for event in append.events:
                self._events[(event.type,)] += 1
                count = self._by_type.get(type(event.data))
                if count is not None:
                    count(append, event)

    def _decided(self, _append: Appended, event: Event) -> None:
        data: PolicyEvaluated = event.data
        self._decisions[data.action, data.decision] += 1
        self._decision_s.observe(data.duration_us / 1_000_000)
        if data.decision == "deny" and data.step_type and data.action.startswith("step."):
            self._steps[data.step_type, "denied"] += 1

    def _step_ended(self, _append: Appended, event: Event) -> None:
        receipt: dict[str, str] = event.data.receipt
        labels = (receipt["step_type"], receipt["status"])
        self._steps[labels] += 1
        took = took_ms(event.data)
        if took is not None:
            self._step_s[labels[:1]].observe(took / 1_000)

    def _step_left(self, append: Appended, event: Event) -> None:
        end = "skipped" if isinstance(event.data, StepSkipped) else "in_doubt"
        self._steps[step_type(append, event.data.step_id), end] += 1

    def _run_created(self, _append: Appended, event: Event) -> None:
        self._created[(event.data.execution,)] += 1

    def _run_ended(self, _append: Appended, event: Event) -> None:
        self._ended[(event.data.new_status,)] += 1

    def _gate_asked(self, _append: Appended, event: Event) -> None:
        self._asked[(event.data.gate_type,)] += 1

    def _gate(self, _append: Appended, event: Event) -> None:
        receipt: dict[str, str] = event.data.receipt
        if receipt["status"] != "pending":  # else it is one approval of several
            self._closed[(receipt["status"],)] += 1
            asked_at = from_rfc3339(receipt["started_at"])
            self._wait_s.observe((event.at - asked_at) / 1_000_000)

    def families(self) -> Iterator[Family]:
        yield counter("fedcore_events", "Events appended.", self._events, "type")
        yield counter("fedcore_decisions", "Policy decisions.", self._decisions, "action", "effect")
        yield histogram("fedcore_decision_seconds", "What one took.", self._decision_s)
        yield counter("fedcore_steps", "Attempts of steps that ended.", self._steps, "type", "end")
        yield histogram("fedcore_step_seconds", "From start to end.", self._step_s, "type")
        yield counter("fedcore_runs_created", "Runs created.", self._created, "execution")
        yield counter("fedcore_runs_ended", "Runs that ended.", self._ended, "status")
        yield counter("fedcore_gates_requested", "Gates requested.", self._asked, "type")
        yield counter("fedcore_gates_closed", "Gates that closed.", self._closed, "status")
        yield histogram("fedcore_gate_wait_seconds", "How long people took.", self._wait_s)
