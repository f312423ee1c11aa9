"""What a workflow file must satisfy beyond its shape: a graph without cycles, expressions that
compile and read only what their step waits for, durations and schemas that mean something."""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ..errors import FieldError, InvalidInput
from .durations import parse_duration
from .expressions import Condition, ExpressionError, Listing, Template
from .items import ITEM_NAMES
from .pointers import join
from .schemas import compile_schema
from .workflow_problems import suggestion

__all__ = ["check", "step_needs"]

_DURATIONS = (("timeout",), ("retry", "backoff"), ("retry", "max_backoff"), ("gate", "expires"))
_TEMPLATES = (("with",), ("value",), ("request", "url"), ("request", "json"))
_MAX_SHOWN = 12

Step = dict[str, Any]
Path = tuple[str | int, ...]


def check(value: Any, sound: Sequence[int], *, check_input: bool) -> Iterator[FieldError]:
    """Problems of the steps with the indexes `sound` (those whose shape is right), and of what
    stands around them."""
    steps: list[Any] = value["steps"] if isinstance(value.get("steps"), list) else []
    graph = _Graph(steps)
    yield from graph.problems(sound)
    for i in sound:
        yield from _check_step(steps[i], ("steps", i), graph)
    if check_input:
        yield from _check_schema(value.get("input"), ("input",))
    if isinstance(value.get("timeout"), str):
        yield from _check_duration(value["timeout"], ("timeout",))
    yield from _check_template(value.get("output"), ("output",), graph, None)


def step_needs(steps: Sequence[Step], i: int) -> tuple[str, ...]:
    """What step `i` waits for: what it says, or the step before it."""
    if "needs" in steps[i]:
        return tuple(steps[i]["needs"])
    return (steps[i - 1]["id"],) if i else ()


class _Graph:
    """Which step waits for which, as far as it can be told."""

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps
        ids = [_id(step) for step in steps]
        self.ids = list(dict.fromkeys(name for name in ids if name is not None))
        self._before: dict[str, int] | None = None
        self._bits = {name: 1 << i for i, name in enumerate(self.ids)}

    def problems(self, sound: Sequence[int]) -> Iterator[FieldError]:
        found = [*self._duplicates(), *self._unknown(sound)]
        if not found and len(sound) == len(self.steps):
            found += self._order()
        yield from found

    def _duplicates(self) -> Iterator[FieldError]:
        first: dict[str, int] = {}
        for i, step in enumerate(self.steps):
            name = _id(step)
            if name is not None and first.setdefault(name, i) != i:
                yield FieldError(join(["steps", i, "id"]), f"there is a step {name!r} already")

    def _unknown(self, sound: Sequence[int]) -> Iterator[FieldError]:
        for i in sound:
            for j, name in enumerate(self.steps[i].get("needs", ())):
                if name not in self._bits:
                    yield FieldError(join(["steps", i, "needs", j]), self.no_step(name))

    def _order(self) -> Iterator[FieldError]:
        needs = {step["id"]: step_needs(self.steps, i) for i, step in enumerate(self.steps)}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as e:
            yield self._cycle(list(reversed(e.args[1][1:])))
            return
        self._before = {}
        for name in order:
            self._before[name] = 0
            for need in needs[name]:
                self._before[name] |= self._before[need] | self._bits[need]

    def _cycle(self, names: list[str]) -> FieldError:
        start = min(range(len(names)), key=lambda i: self._bits[names[i]])
        names = names[start:] + names[: start + 1]
        if len(names) > _MAX_SHOWN:
            names = [*names[: _MAX_SHOWN - 2], "…", names[-1]]
        path: Path = ("steps", self.ids.index(names[0]), "needs")
        return FieldError(join(path), f"steps wait for each other: {' → '.join(names)}")

    def no_step(self, name: str) -> str:
        return f"there is no step {name!r}{suggestion(name, self.ids)}"

    def reference_problem(self, name: str, reader: str | None) -> str | None:
        """What is wrong with reading the step `name` in the step `reader`, or in the output of the
        workflow."""
        if name not in self._bits:
            return self.no_step(name)
        if reader is None or self._before is None:
            return None
        if name == reader:
            return "a step cannot read its own output"
        if not self._before[reader] & self._bits[name]:
            return f"it reads the step {name!r}, which it does not wait for: add it to needs"
        return None


