"""Gates: asking people, and their answers."""

from typing import Any

import structlog

from ..engine.asking import ask
from ..errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from ..ledger import queries
from ..spine.commands import AnswerGate, BypassGate, RecordRefusal, RequestGate
from ..spine.decision import Decision
from ..spine.handle_gates import check_may_answer
from ..spine.schemas import compile_schema, validate
from .call import Call
from .parts import Parts, Visit, anew
from .reading import read_gates
from .requests import AnswerGateRequest, BypassRequest, RequestGateRequest, ResumeRequest
from .views import Gate, Resumed

__all__ = ["Gates"]


class Gates:
    """`fc.gates`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @anew
    async def request(self, call: Call, run_id: str, request: RequestGateRequest) -> Gate:
        """Ask people, and pause the run until they have answered. `timeout_seconds` of silence
        count as a refusal."""
        call.caller.require("workflow:write")
        _check_quorum(request)
        if request.input_schema is not None:
            compile_schema(request.input_schema)
        async with self._parts.visit(call, run_id) as visit:
            schema = request.input_schema
            command = RequestGate(
                step_id=request.step_id,
                gate_type=request.gate_type,
                gate_name=request.gate_name,
                description=request.description,
                required_approvers=tuple(request.required_approvers),
                quorum=request.quorum,
                expires_s=request.timeout_seconds,
                input_schema_hash=visit.keep(schema) if schema is not None else None,
            )
            refusal = RecordRefusal(action="gate.request", code="", reason="")
            await visit.handle(command, refusal)
            gate = await visit.gate_view(next(iter(visit.turn.touched_gates)))
            await visit.commit(201, gate)
        return gate

    async def pending(
        self, call: Call, *, approver_id: str | None = None, limit: int = 1_000
    ) -> list[Gate]:
        """Gates of the tenant that wait for people, oldest first; with `approver_id` only those
        that this actor is asked at by name, or by a role where it is the caller, or that take
        anyone's answer."""
        call.caller.require("gate:read")
        gates = await self._parts.ledger.read(read_gates, call.tenant, limit=limit)
        if approver_id is None:
            return gates
        own = call.actor.roles if approver_id == call.actor.actor_id else ()
        wanted = {approver_id, *(f"role:{role}" for role in own)}
        return [g for g in gates if not g.required_approvers or wanted & set(g.required_approvers)]

    @anew
    async def answer(
        self, call: Call, run_id: str | None, gate_id: str, request: AnswerGateRequest
    ) -> Gate:
        """Approve or reject. Raises `Forbidden` (and leaves a line in the log, and the gate as it
        was) for an actor who is not asked, `Conflict` for a gate that is not pending."""
        async with self._answering(call, run_id, gate_id) as visit:
            await _admit(visit, gate_id)
            gate = visit.run.gates[gate_id]
            if request.status == "approved" and gate.input_schema_hash and not gate.input_hash:
                await self._check_input(visit, gate_id, {})
            await self._answer(
                visit,
                gate_id,
                approve=request.status == "approved",
                reason=request.rejection_reason,
            )
            view = await visit.gate_view(gate_id)
            await visit.commit(200, view)
        return view

    @anew
    async def resume(self, call: Call, run_id: str, request: ResumeRequest) -> Resumed:
        """Answer with an input: it is checked against the gate's schema, and its hash written to
        the ledger. A failed check changes nothing."""
        gate_id = _gate_id(request, run_id)
        async with self._answering(call, run_id, gate_id) as visit:
            await _admit(visit, gate_id)
            approve = request.decision == "approve"
            if approve:
                await self._check_input(visit, gate_id, request.input)
            await self._answer(
                visit,
                gate_id,
                approve=approve,
                reason=request.reason,
                given=request.input,
                receipt_id=request.decision_receipt_id,
            )
            gates = [await visit.gate_view(g) for g in visit.run.gates]
            answer = Resumed(await visit.run_view(), await visit.new_logs(), gates)
            await visit.commit(200, answer)
        return answer

    @anew
    async def bypass(self, call: Call, run_id: str, gate_id: str, request: BypassRequest) -> Gate:
        """Emergency: let the run through without its approvers, loudly. Needs `gate:bypass`."""
        async with self._answering(call, run_id, gate_id, scope="gate:bypass") as visit:
            decision = await self._ask(visit, "gate.bypass", gate_id, {"reason": request.reason})
            await visit.handle(
                BypassGate(gate_id=gate_id, reason=request.reason, decision=decision),
                _refusal("gate.bypass", gate_id, decision),
            )
            view = await visit.gate_view(gate_id)
            await visit.commit(200, view)
        structlog.get_logger().warning(
            "emergency_bypass",
            gate=gate_id,
            run_id=visit.run.run_id,
            actor=call.actor.actor_id,
            via=call.actor.via,
            why=request.reason,
        )
        return view

    def _answering(
        self, call: Call, run_id: str | None, gate_id: str, scope: str = "gate:write"
    ) -> "_Answering":
        return _Answering(self._parts, call, run_id, gate_id, scope)

    async def _answer(
        self,
        visit: Visit,
        gate_id: str,
        *,
        approve: bool,
        reason: str | None,
        given: dict[str, Any] | None = None,
        receipt_id: str | None = None,
    ) -> None:
        about: dict[str, Any] = {"decision": "approved" if approve else "rejected"}
        decision = await self._ask(visit, "gate.resolve", gate_id, about | {"input": given or {}})
        command = AnswerGate(
            gate_id=gate_id,
            approve=approve,
            reason=reason,
            with_input=given is not None,
            input_hash=visit.keep(given) if given is not None else None,
            happened=_happened(visit, gate_id, given),
            decision_receipt_id=receipt_id,
            strict=_is_strict(visit),
            decision=decision,
        )
        await visit.handle(command, _refusal("gate.resolve", gate_id, decision))

    async def _ask(
        self, visit: Visit, action: str, gate_id: str, about: dict[str, Any]
    ) -> Decision:
        gate = visit.run.gates[gate_id]
        step = visit.run.steps.get(gate.step_id) if gate.step_id else None
        facts = {"gate_id": gate_id, "gate_name": gate.gate_name, "gate_type": gate.gate_type}
        return await ask(
            self._parts.governor,
            visit.live,
            action,
            actor=visit.call.actor,
            now=visit.turn.now,
            step=(step.step_id, step.step_type, step.attempt) if step else None,
            step_input=about | facts,
            mode=visit.call.mode,
        )

    async def _check_input(self, visit: Visit, gate_id: str, given: dict[str, Any]) -> None:
        digest = visit.run.gates[gate_id].input_schema_hash
        if digest is None:
            return
        await visit.load([digest])
        if digest not in visit.live.values:
            raise Conflict(
                "The schema of its input was erased, so no input can be checked; reject the gate.",
                code="gate_schema_erased",
            )
        errors = validate(visit.live.values[digest], given)
        if errors:
            raise InvalidInput(
                f"The gate asks for an input that this is not: {errors[0].path or '/'}: "
                f"{errors[0].message}. Send it with :resume.",
                code="gate_input_invalid",
                errors=[FieldError(f"/input{e.path}", e.message) for e in errors],
            )


