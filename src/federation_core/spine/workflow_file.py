"""Workflow files: from YAML to a `Workflow`, or to everything that is wrong with the file."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from .definition import (
    ChildWork,
    ExpressionWork,
    GateSpec,
    HttpWork,
    PythonWork,
    Retry,
    StepSpec,
    StepType,
    Work,
    Workflow,
)
from .durations import parse_duration
from .expressions import Condition, Listing
from .workflow_check import check, step_needs
from .workflow_problems import MAX_PROBLEMS, Problem, WorkflowProblems
from .workflow_shape import shape_problems, workflow_schema
from .workflow_yaml import Document, read

__all__ = ["Problem", "WorkflowProblems", "parse_workflow", "workflow_schema"]


def parse_workflow(text: str, *, source: str = "workflow.yaml") -> Workflow:
    """The workflow that `text` (at most 256 KiB of YAML) defines; `source` names it in messages.
    Raises `WorkflowProblems` with all that is wrong (the first 200 where it is more)."""
    document = read(text)
    problems = document.problems
    if document.value is not None:
        places = {(problem.line, problem.column) for problem in problems}
        more = (p for p in _problems(document) if (p.line, p.column) not in places)
        problems += islice(more, MAX_PROBLEMS)
    if problems:
        raise WorkflowProblems(source, problems)
    return _workflow(document.value)


def _problems(document: Document) -> Iterator[Problem]:
    shape = list(islice(shape_problems(document), MAX_PROBLEMS))
    yield from shape
    if isinstance(document.value, dict) and len(shape) < MAX_PROBLEMS:
        paths = [problem.path for problem in shape]
        sound = _sound_steps(document.value, paths)
        for error in check(document.value, sound, check_input="/input" not in paths):
            if error.path not in paths:
                yield document.problem(error.path, error.message)


def _sound_steps(value: dict[str, Any], broken: Sequence[str]) -> list[int]:
    """Indexes of the steps in which no path of `broken` lies."""
    steps = value.get("steps")
    count = len(steps) if isinstance(steps, list) else 0
    bad = {path.split("/")[2] for path in broken if path.startswith("/steps/")}
    return [i for i in range(count) if str(i) not in bad]


def _workflow(value: dict[str, Any]) -> Workflow:
    steps = value["steps"]
    return Workflow(
        id=value["workflow"],
        version=value["version"],
        description=value.get("description", ""),
        input_schema=value.get("input"),
        steps=tuple(_step(step, step_needs(steps, i)) for i, step in enumerate(steps)),
        output=value.get("output"),
        timeout_ms=parse_duration(value["timeout"]) if "timeout" in value else msgspec.UNSET,
    )


def _step(step: dict[str, Any], needs: tuple[str, ...]) -> StepSpec:
    return StepSpec(
        id=step["id"],
        type=StepType(step["type"]),
        needs=needs,
        when=Condition.compile(step["when"]).source if "when" in step else None,
        with_=step.get("with", {}),
        work=_work(step),
        gate=_gate(step["gate"]) if "gate" in step else None,
        timeout_ms=_timeout_ms(step),
        retry=_retry(step["retry"]) if "retry" in step else Retry(),
        idempotent=step.get("idempotent", step.get("run") == "workflow"),
        sensitive=step.get("sensitive", False),
        foreach=Listing.compile(step["foreach"]).source if "foreach" in step else msgspec.UNSET,
        concurrency=int(step.get("concurrency", 10)) if "foreach" in step else msgspec.UNSET,
    )


def _timeout_ms(step: dict[str, Any]) -> int:
    """A child run may live for weeks: it has a timeout only where the file says so."""
    if step.get("run") == "workflow" and "timeout" not in step:
        return 0
    return parse_duration(step.get("timeout", "30s"))


def _work(step: dict[str, Any]) -> Work | None:
    match step.get("run"):
        case "python":
            return PythonWork(step["call"])
        case "http":
            request = step["request"]
            return HttpWork(
                method=request["method"],
                url=request["url"],
                headers=request.get("headers", {}),
                json=request.get("json", msgspec.UNSET),
            )
        case "expression":
            return ExpressionWork(step["value"])
        case "workflow":
            return ChildWork(step["workflow"], step.get("version", msgspec.UNSET))
    return None


def _gate(gate: dict[str, Any]) -> GateSpec:
    expires = gate.get("expires")
    return GateSpec(
        name=gate["name"],
        description=gate.get("description", ""),
        approvers=tuple(gate.get("approvers", ())),
        quorum=int(gate.get("quorum", 1)),
        expires_s=None if expires is None else parse_duration(expires) // 1000,
        input_schema=gate.get("input_schema"),
    )


def _retry(retry: dict[str, Any]) -> Retry:
    return Retry(
        max_attempts=int(retry["max_attempts"]),
        backoff_ms=parse_duration(retry.get("backoff", "1s")),
        factor_pct=round(retry.get("factor", 2) * 100),
        max_backoff_ms=parse_duration(retry.get("max_backoff", "60s")),
    )
