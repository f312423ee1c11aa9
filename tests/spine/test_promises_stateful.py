"""Longer lives than can be enumerated: random workflows, random people, crashes between turns.

The same auditor as in the exhaustive test watches. At the end a driver that is allowed everything,
and people who approve everything, must bring the run to its end: nothing before may have left it
stuck.
"""

from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.spine_auditor import Auditor
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    APPROVER_2,
    DENY,
    FLAG_BOTH,
    FLAG_FIN,
    FLAG_OPS,
    INPUT,
    LOG,
    OFFICER,
    OUTPUT,
    ROLES,
    START,
    STARTER,
    STRANGER,
    TENANT,
    benign,
    birth,
    fan_step,
    fork,
    gate_step,
    same,
    step,
    workflow,
)

from federation_core.errors import CallerError
from federation_core.spine.actions import Ask, next_actions
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.commands import (
    AnswerGate,
    BypassGate,
    ChangeStatus,
    Command,
    CompleteRun,
    CompleteStep,
    ExpireGate,
    FailStep,
    FanOutStep,
    ProposeStep,
    RecoverStep,
    RequestGate,
    RetryStep,
    SkipStep,
    StartRun,
    TimeOutRun,
)
from federation_core.spine.decision import Decision, PolicyMode
from federation_core.spine.definition import GateSpec, StepSpec, Workflow
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS, RunStatus
from federation_core.spine.fold import replay
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.turn import Turn

PEOPLE = (APPROVER_1, APPROVER_2, OFFICER, STRANGER, STARTER)
decisions = st.sampled_from((ALLOW,) * 8 + (FLAG_FIN, FLAG_OPS, FLAG_BOTH, DENY))
hurries = st.sampled_from((False, False, True))
kinds = st.sampled_from(("OBSERVE", "ACT", "ACT", "TRANSFORM", "GATE"))
gates = st.sampled_from(
    (
        None,
        GateSpec("Go?", approvers=("role:fin",), quorum=2, expires_s=600),
        GateSpec("Anyone?", approvers=("officer", "role:fin")),
    )
)

ends = st.sampled_from(("well",) * 5 + ("fails, may retry",) * 2 + ("fails", "lost"))
"""How an execution ends; lost is one of which nobody sees the end."""


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """Three to eight steps, each needing any of those before it."""
    steps: list[StepSpec] = []
    for i in range(draw(st.integers(3, 8))):
        needs = tuple(s.id for s in steps if draw(st.integers(0, 2)) == 0)
        kind = draw(kinds)
        if kind == "GATE":
            steps.append(gate_step(f"s{i}", *needs, gate=draw(gates)))
            continue
        attempts, idempotent = draw(st.integers(1, 3)), draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            fan = fan_step(f"s{i}", *needs, concurrency=draw(st.integers(1, 3)), attempts=attempts)
            steps.append(msgspec.structs.replace(fan, idempotent=idempotent))
            continue
        steps.append(step(f"s{i}", *needs, kind=kind, attempts=attempts, idempotent=idempotent))
    return workflow(*steps, timeout_ms=5_000_000) if draw(hurries) else workflow(*steps)


