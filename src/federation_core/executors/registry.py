"""The executors together: work in, the one that does it out."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..spine.definition import ChildWork, ExpressionWork, HttpWork, PythonWork, Work
from ..telemetry import Family, Tracer
from ..telemetry.families import gauge
from .allow import AllowList
from .base import StepContext, StepError
from .expression import ExpressionExecutor
from .http import HttpExecutor
from .python import PythonExecutor

__all__ = ["Executors"]


class Executors:
    """Does any work that a definition can name. Made once a server; `aclose` ends it.

    `tracer` is told of executions, and `executing` counts those that are under way.
    """

    def __init__(
        self, python: PythonExecutor, http: HttpExecutor, expression: ExpressionExecutor
    ) -> None:
        self._python = python
        self._http = http
        self._expression = expression
        self.tracer: Tracer | None = None
        self.executing = 0

    @classmethod
    def build(
        cls,
        *,
        python_allow: Iterable[str] = (),
        http_allow: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> "Executors":
        """From the settings of those names. Raises `SettingsError` for a pattern that is none."""
        return cls(
            PythonExecutor(python_allow),
            HttpExecutor(AllowList.parse(http_allow), environ=environ),
            ExpressionExecutor(),
        )

    async def execute(
        self, work: Work, step_input: Any, ctx: StepContext, scope: Mapping[str, Any]
    ) -> Any:
        match work:
            case PythonWork():
                return await self._python.execute(work, step_input, ctx, scope)
            case HttpWork():
                return await self._http.execute(work, step_input, ctx, scope)
            case ExpressionWork():
                return await self._expression.execute(work, step_input, ctx, scope)
            case ChildWork():
                raise StepError("NoWork", f"Step {ctx.step_id!r} is executed by a run of its own.")

    def families(self) -> Iterator[Family]:
        """What is measured of executions."""
        yield gauge("fedcore_steps_executing", "Steps that are executed now.", self.executing)
        calls = self._python.calls
        yield gauge("fedcore_python_calls", "Python calls that wait or run in threads.", calls)

    async def aclose(self) -> None:
        await self._python.aclose()
        await self._http.aclose()
