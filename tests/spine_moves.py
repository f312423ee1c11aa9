"""The alphabet of the exhaustive exploration: what may be asked of a run, and by whom."""

from collections.abc import Iterator

import msgspec
from tests.spine_helpers import (
    ALLOW,
    APPROVER_1,
    APPROVER_2,
    DENY,
    ENGINE,
    FLAG,
    FLAG_BOTH,
    FLAG_FIN,
    INPUT,
    OFFICER,
    OTHER_INPUT,
    OUTPUT,
    STARTER,
    STRANGER,
    birth,
    decided,
    said,
)

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
from federation_core.spine.decision import Decision, Flag, PolicyMode
from federation_core.spine.definition import Workflow
from federation_core.spine.events import RunStatus
from federation_core.spine.run import Run

__all__ = ["DAY", "OTHER_PEOPLE", "OTHER_QUORUM", "OTHER_RULE", "Move", "World", "moves"]

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
OTHER_RULE = decided("flag", Flag("strange", FLAG.approvers))
OTHER_PEOPLE = decided("flag", Flag(FLAG.rule, ("role:ops",)))
OTHER_QUORUM = decided("flag", Flag(FLAG.rule, FLAG.approvers, quorum=2))


class Move(msgspec.Struct, frozen=True):
    command: Command
    actor: Actor = ENGINE
    late: bool = False
    """Made a day later, when every gate with an expiry is due."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow (None: an external run), what may be said of its steps, and the bounds: states
    with more live gates, gates at all or attempts are checked and not followed further.

    `at_least` states must be met, so that the exploration cannot shrink unseen."""

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
    items: tuple[int, ...] = ()
    """How many items a fan-out is told to have."""
    max_gates: int = 1
    max_asked: int = 9
    max_attempts: int = 2


def moves(world: World, run: Run) -> Iterator[Move]:
    """Everything that is tried in a state, sensible or not."""
    yield Move(birth(world.definition), STARTER)
    for decision in (*world.changes, DENY):
        yield Move(StartRun(decision=decision))
        yield Move(CompleteRun(output_hash=OUTPUT, decision=decision))
    yield Move(FailRun(code="expression_failed", reason="no output"))
    yield Move(RecordRefusal(action="run.start", code="x", reason="r", decision=DENY), STRANGER)
    if world.asks:
        yield Move(RequestGate(step_id=None, gate_name="ask"), APPROVER_1)
    yield Move(RequestGate(step_id=None, gate_name="x", gate_type="in_doubt"), APPROVER_1)
    for status in STATUSES:
        for decision in (*world.changes, DENY):
            code = "reported" if status == "failed" else None
            change = ChangeStatus(status=status, decision=decision, error_code=code)
            yield Move(change, STARTER)
    yield Move(ChangeStatus(status="running", current_step="two", decision=ALLOW), STARTER)
    unknown = ("ghost",) if world.definition else ()
    yield Move(TimeOutRun())
    yield Move(TimeOutRun(), late=True)
    for step_id in (*world.steps, *unknown):
        yield from _step_moves(world, run, step_id)
        for items in world.items:
            yield Move(FanOutStep(step_id=step_id, items=items, items_hash=INPUT))
    for gate_id in (*run.gates, "ghost"):
        yield from _gate_moves(run, gate_id)


def _step_moves(world: World, run: Run, step_id: str) -> Iterator[Move]:
    specs = world.definition.steps if world.definition else ()
    planned = step_id.partition("[")[0]
    kind = next((s.type.value for s in specs if s.id == planned), "ACT")

    def propose(decision: Decision, subject: str) -> Move:
        return Move(
            ProposeStep(step_id=step_id, step_type=kind, input_hash=subject, decision=decision)
        )

    for decision in world.decisions:
        yield propose(decision, INPUT)
    if world.other_input:
        yield propose(FLAG_FIN, OTHER_INPUT)
    yield propose(EMPTY_FLAG, INPUT)
    yield Move(CompleteStep(step_id=step_id, output_hash=said(run, step_id)))
    for retriable in (True, False):
        yield Move(FailStep(step_id=step_id, error_type="X", retriable=retriable))
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
    yield Move(ExpireGate(gate_id=gate_id), SYSTEM, late=True)
    yield Move(BypassGate(gate_id=gate_id, reason="emergency", decision=ALLOW), OFFICER)
    if gate_id not in run.open_gates:
        return
    yield Move(ExpireGate(gate_id=gate_id), SYSTEM)
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