class RunMachine(RuleBasedStateMachine):
    definition: Workflow
    run: Run
    auditor: Auditor
    stored: list[bytes]
    executing: set[str]
    now: int

    @initialize(
        definition=workflows(),
        mode=st.sampled_from(("strict", "loose")),
        decision=st.sampled_from((ALLOW, ALLOW, ALLOW, FLAG_FIN)),
    )
    def create(self, definition: Workflow, mode: PolicyMode, decision: Decision) -> None:
        self.definition = definition
        self.run = Run(definition, "r1", TENANT)
        self.auditor = Auditor(msgspec.to_builtins(definition), ROLES)
        self.stored, self.executing, self.now = [], set(), START
        self.do(birth(definition, mode=mode, decision=decision), STARTER)
        self.do(StartRun(decision=ALLOW))

    def do(self, command: Command, actor: Actor = SYSTEM) -> bool:
        """Whether it was answered; where it was refused nothing may have changed."""
        self.now += 1_000
        before = fork(self.run)
        new_id = lambda: f"g{len(self.run.gates)}"  # noqa: E731
        turn = Turn(self.run, actor=actor, now=self.now, new_id=new_id, log=LOG)
        try:
            handle(turn, command)
        except CallerError:
            assert not turn.events
            assert same(self.run, before)
            return False
        bodies = [event.body for event in turn.events]
        permits = [(p.step_id, p.attempt, p.input_hash) for p in turn.permits]
        self.auditor.see_turn(bodies, permits)
        self.stored += bodies
        self.executing |= {p.step_id for p in turn.permits}
        return True

    # the driver

    @rule(decision=decisions, which=st.integers(0, 7))
    def drive(self, decision: Decision, which: int) -> None:
        """One of the next actions, decided so."""
        self._act(decision, which)

    @rule(which=st.integers(0, 7), ends=st.lists(ends, min_size=2, max_size=8))
    def drive_on(self, which: int, ends: list[str]) -> None:
        """A stretch of ordinary life: all is allowed, executions end somehow, people approve."""
        for end in ends:
            if self._act(ALLOW, which):
                continue
            if self.run.open_gates:
                self._approve(next(iter(self.run.open_gates)))
            elif self.executing:
                self._end(which, end)

    def _act(self, decision: Decision, which: int) -> bool:
        actions = next_actions(self.run, self.now, executing=self.executing).actions
        if not actions:
            return False
        chosen = which % len(actions)
        command = benign(self.run, self.now, self.executing)[chosen]
        if isinstance(actions[chosen], Ask):
            command = msgspec.structs.replace(command, decision=decision)
        assert self.do(command), "what the run waits for is refused"
        return True

    @precondition(lambda self: self.executing)
    @rule(which=st.integers(0, 7), end=ends)
    def executed(self, which: int, end: str) -> None:
        self._end(which, end)

    def _end(self, which: int, end: str) -> None:
        step_id = sorted(self.executing)[which % len(self.executing)]
        self.executing.discard(step_id)
        if end == "well":
            self.do(CompleteStep(step_id=step_id, output_hash=OUTPUT))
        elif end != "lost":
            again = end == "fails, may retry"
            self.do(FailStep(step_id=step_id, error_type="X", retriable=again))

    @rule()
    def crash(self) -> None:
        """The driver is gone with all it held; another reads the ledger."""
        reread = replay([decode(body, RUN_EVENTS) for body in self.stored], self.definition)
        assert same(reread, self.run)
        self.run, self.executing = reread, set()

    @rule(seconds=st.sampled_from((1, 60, 700, 4000)))
    def wait(self, seconds: int) -> None:
        self.now += seconds * 1_000_000

    # people

    @precondition(lambda self: self.run.open_gates)
    @rule(actor=st.sampled_from(PEOPLE), approve=st.integers(0, 19), given=st.booleans())
    def answer(self, actor: Actor, approve: int, given: bool) -> None:
        gate_id = next(iter(self.run.open_gates))
        if approve == 1:
            self.do(BypassGate(gate_id=gate_id, reason="emergency", decision=ALLOW), OFFICER)
        else:
            self.do(_answer(gate_id, approve=approve != 0, given=given), actor)

    @rule(
        status=st.sampled_from(("running", "running", "paused", "completed")),
        decision=decisions,
        gate_for=st.sampled_from(("", "", "", "s0")),
    )
    def client(self, status: RunStatus, decision: Decision, gate_for: str) -> None:
        if gate_for:
            self.do(RequestGate(step_id=gate_for, gate_name="ask"), OFFICER)
        else:
            self.do(ChangeStatus(status=status, decision=decision), STARTER)

    # nonsense

    @rule(data=st.data(), decision=decisions)
    def nonsense(self, data: st.DataObject, decision: Decision) -> None:
        """Whatever comes, whenever: a zombie driver, a client that is confused."""
        step_id = data.draw(st.sampled_from(sorted(self.run.steps)))
        commands: tuple[Command, ...] = (
            StartRun(decision=decision),
            CompleteRun(output_hash=OUTPUT, decision=decision),
            ProposeStep(step_id=step_id, step_type="ACT", input_hash=INPUT, decision=decision),
            CompleteStep(step_id=step_id, output_hash=OUTPUT),
            SkipStep(step_id=step_id),
            FanOutStep(step_id=step_id, items=data.draw(st.integers(0, 3)), items_hash=INPUT),
            TimeOutRun(),
            RecoverStep(step_id=step_id),
            RetryStep(step_id=step_id),
            ExpireGate(gate_id=f"g{data.draw(st.integers(0, 3))}"),
        )
        command = data.draw(st.sampled_from(commands))
        if self.do(command) and step_id not in self.run.in_flight:
            self.executing.discard(step_id)

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        for _ in range(80 * len(self.run.specs)):
            if self.run.is_ended:
                break
            self._one_good_turn()
        assert self.run.is_ended, "nobody can bring it to an end"
        reread = replay([decode(body, RUN_EVENTS) for body in self.stored], self.definition)
        assert same(reread, self.run)

    def _approve(self, gate_id: str) -> None:
        for actor in (APPROVER_1, APPROVER_2, OFFICER):
            self.do(_answer(gate_id, approve=True, given=True), actor)

    def _one_good_turn(self) -> None:
        for gate_id in list(self.run.open_gates):
            self._approve(gate_id)
        if self.run.held and not self.run.open_gates:
            self.do(ChangeStatus(status="running", decision=ALLOW), STRANGER)
        for step_id in list(self.executing):
            self.do(CompleteStep(step_id=step_id, output_hash=OUTPUT))
        self.executing.clear()
        self.now += 3_600_000_000
        for command in benign(self.run, self.now, self.executing)[:1]:
            assert self.do(command), "what the run waits for is refused"


def _answer(gate_id: str, *, approve: bool, given: bool) -> AnswerGate:
    facts: dict[str, Any] = {"with_input": True, "input_hash": INPUT} if given else {}
    return AnswerGate(gate_id=gate_id, approve=approve, decision=ALLOW, **facts)


TestLife = RunMachine.TestCase
TestLife.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
