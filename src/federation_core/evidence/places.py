"""Where a payload is named, in a reader's words."""

from collections.abc import Callable, Iterator
from typing import Any

from ..spine import events as e

__all__ = ["places"]

_Name = Callable[[Any], str]


def places(data: e.RunEventData) -> Iterator[tuple[str, str]]:
    """(hash, what it is) of every payload that an event names; ids are as somebody chose them."""
    for field, name in _NAMED.get(type(data), ()):
        digest = getattr(data, field)
        if digest:
            yield digest, name(data)


def _about(data: e.PolicyEvaluated) -> str:
    return f"input of step {data.step_id}" if data.step_id else f"subject of {data.action}"


def _always(words: str) -> _Name:
    return lambda _data: words


def _step(words: str) -> _Name:
    return lambda data: f"{words} of step {data.step_id}"


def _gate(words: str) -> _Name:
    return lambda data: f"{words} {data.gate_name}"


_NAMED: dict[type, tuple[tuple[str, _Name], ...]] = {
    e.RunCreated: (
        ("input_hash", _always("input of the run")),
        ("metadata_hash", _always("metadata of the run")),
    ),
    e.RunStatusChanged: (("output_hash", _always("output of the run so far")),),
    e.RunEnded: (
        ("output_hash", _always("output of the run")),
        ("error_hash", _always("error of the run")),
    ),
    e.PolicyEvaluated: (("subject_hash", _about),),
    e.StepStarted: (("input_hash", _step("input")),),
    e.StepCompleted: (("output_hash", _step("output")),),
    e.StepCarried: (("input_hash", _step("input")), ("output_hash", _step("output"))),
    e.StepFailed: (("error_hash", _step("error")),),
    e.StepFannedOut: (("items_hash", _step("items")),),
    e.GateRequested: (
        ("input_schema_hash", _gate("form of gate")),
        ("subject_hash", _gate("what is asked about at gate")),
    ),
    e.GateResumed: (("input_hash", _gate("what was entered at gate")),),
}
