"""Every sequence of commands, up to where nothing new appears or a bound is met.

Breadth first over small workflows; two histories that leave the same state behind are followed
once. Each command that is answered is put before an auditor that knows nothing of the fold, each
that is refused must have changed nothing.
"""

from collections import deque
from collections.abc import Iterator

import msgspec
import pytest
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
    OTHER_INPUT,
    OUTPUT,
    ROLES,
    START,
    STARTER,
    STRANGER,
    TENANT,
    birth,
    decided,
    fork,
    gate_step,
    same,
    step,
    workflow,
)

from federation_core.errors import CallerError, FederationError
from federation_core.spine.actions import next_actions
from federation_core.spine.actor import SYSTEM, Actor
from federation_core.spine.commands import (
    AnswerGate,
    BypassGate,
    ChangeStatus,
    Command,
    CompleteRun,
    CompleteStep,
    ExpireGate,
    FailRun,
    FailStep,
    ProposeStep,
    RecordRefusal,
    RecoverStep,
    RequestGate,
    RetryStep,
    SkipStep,
    StartRun,
)
from federation_core.spine.decision import Decision, PolicyMode
from federation_core.spine.definition import GateSpec, Workflow
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS, RunStatus, StepError
from federation_core.spine.fold import apply
from federation_core.spine.gates import Gate
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.steps import Flagged, InDoubt, Pending, Running, Step, Waiting
from federation_core.spine.turn import Turn

DAY = 86_400_000_000
STATUSES: tuple[RunStatus, ...] = (
    "pending",
    "running",
    "paused",
    "completed",
    "failed",
    "cancelled",
)
EMPTY_FLAG = decided("flag")


class Move(msgspec.Struct, frozen=True):
    command: Command
    actor: Actor = SYSTEM
    late: bool = False
    """Made a day later, when every gate with an expiry is due."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow (None: an external run), what may be said of its steps, and the bounds: states
    with more gates or attempts than these are checked and not followed further."""

    name: str
    definition: Workflow | None
    at_least: int
    decisions: tuple[Decision, ...] = (ALLOW, DENY, FLAG_FIN, FLAG_BOTH)
    changes: tuple[Decision, ...] = (ALLOW,)
    create: Decision = ALLOW
    mode: PolicyMode = "strict"
    steps: tuple[str, ...] = ()
    asks: bool = False
    """Whether clients request gates of their own."""
    other_input: bool = False
    """Whether a step is put to policy again with another input."""
    max_gates: int = 1
    max_attempts: int = 2


class Node(msgspec.Struct, frozen=True):
    """A state, its auditor, and the way here."""

    run: Run
    auditor: Auditor
    path: tuple[Move, ...]


# what may be asked


def moves(world: World, run: Run) -> Iterator[Move]:
    yield Move(birth(world.definition), STARTER)
    for decision in (*world.changes, DENY):
        yield Move(StartRun(decision=decision))
        yield Move(CompleteRun(output_hash=OUTPUT, decision=decision))
    yield Move(FailRun(code="output", reason="no output"))
    yield Move(RecordRefusal(action="run.start", code="x", reason="r", decision=DENY), STRANGER)
    if world.asks:
        yield Move(RequestGate(step_id=None, gate_name="ask"), APPROVER_1)
    yield Move(RequestGate(step_id=None, gate_name="x", gate_type="in_doubt"), APPROVER_1)
    for status in STATUSES:
        for decision in (*world.changes, DENY):
            yield Move(ChangeStatus(status=status, decision=decision), STARTER)
    yield Move(ChangeStatus(status="running", current_step="two", decision=ALLOW), STARTER)
    unknown = ("ghost",) if world.definition else ()
    for step_id in (*world.steps, *unknown):
        yield from _step_moves(world, step_id)
    for gate_id in (*run.gates, "ghost"):
        yield from _gate_moves(run, gate_id)


def _step_moves(world: World, step_id: str) -> Iterator[Move]:
    spec = (
        next((s for s in world.definition.steps if s.id == step_id), None)
        if (world.definition)
        else None
    )
    kind = spec.type.value if spec else "ACT"

    def propose(decision: Decision, subject: str) -> Move:
        return Move(
            ProposeStep(step_id=step_id, step_type=kind, input_hash=subject, decision=decision)
        )

    for decision in world.decisions:
        yield propose(decision, INPUT)
    if world.other_input:
        yield propose(FLAG_FIN, OTHER_INPUT)
    yield propose(EMPTY_FLAG, INPUT)
    yield Move(CompleteStep(step_id=step_id, output_hash=OUTPUT))
    for retriable in (True, False):
        error = StepError(type="X", message="m")
        yield Move(FailStep(step_id=step_id, error=error, retriable=retriable))
    yield Move(SkipStep(step_id=step_id))
    yield Move(RecoverStep(step_id=step_id))
    yield Move(RetryStep(step_id=step_id))


