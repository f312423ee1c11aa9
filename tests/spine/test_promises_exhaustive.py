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
    DENY,
    FLAG_BOTH,
    FLAG_FIN,
    FLAG_OPS,
    LOG,
    ROLES,
    START,
    STARTER,
    TENANT,
    birth,
    fan_step,
    fork,
    gate_step,
    same,
    step,
    workflow,
)
from tests.spine_moves import (
    DAY,
    OTHER_PEOPLE,
    OTHER_QUORUM,
    OTHER_RULE,
    Move,
    World,
    moves,
)

from federation_core.errors import CallerError, FederationError
from federation_core.spine.actions import next_actions
from federation_core.spine.commands import ProposeStep
from federation_core.spine.definition import ChildWork, GateSpec
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS
from federation_core.spine.fold import apply
from federation_core.spine.gates import Gate
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.steps import Flagged, InDoubt, Pending, Running, Step, Waiting
from federation_core.spine.turn import Turn


class Node(msgspec.Struct, frozen=True):
    """A state, its auditor, and the way here."""

    run: Run
    auditor: Auditor
    path: tuple[Move, ...]


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
    if isinstance(move.command, ProposeStep) and move.command.decision.decision != "allow":
        covered = any(getattr(event.data, "covered_by", ()) for event in turn.events)
        assert covered or not permits, "policy did not allow it"
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
    return (
        len(list(_live_gates(run))) <= world.max_gates
        and len(run.gates) <= world.max_asked
        and attempts <= world.max_attempts
    )


def key(run: Run) -> tuple[object, ...]:
    """What of a state could bear on what may follow: not hashes of events, times, ids or reasons,
    not who made up a quorum, nor how often the same gate was resolved in the same way."""
    kinds = [type(step.state).__name__ for step in run.steps.values()]
    if run.is_ended:
        return (run.status, *kinds, bool(run.open_gates))
    attempts = [(i, s.attempt, _own_gate(run, s)) for i, s in run.steps.items()]
    gates = sorted({str(_gate_key(run, gate)) for gate in run.gates.values()})
    doom = run.doomed and (run.doomed.code, run.doomed.step_id)
    phase = None if run.is_managed else run.current_step
    fans = [(fan.items, fan.done) for fan in run.fans.values()]
    time = run.is_in_time(run.last_at)
    return (run.status, run.held, doom, phase, time, *kinds, *attempts, *fans, *gates)


def _live_gates(run: Run) -> Iterator[Gate]:
    """Gates that are open, or whose passing lets something through still."""
    for gate in run.gates.values():
        if gate.is_open or (gate.is_passed and gate.covers and gate.gate_id not in run.spent):
            yield gate


def _own_gate(run: Run, step: Step) -> str | None:
    gate_id = getattr(step.state, "gate_id", None)
    return run.gates[gate_id].status if gate_id else None


def _gate_key(run: Run, gate: Gate) -> tuple[object, ...]:
    approvals = tuple(a.actor_id for a in gate.approvals) if gate.is_open else ()
    now = (gate.is_open, gate.is_passed, gate.gate_id in run.spent)
    about = (gate.step_id, gate.gate_type, gate.action, gate.subject_hash, gate.covers)
    asked = (gate.required_approvers, gate.quorum, gate.expires_at is None)
    return (*about, *asked, *now, approvals, gate.input_hash)


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
    assert run.unsatisfied == len(needs.keys() - satisfied)
    assert run.unmet == {i: len(n - satisfied) for i, n in needs.items()}
    assert set(run.ready) == {
        i
        for i, s in states.items()
        if isinstance(s, (Pending, Flagged)) and needs.get(i, set()) <= satisfied
    }
    _items_are_open(run, satisfied)


def _items_are_open(run: Run, satisfied: set[str]) -> None:
    """Of each fan-out, those that have completed and as many more as may be at a time."""
    for name, fan in run.fans.items():
        items = {i for i in run.steps if i.startswith(f"{name}[")}
        assert fan.done == len(items & satisfied)
        assert items == {f"{name}[{i}]" for i in range(fan.opened)}
        assert (name in satisfied) == (fan.done == fan.items)
    assert len({step.index for step in run.steps.values()}) == len(run.steps)


def _goes_on(run: Run) -> None:
    """A managed run is ended, or somebody has something to do about it."""
    if run.is_ended or not run.is_managed:
        return
    todo = next_actions(run, run.last_at, executing=frozenset())
    waits = todo.wake_at or todo.joins or run.open_gates or run.held
    assert todo.actions or waits, "nobody drives it on"


# the workflows

