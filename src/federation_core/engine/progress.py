"""One turn of the engine at one run: record what ended, decide what follows, and so on until
nothing is left to do at once. All of it is one append."""

from typing import Any

import msgspec

from ..errors import InvalidInput, TooLarge
from ..ledger import Payload
from ..spine.actions import (
    Action,
    Ask,
    AskRun,
    CloseGateStep,
    Expire,
    FanOut,
    Finish,
    Join,
    Recover,
    ResolveDoubt,
    TimeOut,
    next_actions,
)
from ..spine.actor import SYSTEM, Actor
from ..spine.children import is_child_step
from ..spine.commands import (
    AbandonRun,
    CompleteRun,
    CompleteStep,
    ExpireGate,
    FailRun,
    FailStep,
    FanOutStep,
    ProposeStep,
    RecoverStep,
    RetryStep,
    SkipStep,
    StartRun,
    TimeOutRun,
)
from ..spine.decision import Decision
from ..spine.definition import StepSpec
from ..spine.expressions import ExpressionError
from ..spine.failures import error_value, is_error_type
from ..spine.handle import handle
from ..spine.run import Run
from ..spine.steps import Running
from ..spine.turn import Turn
from .asking import ValueMissing, ask, needed, scope
from .children import VIA
from .compiled import CompiledStep, CompiledWorkflow
from .execution import Fault, Job, Outcome
from .gathering import output_hashes
from .governor import Governor
from .live import LiveRun
from .ports import NewId
from .sealing import seal_payload

__all__ = ["Progress"]

_UNFIT = (ExpressionError, InvalidInput, TooLarge, ValueMissing)
"""What fails a run. Any other error is the server's own, and may be gone the next time."""

_Unfit = ExpressionError | InvalidInput | TooLarge | ValueMissing

_NAMELESS = "StepError"
"""The type of a failure whose own is no name."""