def _gate_moves(run: Run, gate_id: str) -> Iterator[Move]:
    def answer(actor: Actor, approve: bool = True, decision: Decision = ALLOW) -> Move:
        given = gate_id in run.gates and run.gates[gate_id].gate_type == "in_doubt"
        return Move(
            AnswerGate(
                gate_id=gate_id,
                approve=approve,
                with_input=given,
                input_hash=INPUT if given else None,
                decision=decision,
            ),
            actor,
        )

    yield answer(APPROVER_1)
    yield Move(ExpireGate(gate_id=gate_id), late=True)
    yield Move(BypassGate(gate_id=gate_id, reason="emergency", decision=ALLOW), OFFICER)
    if gate_id not in run.open_gates:
        return
    yield Move(ExpireGate(gate_id=gate_id))
    yield Move(BypassGate(gate_id=gate_id, reason=" ", decision=ALLOW), OFFICER)
    yield Move(BypassGate(gate_id=gate_id, reason="emergency", decision=DENY), OFFICER)
    for actor in (APPROVER_2, OFFICER, STRANGER, STARTER):
        yield answer(actor)
    yield answer(APPROVER_1, approve=False)
    yield answer(STRANGER, approve=False)
    yield answer(APPROVER_1, decision=DENY)
    yield answer(APPROVER_1, decision=FLAG_FIN)
    yield msgspec.structs.replace(answer(APPROVER_1), late=True)
    yield Move(AnswerGate(gate_id=gate_id, approve=True, decision=ALLOW), APPROVER_2)


# following them


def explore(world: World) -> int:
    """The number of distinct states met."""
    root = _root(world)
    seen = {key(root.run)}
    queue = deque([root])
    while queue:
        for node in _after(world, queue.popleft()):
            state = key(node.run)
            if state in seen:
                continue
            seen.add(state)
            if _within(world, node.run):
                queue.append(node)
    return len(seen)


def _after(world: World, node: Node) -> Iterator[Node]:
    """What each move that is not refused makes of `node`."""
    run = fork(node.run)
    for move in moves(world, node.run):
        try:
            turn = _make(run, move)
            if turn is None:
                assert same(run, node.run), "a refused command changed something"
                continue
            yield _checked(node, move, turn)
        except (AssertionError, FederationError, LookupError) as e:
            raise AssertionError(_story(node, move)) from e
        run = fork(node.run)


def _root(world: World) -> Node:
    plain = msgspec.to_builtins(world.definition) if world.definition else None
    nothing = Node(Run(world.definition, "r1", TENANT), Auditor(plain, ROLES), ())
    move = Move(birth(world.definition, mode=world.mode, decision=world.create), STARTER)
    turn = _make(fork(nothing.run), move)
    assert turn is not None
    return _checked(nothing, move, turn)


def _make(run: Run, move: Move) -> Turn | None:
    """The turn that `move` is; None where it was refused, which leaves no event behind."""
    turn = Turn(
        run,
        actor=move.actor,
        now=START + DAY if move.late else START,
        new_id=lambda: f"g{len(run.gates)}",
        log=LOG,
    )
    try:
        handle(turn, move.command)
    except CallerError:
        assert not turn.events, "a refused command left events"
        return None
    return turn


def _checked(node: Node, move: Move, turn: Turn) -> Node:
    run, auditor, reread = turn.run, node.auditor.fork(), fork(node.run)
    permits = [(p.step_id, p.attempt, p.input_hash) for p in turn.permits]
    auditor.see_turn([event.body for event in turn.events], permits)
    for event in turn.events:
        apply(reread, decode(event.body, RUN_EVENTS))
    assert same(reread, run), "the stored bytes tell another state"
    assert auditor.status == run.status
    _indexes_hold(run)
    _goes_on(run)
    return Node(run, auditor, (*node.path, move))


def _story(node: Node, move: Move) -> str:
    lines = [f"{m.actor.actor_id}: {m.command}" for m in (*node.path, move)]
    return "after this\n" + "\n".join(lines)


def _within(world: World, run: Run) -> bool:
    attempts = max((s.attempt for s in run.steps.values()), default=0)
    return len(list(_live_gates(run))) <= world.max_gates and attempts <= world.max_attempts


def key(run: Run) -> tuple[object, ...]:
    """What of a state bears on what may follow: not hashes of events, times, ids or reasons, not
    which people made up a quorum, not gates whose part is played."""
    kinds = [type(step.state).__name__ for step in run.steps.values()]
    if run.is_ended:
        return (run.status, *kinds, bool(run.open_gates))
    attempts = [(i, s.attempt, _own_gate(run, s)) for i, s in run.steps.items()]
    gates = sorted(str(_gate_key(gate)) for gate in _live_gates(run))
    doom = run.doomed and (run.doomed.code, run.doomed.step_id)
    phase = None if run.is_managed else run.current_step
    return (run.status, run.held, doom, phase, *kinds, *attempts, *gates)


