"""`handle`: a command put to a run, answered by events or by a refusal that says why."""

from collections.abc import Callable
from typing import Any

from ..errors import Conflict
from . import commands as c
from . import handle_gates, handle_run, handle_steps
from .endings import settle
from .turn import Turn

__all__ = ["handle"]


def handle(turn: Turn, command: c.Command) -> None:
    """Answer `command` with events in `turn`, and draw what follows from them.

    Raises `CallerError` (a `Conflict`, `Forbidden` or `NotFound`) before it has made any event:
    a refused command changes nothing.
    """
    is_birth = isinstance(command, c.CreateRun)
    if is_birth != (turn.base.seq == 0):
        was = "was created already" if is_birth else "has not been created"
        raise Conflict(f"The run {was}; a run is created once, and first.", code="run_exists")
    _HANDLERS[type(command)](turn, command)
    settle(turn)


_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    c.CreateRun: handle_run.create,
    c.StartRun: handle_run.start,
    c.CompleteRun: handle_run.complete,
    c.FailRun: handle_run.fail,
    c.TimeOutRun: handle_run.time_out,
    c.AbandonRun: handle_run.abandon,
    c.ChangeStatus: handle_run.change_status,
    c.RecordRefusal: handle_run.refuse,
    c.ProposeStep: handle_steps.propose,
    c.FanOutStep: handle_steps.fan_out,
    c.CompleteStep: handle_steps.complete,
    c.FailStep: handle_steps.fail,
    c.RetryStep: handle_steps.retry,
    c.SkipStep: handle_steps.skip,
    c.RecoverStep: handle_steps.recover,
    c.RequestGate: handle_gates.request,
    c.AnswerGate: handle_gates.answer,
    c.BypassGate: handle_gates.bypass,
    c.ExpireGate: handle_gates.expire,
}
