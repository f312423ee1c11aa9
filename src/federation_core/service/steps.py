"""Steps that a client executes itself, and reports."""

from ..engine.asking import ask
from ..errors import Conflict
from ..spine.commands import CompleteStep, FailStep, ProposeStep, RecordRefusal
from ..spine.failures import REPORTED
from ..spine.steps import Failed
from .call import Call
from .parts import Parts, Visit, anew
from .requests import RecordStepRequest
from .views import StepAnswer

__all__ = ["Steps"]


class Steps:
    """`fc.steps`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @anew
    async def record(self, call: Call, run_id: str, request: RecordStepRequest) -> StepAnswer:
        """`running` asks whether the caller may execute the step with this input, `completed` and
        `failed` report its end. Raises `Conflict` for a managed run, whose steps the server
        executes, and for a report of a step that was never allowed to start."""
        call.caller.require("workflow:write")
        async with self._parts.visit(call, run_id) as visit:
            if visit.run.is_managed:
                raise Conflict(
                    "The server executes the steps of this run; a client cannot report them.",
                    code="managed_run",
                )
            refusal = RecordRefusal(
                action=request.step_type.action, code="", reason="", step_id=request.step_id
            )
            asking = request.status == "running"
            command = await self._ask(visit, request) if asking else _report(visit, request)
            await visit.handle(command, refusal)
            step = await visit.step_view(request.step_id)
            gates = [g for g in visit.turn.touched_gates if g in visit.run.gates]
            answer = StepAnswer(
                step.decision if asking else None,
                step,
                await visit.run_view(),
                await visit.gate_view(gates[0]) if gates else None,
            )
            await visit.commit(200, answer)
        return answer

    async def _ask(self, visit: Visit, request: RecordStepRequest) -> ProposeStep:
        known = visit.run.steps.get(request.step_id)
        step_type = known.step_type if known else request.step_type.value
        attempt = known.attempt + isinstance(known.state, Failed) if known else 1
        digest = visit.keep(request.input)
        decision = await ask(
            self._parts.governor,
            visit.live,
            f"step.{step_type.lower()}",
            actor=visit.call.actor,
            now=visit.turn.now,
            step=(request.step_id, step_type, attempt),
            step_input=request.input,
            mode=visit.call.mode,
        )
        return ProposeStep(
            step_id=request.step_id, step_type=step_type, input_hash=digest, decision=decision
        )


def _report(visit: Visit, request: RecordStepRequest) -> CompleteStep | FailStep:
    if request.status == "completed":
        return CompleteStep(step_id=request.step_id, output_hash=visit.keep(request.output))
    error = request.error
    return FailStep(
        step_id=request.step_id,
        error_type=REPORTED,
        error_hash=visit.keep(error) if error is not None else None,
    )