def _live_gates(run: Run) -> Iterator[Gate]:
    """Gates that are open, or whose passing lets something through still."""
    for gate in run.gates.values():
        if gate.is_open or (gate.is_passed and gate.covers and gate.gate_id not in run.spent):
            yield gate


def _own_gate(run: Run, step: Step) -> str | None:
    gate_id = getattr(step.state, "gate_id", None)
    return run.gates[gate_id].status if gate_id else None


def _gate_key(gate: Gate) -> tuple[object, ...]:
    approvals = tuple(a.actor_id for a in gate.approvals) if gate.is_open else ()
    about = (gate.step_id, gate.gate_type, gate.action, gate.subject_hash, gate.covers)
    return (*about, gate.is_open, approvals, gate.input_hash, gate.expires_at is None)


def _indexes_hold(run: Run) -> None:
    """What is kept beside the steps is what the steps say."""
    states = {i: s.state for i, s in run.steps.items()}
    assert set(run.in_flight) == {i for i, s in states.items() if isinstance(s, Running)}
    assert set(run.open_gates) == {i for i, g in run.gates.items() if g.status == "pending"}
    assert set(run.at_gate) == {
        i for i, s in states.items() if isinstance(s, (Waiting, InDoubt)) and s.gate_id
    }
    if run.definition is None:
        return
    satisfied = {i for i, s in run.steps.items() if s.is_satisfied}
    needs = {s.id: set(s.needs) for s in run.definition.steps}
    assert run.unsatisfied == len(states) - len(satisfied)
    assert run.unmet == {i: len(n - satisfied) for i, n in needs.items()}
    assert set(run.ready) == {
        i for i, s in states.items() if isinstance(s, (Pending, Flagged)) and needs[i] <= satisfied
    }


def _goes_on(run: Run) -> None:
    """A managed run is ended, or somebody has something to do about it."""
    if run.is_ended or not run.is_managed:
        return
    todo = next_actions(run, run.last_at, executing=frozenset())
    assert todo.actions or todo.wake_at or run.open_gates or run.held, "nobody drives it on"


# the workflows

ONE = workflow(step("a", attempts=2))
TWO = workflow(step("a", kind="OBSERVE"), step("b", "a", idempotent=True, attempts=2))
PAIR = workflow(step("b", idempotent=True), step("c", attempts=2))
DIAMOND = workflow(step("a"), step("b", "a"), step("c", "a", idempotent=True), step("d", "b", "c"))
GATE = workflow(
    step("a"),
    gate_step("g", "a", gate=GateSpec("Go?", approvers=("role:fin",), quorum=2, expires_s=60)),
    step("z", "g"),
)
NO_GATE = workflow(gate_step("g"), step("z", "g"))

WORLDS = (
    World(
        name="one step",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, DENY, FLAG_FIN, FLAG_OPS, FLAG_BOTH),
        max_gates=3,
        at_least=100,
    ),
    World(
        name="one step, asked anew with another input",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, FLAG_FIN, FLAG_OPS),
        other_input=True,
        max_gates=3,
        max_attempts=1,
        at_least=100,
    ),
    World(
        name="one step and gates that clients request",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, DENY, FLAG_FIN),
        asks=True,
        max_gates=2,
        at_least=100,
    ),
    World(
        name="changes of status are flagged",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_attempts=1,
        max_gates=2,
        at_least=100,
    ),
    World(
        name="two steps",
        definition=TWO,
        steps=("a", "b"),
        decisions=(ALLOW, DENY, FLAG_BOTH),
        max_gates=2,
        at_least=100,
    ),
    World(
        name="a pair",
        definition=PAIR,
        steps=("b", "c"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        at_least=100,
    ),
    World(
        name="a diamond",
        definition=DIAMOND,
        steps=("a", "b", "c", "d"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        max_attempts=1,
        at_least=100,
    ),
    World(
        name="a gate",
        definition=GATE,
        steps=("a", "g", "z"),
        decisions=(ALLOW, DENY, FLAG_OPS),
        at_least=100,
    ),
    World(
        name="a gate that asks nobody",
        definition=NO_GATE,
        steps=("g", "z"),
        decisions=(ALLOW, FLAG_FIN),
        mode="loose",
        max_gates=2,
        at_least=100,
    ),
    World(
        name="a flagged birth",
        definition=ONE,
        steps=("a",),
        create=FLAG_BOTH,
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_gates=2,
        at_least=20,
    ),
    World(
        name="external",
        definition=None,
        steps=("x", "y"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        max_attempts=1,
        at_least=100,
    ),
    World(
        name="external, tried again",
        definition=None,
        steps=("x",),
        decisions=(ALLOW, DENY, FLAG_BOTH),
        max_attempts=3,
        max_gates=3,
        at_least=100,
    ),
    World(
        name="external, and changes of status are flagged",
        definition=None,
        steps=("x",),
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_attempts=1,
        at_least=100,
    ),
)


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_no_sequence_of_commands_breaks_a_promise(world: World) -> None:
    assert explore(world) >= world.at_least