class Progress:
    """Make it, `record` and `advance`, and append `turn` with `payloads`; then `jobs` says how to
    execute each permit that the append returned, and `joins` which steps wait for child runs.
    `wake_at` is when time alone brings more (microseconds).
    """

    def __init__(
        self,
        live: LiveRun,
        governor: Governor,
        compiled: CompiledWorkflow | None,
        *,
        now: int,
        new_id: NewId,
        log: str,
        node: str | None = None,
    ) -> None:
        self.live = live
        self.run: Run = live.run
        self.payloads: list[Payload] = []
        self.jobs: dict[str, Job] = {}
        self.wake_at: int | None = None
        self.joins: tuple[Join, ...] = ()
        self._governor = governor
        self._compiled = compiled
        self._inputs: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.turn = Turn(
            self.run, actor=_actor(self.run), now=now, new_id=new_id, log=log, node=node
        )

    def record(self, outcomes: list[Outcome]) -> None:
        """Take in how attempts ended."""
        for outcome in outcomes:
            self._record(outcome)

    async def advance(self, executing: set[str]) -> None:
        """Take every action there is. `executing` are the steps that this driver is executing."""
        while True:
            held = executing.union(p.step_id for p in self.turn.permits)
            turn = self.turn
            following = next_actions(self.run, turn.now, executing=held, set_back=turn.set_back)
            self.wake_at, self.joins = following.wake_at, following.joins
            if not following.actions:
                break
            for action in following.actions:
                await self._take(action)
                # What the spine made itself (a gate step's output) is there to be looked at.
                self.live.values.take(self.turn.values)
        for permit in self.turn.permits:
            step_input, seen = self._inputs[permit.step_id]
            self.jobs[permit.step_id] = Job.of(self.run, permit, step_input, seen)

    def abandon(self) -> None:
        """Nobody waits for this run any more, whose end somebody else's step was to be."""
        if not self.run.is_ended:
            handle(self.turn, AbandonRun())

    def _record(self, outcome: Outcome) -> None:
        state = self.run.steps[outcome.step_id].state
        if not isinstance(state, Running) or state.permit.attempt != outcome.attempt:
            return  # the run ended, or somebody else drives it: this outcome is not part of it
        if outcome.error is None:
            digest = self._output(outcome)
            handle(self.turn, CompleteStep(step_id=outcome.step_id, output_hash=digest))
        else:
            self._fail_step(outcome.step_id, outcome.error, retriable=outcome.retriable)

    def _fail_step(self, step_id: str, fault: Fault, *, retriable: bool = False) -> None:
        kind, message = fault.type, fault.message
        if not is_error_type(kind):
            kind, message = _NAMELESS, f"{kind}: {message}"
        digest = self._seal_error(kind, message, sensitive=self._spec(step_id).sensitive)
        command = FailStep(step_id=step_id, error_type=kind, error_hash=digest, retriable=retriable)
        handle(self.turn, command)

    def _seal_error(self, kind: str, message: str, *, sensitive: bool) -> str:
        payload = seal_payload(error_value(kind, message), sensitive=sensitive)
        self.payloads.append(payload)
        return payload.hash

    def _output(self, outcome: Outcome) -> str:
        if outcome.payload is None:
            return self._seal_output(outcome.step_id, outcome.output)
        return self._keep(outcome.payload, msgspec.json.decode(outcome.payload.value))

    def _seal_output(self, step_id: str, value: Any) -> str:
        sensitive = self._spec(step_id).sensitive
        return self._keep(seal_payload(value, sensitive=sensitive), value)

    def _keep(self, payload: Payload, value: Any) -> str:
        self.payloads.append(payload)
        self.live.values.put(payload.hash, value, len(payload.value))
        return payload.hash

    def _spec(self, step_id: str) -> StepSpec:
        spec = self.run.spec_of(step_id)
        assert spec is not None
        return spec

    async def _take(self, action: Action) -> None:
        """An action that an earlier one of the same turn has overtaken is left."""
        if self.run.is_ended:
            return
        match action:
            case Ask():
                await self._ask_step(action)
            case FanOut(step_id):
                await self._fan_out(step_id)
            case AskRun():
                await self._start()
            case TimeOut():
                handle(self.turn, TimeOutRun())
            case Finish():
                await self._finish()
            case Recover(step_id):
                await self._recover(step_id)
            case Expire(gate_id):
                self._expire(gate_id)
            case CloseGateStep() | ResolveDoubt():
                await self._close_gate(action)

    async def _ask_step(self, action: Ask) -> None:
        run, step_id = self.run, action.step_id
        step = run.steps[step_id]
        if run.status != "running" or run.doomed is not None or step.attempt != action.attempt:
            return
        try:
            command = await self._proposal(step_id)
        except _UNFIT as e:
            why = f"step {step_id} cannot be put to policy"
            self._fail(e, why, sensitive=self._spec(step_id).sensitive)
            return
        handle(self.turn, command)

    async def _fan_out(self, step_id: str) -> None:
        run = self.run
        if run.status != "running" or run.doomed is not None or step_id in run.fans:
            return
        try:
            command = await self._spread(step_id)
        except _UNFIT as e:
            why = f"step {step_id} has no list of items"
            self._fail(e, why, sensitive=self._spec(step_id).sensitive)
            return
        handle(self.turn, command)

    async def _spread(self, step_id: str) -> FanOutStep | SkipStep:
        compiled = self._workflow.steps[step_id]
        seen = await scope(self.live, compiled.reads_first)
        if compiled.condition is not None and not compiled.condition.evaluate(seen):
            return SkipStep(step_id=step_id)
        assert compiled.listing is not None
        items = compiled.listing.evaluate(seen)
        payload = seal_payload(items, sensitive=self._spec(step_id).sensitive)
        self.payloads.append(payload)
        self.live.keep_items(payload)
        return FanOutStep(step_id=step_id, items=len(items), items_hash=payload.hash)

    def _compiled_step(self, step_id: str) -> CompiledStep:
        return self._workflow.steps[self.run.planned_id(step_id)]

    async def _proposal(self, step_id: str) -> ProposeStep | SkipStep:
        step, spec = self.run.steps[step_id], self._spec(step_id)
        compiled = self._compiled_step(step_id)
        seen = await scope(self.live, compiled.reads, step_id)
        condition = None if spec.fans_out else compiled.condition
        if condition is not None and not condition.evaluate(seen):
            return SkipStep(step_id=step_id)
        value = compiled.input.evaluate(seen)
        salt = await self.live.salt_of(step.input_hash) if spec.sensitive else None
        digest = self._keep(seal_payload(value, sensitive=spec.sensitive, salt=salt), value)
        self._inputs[step_id] = (value, seen)
        decision = await ask(
            self._governor,
            self.live,
            spec.type.action,
            actor=self.run.starter,
            now=self.turn.now,
            step=(step_id, spec.type.value, step.attempt),
            step_input=value,
        )
        return ProposeStep(
            step_id=step_id, step_type=spec.type.value, input_hash=digest, decision=decision
        )

    @property
    def _workflow(self) -> CompiledWorkflow:
        assert self._compiled is not None
        return self._compiled

    async def _start(self) -> None:
        try:
            given = await needed(self.live, self.run.input_hash)
            decision = await self._ask_run("run.start", given)
        except _UNFIT as e:
            self._fail(e, "the run cannot be put to policy", sensitive=self.run.sensitive)
            return
        handle(self.turn, StartRun(decision=decision))

    async def _finish(self) -> None:
        if self.run.status != "running":
            return
        template = self._workflow.output
        try:
            output = template.evaluate(await scope(self.live, self._workflow.output_reads))
            digest = self._keep(await self._seal_run_output(output), output)
            decision = await self._ask_run("run.complete")
        except _UNFIT as e:
            self._fail(e, "the run has no output", sensitive=await self._is_sensitive())
            return
        handle(self.turn, CompleteRun(output_hash=digest, decision=decision))

    async def _seal_run_output(self, output: Any) -> Payload:
        """What comes of a sensitive step may be as sensitive: then the output is salted, with the
        salt that it had when its approval was asked for."""
        if not await self._is_sensitive():
            return seal_payload(output)
        asked = [g.subject_hash for g in self.run.gates.values() if g.action == "run.complete"]
        salt = await self.live.salt_of(asked[-1]) if asked else None
        return seal_payload(output, sensitive=True, salt=salt)

    async def _is_sensitive(self) -> bool:
        """Whether anything of the run is; of a child run's output its own stream tells."""
        run = self.run
        if run.sensitive or any(spec.sensitive for spec in run.specs.values()):
            return True
        fresh = {payload.hash for payload in self.payloads if payload.salt}
        for spec in run.specs.values():
            hashes = output_hashes(run, spec.id) if is_child_step(spec) else []
            if not fresh.isdisjoint(hashes) or await self.live.are_salted(hashes):
                return True
        return False

    async def _ask_run(self, action: str, subject: Any = None) -> Decision:
        return await ask(
            self._governor,
            self.live,
            action,
            actor=self.run.starter,
            now=self.turn.now,
            step_input=subject,
        )

    def _fail(self, error: _Unfit, reason: str, *, sensitive: bool) -> None:
        """What the error says may quote a value; it is salted where that would be."""
        digest = self._seal_error(error.error_code, error.detail, sensitive=sensitive)
        handle(self.turn, FailRun(code=error.error_code, reason=reason, error_hash=digest))

    async def _recover(self, step_id: str) -> None:
        state = self.run.steps[step_id].state
        assert isinstance(state, Running)
        if self._spec(step_id).idempotent and self.run.doomed is None:
            try:
                value = await needed(self.live, state.permit.input_hash)
                seen = await scope(self.live, self._compiled_step(step_id).reads, step_id)
            except (ValueMissing, TooLarge) as e:
                kind = "InputErased" if isinstance(e, ValueMissing) else "TooLarge"
                self._fail_step(step_id, Fault(kind, e.detail))
                return
            self._inputs[step_id] = (value, seen)
        handle(self.turn, RecoverStep(step_id=step_id))

    def _expire(self, gate_id: str) -> None:
        self.turn.actor = SYSTEM
        handle(self.turn, ExpireGate(gate_id=gate_id))
        self.turn.actor = _actor(self.run)

    async def _close_gate(self, action: CloseGateStep | ResolveDoubt) -> None:
        """People passed the gate a step waits at: take what they said."""
        step_id, gate = action.step_id, self.run.gates[action.gate_id]
        try:
            said = await needed(self.live, gate.input_hash)
        except ValueMissing as e:
            why = f"nobody knows what was said at gate {gate.gate_name}"
            self._fail(e, why, sensitive=self._spec(step_id).sensitive)
            return
        if isinstance(action, CloseGateStep):
            approvers = [a.actor_id for a in gate.approvals]
            output: Any = {"approved": True, "approved_by": approvers, "input": said}
        elif said and said.get("happened"):
            output = said.get("output")
        else:
            handle(self.turn, RetryStep(step_id=step_id))
            return
        digest = self._seal_output(step_id, output)
        handle(self.turn, CompleteStep(step_id=step_id, output_hash=digest))


def _actor(run: Run) -> Actor:
    return Actor(run.actor_id, run.actor_kind, run.actor_roles, VIA)
