"""The paths under which existing OMEGA clients call the same handlers."""

from . import gates, runs, steps, workflows
from .operation import alias

__all__ = ["ALIASES"]

ALIASES = (
    alias(runs.create_run, "POST", "/api/fc/runs"),
    alias(runs.list_runs, "GET", "/api/fc/runs"),
    alias(runs.get_run, "GET", "/api/fc/runs/{run_id}"),
    alias(runs.change_status, "PATCH", "/api/fc/runs/{run_id}"),
    alias(steps.record_step, "POST", "/api/fc/runs/{run_id}/steps"),
    alias(runs.logs, "GET", "/api/fc/runs/{run_id}/logs"),
    alias(gates.request_gate, "POST", "/api/fc/runs/{run_id}/gate"),
    alias(gates.answer_gate, "POST", "/api/fc/gates/{gate_id}"),
    alias(gates.resume_run, "POST", "/api/fc/runs/{run_id}:resume"),
    alias(gates.pending_gates, "GET", "/api/fc/gates"),
    alias(workflows.register_workflow, "POST", "/api/fc/workflows/register"),
)
