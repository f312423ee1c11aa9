"""Gates: asking people, and their answers."""

from typing import Annotated

import msgspec

from ..identity import Scope
from ..service import AnswerGateRequest, BypassRequest, RequestGateRequest, ResumeRequest
from ..service.views import Gate, Resumed
from .context import Ask
from .description import examples
from .operation import operation

__all__ = ["answer_gate", "bypass_gate", "pending_gates", "request_gate", "resume_run"]

_TAG = "gates"


class GatesQuery(msgspec.Struct, frozen=True):
    """With `approver_id` only the gates that this actor may be asked at."""

    approver_id: Annotated[str, msgspec.Meta(max_length=140)] | None = None


@operation(
    "POST",
    "/workflows/runs/{run_id}/gates",
    tag=_TAG,
    status=201,
    scope=Scope.WORKFLOW_WRITE,
    example=examples.REQUEST_GATE,
)
async def request_gate(ask: Ask, run_id: str, body: RequestGateRequest) -> Gate:
    """Request a gate.

    A running run pauses until the gate has passed. Approvers are actor ids or `role:<name>`; a gate
    that names nobody takes anybody who may resolve gates. `timeout_seconds` of silence count as a
    refusal.
    """
    return await ask.core.gates.request(ask.call, run_id, body)


@operation(
    "PATCH",
    "/workflows/runs/{run_id}/gates/{gate_id}",
    tag=_TAG,
    scope=Scope.GATE_WRITE,
    example=examples.ANSWER_GATE,
)
async def answer_gate(
    ask: Ask, gate_id: str, body: AnswerGateRequest, run_id: str | None = None
) -> Gate:
    """Resolve a gate.

    An actor who is not asked gets 403; the gate stays as it is, and the attempt is in the log as
    FC-AUTH-001.
    """
    return await ask.core.gates.answer(ask.call, run_id, gate_id, body)


@operation(
    "POST",
    "/workflows/runs/{run_id}:resume",
    tag=_TAG,
    scope=Scope.GATE_WRITE,
    example=examples.RESUME,
)
async def resume_run(ask: Ask, run_id: str, body: ResumeRequest) -> Resumed:
    """Resolve a gate with an input.

    The input is checked against the gate's JSON Schema, and its hash is written to the ledger as
    FC-GATE-003. A failed check changes nothing.
    """
    return await ask.core.gates.resume(ask.call, run_id, body)


@operation(
    "POST",
    "/workflows/runs/{run_id}/gates/{gate_id}:bypass",
    tag=_TAG,
    scope=Scope.GATE_BYPASS,
    example=examples.BYPASS,
)
async def bypass_gate(ask: Ask, run_id: str, gate_id: str, body: BypassRequest) -> Gate:
    """Bypass a gate in an emergency.

    Needs a scope of its own, a reason, and policy's consent; it is loud in the log, as FC-GATE-005.
    """
    return await ask.core.gates.bypass(ask.call, run_id, gate_id, body)


@operation("GET", "/workflows/gates", tag=_TAG, scope=Scope.GATE_READ)
async def pending_gates(ask: Ask, query: GatesQuery) -> list[Gate]:
    """List the gates that wait for people, oldest first."""
    return await ask.core.gates.pending(ask.call, approver_id=query.approver_id)