class _Answering:
    """The visit of somebody who answers a gate. Whoever reaches for a gate that is not theirs gets
    `NotFound`, and a line in the log of the run it belongs to."""

    def __init__(
        self, parts: Parts, call: Call, run_id: str | None, gate_id: str, scope: str
    ) -> None:
        self._parts, self._call = parts, call
        self._run_id, self._gate_id, self._scope = run_id, gate_id, scope

    async def __aenter__(self) -> Visit:
        call, gate_id = self._call, self._gate_id
        call.caller.require(self._scope)
        found = await self._parts.ledger.read(queries.run_of_gate, gate_id)
        missing = NotFound(f"There is no gate {gate_id}.", code="gate_not_found")
        if found is None or (self._run_id is not None and found[0] != self._run_id):
            if self._run_id is not None:
                await self._parts.ledger.read(_require_own, call.tenant, self._run_id)
            raise missing
        self._held = self._parts.runs.hold(found[0])
        live = await self._held.__aenter__()
        visit = Visit(self._parts, call, live)
        if live.run.tenant != call.tenant:
            refusal = RecordRefusal(
                action="gate.resolve",
                code="",
                reason="",
                gate_id=gate_id,
                actor_tenant=call.tenant,
            )
            try:
                await visit.record(refusal, missing)
            finally:
                await self._held.__aexit__(None, None, None)
            raise missing
        return visit

    async def __aexit__(self, *exc: Any) -> None:
        await self._held.__aexit__(*exc)


def _happened(visit: Visit, gate_id: str, given: dict[str, Any] | None) -> bool | None:
    """What an input says at the gate of a step in doubt; it fits the gate's schema."""
    if given is None or visit.run.gates[gate_id].gate_type != "in_doubt":
        return None
    return bool(given.get("happened"))


def _is_strict(visit: Visit) -> bool:
    """Whether the run, its tenant's bundle now, or the caller asks for separated duties."""
    now = visit.parts.governor.mode(visit.run.tenant, visit.call.mode)
    return "strict" in (visit.run.policy_mode, now)


async def _admit(visit: Visit, gate_id: str) -> None:
    """Who may not answer is told so before anything about their answer is, and is on record."""
    try:
        check_may_answer(visit.turn, gate_id, strict=_is_strict(visit))
    except Forbidden as e:
        await visit.record(
            RecordRefusal(action="gate.resolve", code="", reason="", gate_id=gate_id), e
        )
        raise


def _require_own(c: Any, tenant: str, run_id: str) -> None:
    if queries.run_row(c, tenant, run_id) is None:
        raise NotFound(f"There is no run {run_id}.", code="run_not_found")


def _refusal(action: str, gate_id: str, decision: Decision) -> RecordRefusal:
    return RecordRefusal(
        action=action,
        code="",
        reason="",
        gate_id=gate_id,
        decision=decision if decision.decision != "allow" else None,
    )


def _gate_id(request: ResumeRequest, run_id: str) -> str:
    gate_id = request.gate_id or request.gateId
    if not gate_id:
        error = FieldError("/gate_id", "required")
        raise InvalidInput("Name the gate that is answered as gate_id.", errors=[error])
    for other in (request.run_id, request.runId):
        if other is not None and other != run_id:
            error = FieldError("/run_id", "differs from the run in the path")
            raise InvalidInput("run_id names another run than the path does.", errors=[error])
    return gate_id


def _check_quorum(request: RequestGateRequest) -> None:
    named = set(request.required_approvers)
    by_role = any(a.startswith("role:") for a in named)
    if named and not by_role and request.quorum > len(named):
        error = FieldError("/quorum", f"only {len(named)} approvers are named")
        raise InvalidInput(
            f"A quorum of {request.quorum} cannot be reached by {len(named)} approvers.",
            errors=[error],
        )
