"""`run: expression`: compute a value from what the run knows. Pure; no other work is done."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..spine.definition import ExpressionWork
from ..spine.expressions import Template
from ..spine.items import ITEM_NAMES
from .base import StepContext

__all__ = ["ExpressionExecutor"]


class ExpressionExecutor:
    """Evaluates the template in the run's scope. Raises `ExpressionError`."""

    async def execute(
        self, work: ExpressionWork, step_input: Any, ctx: StepContext, scope: Mapping[str, Any]
    ) -> Any:
        del step_input, ctx  # an expression depends on what the run knows, and on nothing else
        local = tuple(name for name in ITEM_NAMES if name in scope)
        return _template(msgspec.json.encode(work.value), local).evaluate(dict(scope))


@lru_cache(maxsize=1024)
def _template(value: bytes, local: tuple[str, ...]) -> Template:
    return Template.compile(msgspec.json.decode(value), local)