def _id(step: Any) -> str | None:
    name = step.get("id") if isinstance(step, dict) else None
    return name if isinstance(name, str) else None


def _check_step(step: Step, path: Path, graph: _Graph) -> Iterator[FieldError]:
    for keys in _DURATIONS:
        yield from _check_duration(_at(step, keys), (*path, *keys))
    local = ITEM_NAMES if "foreach" in step else ()
    for keys in _TEMPLATES:
        yield from _check_template(_at(step, keys), (*path, *keys), graph, step["id"], local)
    for name, value in (_at(step, ("request", "headers")) or {}).items():
        if isinstance(value, str):
            here = (*path, "request", "headers", name)
            yield from _check_template(value, here, graph, step["id"], local)
    for key, kind in (("when", Condition), ("foreach", Listing)):
        if key in step:
            yield from _check_expression(step[key], kind, (*path, key), graph, step["id"])
    yield from _check_factor(_at(step, ("retry", "factor")), (*path, "retry", "factor"))
    if "gate" in step:
        yield from _check_quorum(step["gate"], (*path, "gate"))
        yield from _check_schema(step["gate"].get("input_schema"), (*path, "gate", "input_schema"))


def _at(step: Step, keys: Sequence[str]) -> Any:
    value: Any = step
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _check_duration(text: str | None, path: Path) -> Iterator[FieldError]:
    if text is None:
        return
    try:
        duration = parse_duration(text)
    except InvalidInput as e:
        yield FieldError(join(path), e.detail.rstrip("."))
        return
    if path[-1] == "timeout" and not duration:
        yield FieldError(join(path), "a timeout is longer than nothing")
    if path[-1] == "expires" and (not duration or duration % 1000):
        yield FieldError(join(path), "a gate expires after whole seconds, at least 1s")


def _check_factor(factor: float | None, path: Path) -> Iterator[FieldError]:
    if factor is not None and abs(factor * 100 - round(factor * 100)) > 1e-9:
        yield FieldError(join(path), "factor has at most two decimals, such as 1.25")


def _check_quorum(gate: dict[str, Any], path: Path) -> Iterator[FieldError]:
    approvers = gate.get("approvers", [])
    has_role = any(approver.startswith("role:") for approver in approvers)
    if approvers and not has_role and gate.get("quorum", 1) > len(approvers):
        message = (
            f"{gate['quorum']} must approve, but only {len(approvers)} may; name more or a role:"
        )
        yield FieldError(join((*path, "quorum")), message)


def _check_schema(schema: dict[str, Any] | None, path: Path) -> Iterator[FieldError]:
    if schema is None:
        return
    try:
        compile_schema(schema)
    except InvalidInput as e:
        for error in e.errors:
            yield FieldError(join(path) + error.path, f"not a JSON Schema: {error.message}")


def _check_template(
    value: Any, path: Path, graph: _Graph, reader: str | None, local: tuple[str, ...] = ()
) -> Iterator[FieldError]:
    """Its parts are compiled one by one, so that each problem has its place."""
    if isinstance(value, dict) and not any("${" in key for key in value):
        for key, item in value.items():
            yield from _check_template(item, (*path, key), graph, reader, local)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _check_template(item, (*path, i), graph, reader, local)
    elif isinstance(value, (str, dict)):
        try:
            template = Template.compile(value, local)
        except InvalidInput as e:
            yield from (FieldError(join(path) + error.path, error.message) for error in e.errors)
        else:
            yield from _check_references(template.references, path, graph, reader)


def _check_expression(
    text: str, kind: type[Condition | Listing], path: Path, graph: _Graph, reader: str | None
) -> Iterator[FieldError]:
    try:
        expression = kind.compile(text)
        if not expression.names:  # it looks at nothing, so it is now what it will ever be
            expression.evaluate({})
    except InvalidInput as e:
        yield FieldError(join(path), e.errors[0].message)
    except ExpressionError as e:
        yield FieldError(join(path), f"it can only fail: {e.errors[0].message}")
    else:
        yield from _check_references(expression.references, path, graph, reader)


def _check_references(
    references: frozenset[str], path: Path, graph: _Graph, reader: str | None
) -> Iterator[FieldError]:
    for name in sorted(references):
        message = graph.reference_problem(name, reader)
        if message is not None:
            yield FieldError(join(path), message)
