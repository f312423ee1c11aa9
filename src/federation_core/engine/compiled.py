"""A workflow's templates, compiled."""

from typing import Any

import msgspec

from ..spine.definition import ExpressionWork, HttpWork, StepSpec, Workflow
from ..spine.expressions import Condition, Listing, Template
from ..spine.items import ITEM_NAMES

__all__ = ["CompiledStep", "CompiledWorkflow", "Reads", "compile_workflow"]


class Reads(msgspec.Struct, frozen=True):
    """What expressions look at: the names that they know, and of `steps` which."""

    names: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *expressions: Condition | Listing | Template | None) -> "Reads":
        read = [e for e in expressions if e is not None]
        return cls(
            frozenset().union(*(e.names for e in read)),
            frozenset().union(*(e.references for e in read)),
        )


class CompiledStep(msgspec.Struct, frozen=True):
    """`input` makes what is put to policy and given to the executor; `reads` is what the condition,
    the input and the work itself look at. Where it fans out, `listing` gives the items, and what it
    and the condition look at, once, is `reads_first`."""

    condition: Condition | None
    input: Template
    reads: Reads
    listing: Listing | None = None
    reads_first: Reads = Reads()


class CompiledWorkflow(msgspec.Struct, frozen=True):
    steps: dict[str, CompiledStep]
    output: Template

    @property
    def output_reads(self) -> Reads:
        return Reads.of(self.output)


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
    work = spec.work
    value = Template.compile(work.value, local) if isinstance(work, ExpressionWork) else None
    if listing is None:
        return CompiledStep(condition, step_input, Reads.of(condition, step_input, value))
    first = Reads.of(condition, listing)
    return CompiledStep(condition, step_input, Reads.of(step_input, value), listing, first)


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
