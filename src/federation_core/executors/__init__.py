"""How a step does its work: `python`, `http`, `expression`.

`run_step` wraps an executor in the step's time limit and turns whatever happens into an output or
a `StepError`.
"""

from .allow import AllowList
from .base import Executor, StepContext, StepError, run_step
from .registry import Executors

__all__ = ["AllowList", "Executor", "Executors", "StepContext", "StepError", "run_step"]