ONE = workflow(step("a", attempts=2))
TWO = workflow(step("a", kind="OBSERVE"), step("b", "a", idempotent=True, attempts=2))
PAIR = workflow(step("b", idempotent=True), step("c", attempts=2))
DIAMOND = workflow(step("a"), step("b", "a"), step("c", "a", idempotent=True), step("d", "b", "c"))
CHILD = workflow(
    msgspec.structs.replace(
        step("a", attempts=2, idempotent=True), work=ChildWork("kid"), timeout_ms=0
    ),
    step("b"),
)
GATE = workflow(
    step("a"),
    gate_step("g", "a", gate=GateSpec("Go?", approvers=("role:fin",), quorum=2, expires_s=60)),
    step("z", "g"),
)
FAN = workflow(fan_step("f", concurrency=1, attempts=2), step("z", "f"))
FANS = workflow(fan_step("f", idempotent=True), fan_step("g"), step("z", "f", "g"))
HURRY = workflow(step("a", attempts=2), step("z", "a"), timeout_ms=3_600_000)
NO_GATE = workflow(gate_step("g"), step("z", "g"))

WORLDS = (
    World(
        name="one step",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, DENY, FLAG_FIN, FLAG_OPS, FLAG_BOTH),
        max_gates=3,
        at_least=185,
    ),
    World(
        name="one step, asked anew with another input",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, FLAG_FIN, FLAG_OPS),
        other_input=True,
        max_gates=3,
        max_attempts=1,
        at_least=150,
    ),
    World(
        name="one step, flagged otherwise each time",
        definition=ONE,
        steps=("a",),
        decisions=(FLAG_FIN, OTHER_RULE, OTHER_PEOPLE, OTHER_QUORUM),
        max_gates=2,
        max_attempts=1,
        at_least=180,
    ),
    World(
        name="one step and gates that clients request",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW, DENY, FLAG_FIN),
        asks=True,
        max_gates=2,
        at_least=390,
    ),
    World(
        name="changes of status are flagged",
        definition=ONE,
        steps=("a",),
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_attempts=1,
        max_asked=2,
        at_least=870,
    ),
    World(
        name="a step that a run of its own executes",
        definition=CHILD,
        steps=("a", "b"),
        decisions=(ALLOW, DENY),
        at_least=270,
    ),
    World(
        name="two steps",
        definition=TWO,
        steps=("a", "b"),
        decisions=(ALLOW, DENY, FLAG_BOTH),
        max_gates=2,
        at_least=285,
    ),
    World(
        name="a pair",
        definition=PAIR,
        steps=("b", "c"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        at_least=600,
    ),
    World(
        name="a diamond",
        definition=DIAMOND,
        steps=("a", "b", "c", "d"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        max_attempts=1,
        max_asked=1,
        at_least=1150,
    ),
    World(
        name="a gate",
        definition=GATE,
        steps=("a", "g", "z"),
        decisions=(ALLOW, DENY, FLAG_OPS),
        at_least=690,
    ),
    World(
        name="a gate that asks nobody",
        definition=NO_GATE,
        steps=("g", "z"),
        decisions=(ALLOW, FLAG_FIN),
        mode="loose",
        max_gates=2,
        at_least=205,
    ),
    World(
        name="a fan-out",
        definition=FAN,
        steps=("f", "f[0]", "f[1]", "f[2]", "z"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        items=(0, 2),
        max_asked=1,
        at_least=640,
    ),
    World(
        name="two fan-outs",
        definition=FANS,
        steps=("f", "f[0]", "g[0]", "g", "z"),
        decisions=(ALLOW,),
        items=(1,),
        max_attempts=1,
        max_asked=1,
        at_least=390,
    ),
    World(
        name="a timeout",
        definition=HURRY,
        steps=("a", "z"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        max_attempts=1,
        max_asked=1,
        at_least=160,
    ),
    World(
        name="a flagged birth",
        definition=ONE,
        steps=("a",),
        create=FLAG_BOTH,
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_gates=2,
        at_least=70,
    ),
    World(
        name="external",
        definition=None,
        steps=("x", "y"),
        decisions=(ALLOW, DENY, FLAG_FIN),
        max_attempts=1,
        at_least=490,
    ),
    World(
        name="external, tried again",
        definition=None,
        steps=("x",),
        decisions=(ALLOW, DENY, FLAG_BOTH),
        max_attempts=3,
        max_gates=3,
        at_least=110,
    ),
    World(
        name="external, and changes of status are flagged",
        definition=None,
        steps=("x",),
        decisions=(ALLOW,),
        changes=(ALLOW, FLAG_FIN),
        max_attempts=1,
        max_asked=1,
        at_least=740,
    ),
)


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_no_sequence_of_commands_breaks_a_promise(world: World) -> None:
    assert explore(world) >= world.at_least
