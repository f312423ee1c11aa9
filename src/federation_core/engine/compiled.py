"""A workflow's templates, compiled."""

from typing import Any

import msgspec

from ..spine.definition import ExpressionWork, HttpWork, StepSpec, Workflow
from ..spine.expressions import Condition, Listing, Template
from ..spine.items import ITEM_NAMES

__all__ = ["CompiledStep", "CompiledWorkflow", "compile_workflow"]


class CompiledStep(msgspec.Struct, frozen=True):
    """`input` makes what is put to policy and given to the executor; `references` are the steps
    that the condition, the input and the work itself look at. Where it fans out, `listing` gives
    the items, and `first_references` are the steps that the condition and it look at."""

    condition: Condition | None
    input: Template
    references: frozenset[str]
    listing: Listing | None = None
    first_references: frozenset[str] = frozenset()


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
    listing = Listing.compile(spec.foreach) if isinstance(spec.foreach, str) else None
    local = ITEM_NAMES if listing is not None else ()
    step_input = Template.compile(_input_of(spec), local)
    references = step_input.references
    first = condition.references if condition is not None else frozenset()
    if isinstance(spec.work, ExpressionWork):
        references |= Template.compile(spec.work.value, local).references
    if listing is None:
        return CompiledStep(condition, step_input, references | first)
    return CompiledStep(condition, step_input, references, listing, first | listing.references)


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
