"""How a step does its work: `python`, `http`, `expression`.

`run_step` wraps an executor in the step's time limit and turns whatever happens into an output or
a `StepError`. `registry.Executors` does any work; it is imported by itself, for what it needs takes
time to load.
"""

from .allow import AllowList
from .base import Executor, StepContext, StepError, run_step

__all__ = ["AllowList", "Executor", "StepContext", "StepError", "run_step"]
