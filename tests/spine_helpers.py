"""Builders for tests of the spine: decisions, workflows, people, and a run that can be driven."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from federation_core.spine.actions import (
    Action,
    Ask,
    AskRun,
    CloseGateStep,
    Expire,
    FanOut,
    Finish,
    Recover,
    ResolveDoubt,
    TimeOut,
    next_actions,
)
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.canonical import value_hash
from federation_core.spine.commands import (
    AnswerGate,
    BypassGate,
    ChangeStatus,
    Command,
    CompleteRun,
    CompleteStep,
    CreateRun,
    ExpireGate,
    FailStep,
    FanOutStep,
    ProposeStep,
    RecordRefusal,
    RecoverStep,
    RequestGate,
    RetryStep,
    SkipStep,
    StartRun,
    TimeOutRun,
)
from federation_core.spine.decision import Decision, Effect, Flag, PolicyMode
from federation_core.spine.definition import (
    ExpressionWork,
    GateSpec,
    Retry,
    StepSpec,
    StepType,
    Workflow,
)
from federation_core.spine.envelope import Event, decode
from federation_core.spine.events import RUN_EVENTS, RunStatus
from federation_core.spine.fold import replay
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.step_table import StepTable
from federation_core.spine.steps import Waiting
from federation_core.spine.turn import Turn

__all__ = [
    "ALLOW",
    "APPROVER_1",
    "APPROVER_2",
    "DENY",
    "ENGINE",
    "FLAG",
    "FLAG_BOTH",
    "FLAG_FIN",
    "FLAG_OPS",
    "INPUT",
    "LOG",
    "LONG",
    "OFFICER",
    "OTHER_INPUT",
    "OUTPUT",
    "PAIR",
    "ROLES",
    "SAID",
    "START",
    "STARTER",
    "STRANGER",
    "TENANT",
    "Life",
    "benign",
    "birth",
    "decided",
    "doomed",
    "fan_step",
    "fork",
    "gate_step",
    "long_life",
    "reread",
    "said",
    "same",
    "step",
    "workflow",
]

LOG = "federation-core/test"
TENANT = "t"
START = 1_795_435_200_000_000
"""2026-11-23T12:00:00Z in microseconds."""

INPUT, OTHER_INPUT, OUTPUT = "a" * 64, "b" * 64, "c" * 64
SAID = "d" * 64
"""The payload of a failure."""

STARTER = Actor("starter", kind="person", roles=("fin",), via="gateway")
ENGINE = Actor("starter", kind="person", roles=("fin",), via="engine")
"""The engine, which takes a run on for who started it."""
APPROVER_1 = Actor("approver_1", kind="person", roles=("fin",))
APPROVER_2 = Actor("approver_2", kind="person", roles=("fin",), via="console")
OFFICER = Actor("officer", kind="person", roles=("ops",))
STRANGER = Actor("stranger", kind="person")
ROLES = {a.actor_id: frozenset(a.roles) for a in (STARTER, APPROVER_1, APPROVER_2, OFFICER)}
"""Who holds which role: what the events do not tell."""


def decided(effect: Effect, *flags: Flag, **facts: Any) -> Decision:
    """A decision as policy would make it."""
    plain: dict[str, Any] = {
        "reason": f"it is {effect}",
        "policy_id": "test",
        "policy_hash": "d" * 64,
        "tier": "0",
        "rules_triggered": tuple(f.rule for f in flags) or ("base",),
        "request_hash": "e" * 64,
        "duration_us": 40,
    }
    return Decision(effect, **(plain | facts), flags=flags)


FLAG = Flag("large", approvers=("role:fin",), expires_s=3600)
ALLOW, DENY = decided("allow"), decided("deny")
FLAG_FIN = decided("flag", FLAG)
FLAG_OPS = decided("flag", Flag("odd", approvers=("role:ops",)))
FLAG_BOTH = decided("flag", *FLAG_FIN.flags, *FLAG_OPS.flags)


def step(
    step_id: str, *needs: str, kind: str = "ACT", attempts: int = 1, idempotent: bool = False
) -> StepSpec:
    return StepSpec(
        id=step_id,
        type=StepType(kind),
        needs=needs,
        work=ExpressionWork(1),
        retry=Retry(max_attempts=attempts),
        idempotent=idempotent,
    )


def fan_step(
    step_id: str, *needs: str, concurrency: int = 2, attempts: int = 1, idempotent: bool = False
) -> StepSpec:
    """A step that is done for each item of a list."""
    plain = step(step_id, *needs, attempts=attempts, idempotent=idempotent)
    return msgspec.structs.replace(plain, foreach="input.list", concurrency=concurrency)


def gate_step(step_id: str, *needs: str, gate: GateSpec | None = None) -> StepSpec:
    return StepSpec(id=step_id, type=StepType.GATE, needs=needs, gate=gate)


def workflow(*steps: StepSpec, timeout_ms: int | msgspec.UnsetType = msgspec.UNSET) -> Workflow:
    return Workflow(id="wf", version="1.0.0", steps=steps, timeout_ms=timeout_ms)


def birth(
    definition: Workflow | None, *, mode: PolicyMode = "strict", decision: Decision = ALLOW
) -> CreateRun:
    """The creation of a run: managed where there is a definition, else external."""
    return CreateRun(
        run_id="r1",
        tenant=TENANT,
        workflow_id="wf",
        workflow_version="1.0.0",
        definition_hash=definition.definition_hash if definition else None,
        execution="managed" if definition else "external",
        policy_mode=mode,
        input_hash=INPUT,
        metadata_hash=INPUT,
        correlation_id="t:t|c:1",
        decision=decision,
    )


_facts = attrgetter(*Run.__slots__)


def same(one: Run, other: Run) -> bool:
    """`one.view() == other.view()`, and quick."""
    return bool(_facts(one) == _facts(other))


def fork(run: Run) -> Run:
    """A copy that goes its own way."""
    copy = Run.__new__(Run)
    for name, value in zip(Run.__slots__, _facts(run), strict=True):
        setattr(copy, name, value.copy() if isinstance(value, (dict, list, StepTable)) else value)
    return copy


def said(run: Run, step_id: str) -> str:
    """The hash of a step's output; of a GATE step's the right one, where nobody gave an input."""
    step = run.steps.get(step_id)
    if step is None or step.step_type != "GATE" or not isinstance(step.state, Waiting):
        return OUTPUT
    people = [a.actor_id for a in run.gates[step.state.gate_id].approvals]
    return value_hash({"approved": True, "approved_by": people, "input": None})


class Life:
    """A run, the turns that made it, and a clock that moves one second with each of them."""

    def __init__(self, definition: Workflow | None = None) -> None:
        self.definition = definition
        self.run = Run(definition, "r1", TENANT)
        self.turns: list[Turn] = []
        self.now = START

    @property
    def events(self) -> list[Event]:
        return [event for turn in self.turns for event in turn.events]

    @property
    def codes(self) -> list[str]:
        return [event.type for event in self.events]

    def do(self, command: Command, actor: Actor | None = None) -> Turn:
        self.now += 1_000_000
        if actor is None:
            actor = SYSTEM if isinstance(command, ExpireGate) else ENGINE
        turn = Turn(self.run, actor=actor, now=self.now, new_id=self.next_gate, log=LOG)
        handle(turn, command)
        self.turns.append(turn)
        return turn

    def next_gate(self) -> str:
        """The id of the next gate, when there is one."""
        return f"g{len(self.run.gates)}"

    def born(self, *, mode: PolicyMode = "strict", decision: Decision = ALLOW) -> "Life":
        self.do(birth(self.definition, mode=mode, decision=decision), STARTER)
        return self

    def started(self, *, mode: PolicyMode = "strict") -> "Life":
        """Born, and running."""
        self.born(mode=mode)
        self.do(StartRun(decision=ALLOW))
        return self

    def started_by_client(self) -> "Life":
        """An external run, running."""
        self.born()
        self.change("running")
        return self

    def propose(
        self,
        step_id: str,
        decision: Decision = ALLOW,
        *,
        kind: str = "ACT",
        input_hash: str = INPUT,
    ) -> Turn:
        return self.do(
            ProposeStep(step_id=step_id, step_type=kind, input_hash=input_hash, decision=decision)
        )

    def fan_out(self, step_id: str, items: int) -> Turn:
        return self.do(FanOutStep(step_id=step_id, items=items, items_hash=INPUT))

    def complete(self, step_id: str) -> Turn:
        return self.do(CompleteStep(step_id=step_id, output_hash=said(self.run, step_id)))

    def approve(self, gate_id: str, actor: Actor = APPROVER_1) -> Turn:
        return self.do(AnswerGate(gate_id=gate_id, approve=True, decision=ALLOW), actor)

    def reject(self, gate_id: str, actor: Actor = APPROVER_1) -> Turn:
        return self.do(AnswerGate(gate_id=gate_id, approve=False, decision=ALLOW), actor)

    def bypass(self, gate_id: str, actor: Actor = OFFICER) -> Turn:
        return self.do(BypassGate(gate_id=gate_id, reason="fire", decision=ALLOW), actor)

    def answer(self, gate_id: str, input_hash: str = INPUT, actor: Actor = APPROVER_1) -> Turn:
        """Approve with an input."""
        return self.do(
            AnswerGate(
                gate_id=gate_id,
                approve=True,
                with_input=True,
                input_hash=input_hash,
                decision=ALLOW,
            ),
            actor,
        )

    def request(self, step_id: str | None = None, **facts: Any) -> Turn:
        return self.do(RequestGate(step_id=step_id, gate_name="ask", **facts), OFFICER)

    def fail(self, step_id: str, *, retriable: bool = False) -> Turn:
        command = FailStep(
            step_id=step_id, error_type="TimeoutError", error_hash=SAID, retriable=retriable
        )
        return self.do(command)

    def recover(self, step_id: str) -> Turn:
        return self.do(RecoverStep(step_id=step_id))

    def change(
        self, status: RunStatus, decision: Decision = ALLOW, actor: Actor = STARTER, **facts: Any
    ) -> Turn:
        return self.do(ChangeStatus(status=status, decision=decision, **facts), actor)

    def replayed(self) -> Run:
        """The state read back from the stored bytes."""
        return replay(reread(self.events), self.definition)


PAIR = workflow(step("a"), step("b"))


def doomed() -> Life:
    """`b` is in flight, `a` was denied: the run fails when `b` has ended."""
    life = Life(PAIR).started()
    life.propose("b")
    life.propose("a", DENY)
    assert life.run.status == "running"
    return life


def reread(events: Iterable[Event]) -> Sequence[Event]:
    return [decode(event.body, RUN_EVENTS) for event in events]


LONG = workflow(
    step("a", kind="OBSERVE"),
    step("b", "a", attempts=2),
    gate_step("g", "b", gate=GateSpec("Go?", approvers=("role:fin",), quorum=2, expires_s=3600)),
    step("c", "g", idempotent=True),
    step("d", "c"),
    step("e", "d", kind="TRANSFORM"),
)


def long_life() -> Life:
    """A completed run with an event of nearly every kind: flags, gates, a retry, a crash, a doubt,
    a pause, a step that was skipped."""
    life = Life(LONG).started()
    life.propose("a")
    life.complete("a")
    life.propose("b", FLAG_BOTH)
    life.approve("g0")
    life.approve("g1", OFFICER)
    life.propose("b", FLAG_BOTH)
    life.fail("b", retriable=True)
    life.propose("b")
    life.complete("b")
    life.propose("g")
    life.answer("g2")
    life.approve("g2", APPROVER_2)
    life.complete("g")
    life.propose("c")
    life.recover("c")
    life.change("paused", reason="lunch")
    life.complete("c")
    life.change("running", FLAG_FIN)
    life.bypass("g3")
    life.change("running", FLAG_FIN)
    life.propose("d")
    life.recover("d")
    life.answer("g4")
    life.do(RetryStep(step_id="d"))
    life.do(
        RecordRefusal(action="gate.resolve", code="forbidden", reason="no", gate_id="g4"), STRANGER
    )
    life.propose("d")
    life.complete("d")
    life.do(SkipStep(step_id="e"))
    life.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    return life


def benign(run: Run, now: int, executing: set[str]) -> list[Command]:
    """What a driver under a policy that allows everything does next."""
    actions = next_actions(run, now, executing=executing).actions
    return [_command(run, action) for action in actions]


def _command(run: Run, action: Action) -> Command:
    match action:
        case AskRun():
            command: Command = StartRun(decision=ALLOW)
        case Ask(step_id=step_id):
            kind = run.steps[step_id].step_type
            command = ProposeStep(step_id=step_id, step_type=kind, input_hash=INPUT, decision=ALLOW)
        case FanOut(step_id=step_id):
            command = FanOutStep(step_id=step_id, items=3, items_hash=INPUT)
        case TimeOut():
            command = TimeOutRun()
        case Recover(step_id=step_id):
            command = RecoverStep(step_id=step_id)
        case ResolveDoubt(step_id=step_id):
            command = RetryStep(step_id=step_id)
        case CloseGateStep(step_id=step_id):
            command = CompleteStep(step_id=step_id, output_hash=OUTPUT)
        case Expire(gate_id=gate_id):
            command = ExpireGate(gate_id=gate_id)
        case Finish():
            command = CompleteRun(output_hash=OUTPUT, decision=ALLOW)
    return command
