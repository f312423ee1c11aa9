"""A workflow's templates, compiled."""

from typing import Any

import msgspec

from ..spine.definition import ExpressionWork, HttpWork, StepSpec, Workflow
from ..spine.expressions import Condition, Template

__all__ = ["CompiledStep", "CompiledWorkflow", "compile_workflow"]


class CompiledStep(msgspec.Struct, frozen=True):
    """`input` makes what is put to policy and given to the executor; `references` are the steps
    that the condition, the input and the work itself look at."""

    condition: Condition | None
    input: Template
    references: frozenset[str]


class CompiledWorkflow(msgspec.Struct, frozen=True):
    steps: dict[str, CompiledStep]
    output: Template


def compile_workflow(workflow: Workflow) -> CompiledWorkflow:
    """Raises `InvalidInput` where an expression does not compile."""
    return CompiledWorkflow(
        {spec.id: _compile(spec) for spec in workflow.steps}, Template.compile(workflow.output)
    )


def _compile(spec: StepSpec) -> CompiledStep:
    condition = Condition.compile(spec.when) if spec.when is not None else None
    step_input = Template.compile(_input_of(spec))
    references = step_input.references
    if condition is not None:
        references |= condition.references
    if isinstance(spec.work, ExpressionWork):
        references |= Template.compile(spec.work.value).references
    return CompiledStep(condition, step_input, references)


def _input_of(spec: StepSpec) -> Any:
    """An HTTP step's input is its request; any other's is what stands under `with`."""
    work = spec.work
    if not isinstance(work, HttpWork):
        return dict(spec.with_)
    request: dict[str, Any] = {"method": work.method, "url": work.url}
    if work.headers:
        request["headers"] = dict(work.headers)
    if work.json is not msgspec.UNSET:
        request["json"] = work.json
    return request
