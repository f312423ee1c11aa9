"""A value computed from what the run knows."""

from typing import Any

import pytest

from federation_core.executors import StepContext, StepError, run_step
from federation_core.executors.registry import Executors
from federation_core.spine.definition import ExpressionWork, StepSpec, StepType

SCOPE = {"input": {"currency": "EUR"}, "steps": {"act": {"output": {"amount": 12}}}}


async def run(value: Any, ctx: StepContext) -> Any:
    spec = StepSpec(id="transform", type=StepType.TRANSFORM, work=ExpressionWork(value))
    return await run_step(Executors.build(), spec, {}, ctx, SCOPE)


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ('${ {"refunded": steps.act.output.amount} }', {"refunded": 12}),
        ({"sum": "${steps.act.output.amount} ${input.currency}"}, {"sum": "12 EUR"}),
        (["${steps.act.output.amount * 3}", None, 1.5], [36, None, 1.5]),
        ("plain", "plain"),
        (None, None),
    ],
)
async def test_value_is_evaluated_in_the_scope_of_the_run(
    ctx: StepContext, value: Any, output: Any
) -> None:
    assert await run(value, ctx) == output


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("${steps.other.output}", "ExpressionError"),
        ("${1 / 0}", "ExpressionError"),
        ("${1 +}", "InvalidInput"),
        ("${with.x}", "InvalidInput"),
    ],
)
async def test_expression_that_has_no_value_fails_for_good(
    ctx: StepContext, value: str, type_: str
) -> None:
    with pytest.raises(StepError) as caught:
        await run(value, ctx)
    assert caught.value.type == type_
    assert not caught.value.retriable


async def test_scope_is_left_as_it_was(ctx: StepContext) -> None:
    await run("${input.currency}", ctx)
    assert set(SCOPE) == {"input", "steps"}
