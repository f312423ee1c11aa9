"""The verifier's replay of a run against the spine's, of which it knows nothing.

Whatever the spine can make is lawful to the verifier; whatever the spine's fold refuses, the
verifier refuses too, at that event or before, whoever forged it and with whatever skill.
"""

import copy
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from tests.evidence.pack_forge import FLAG, Forge, Script
from tests.spine.test_fold_tampering import _changed, _encoded, _leaf, _others, _places, _with
from tests.spine.test_promises_exhaustive import FAN, HURRY, WORLDS, _make, _within, key
from tests.spine_helpers import (
    ALLOW,
    DENY,
    LONG,
    OUTPUT,
    PAIR,
    STARTER,
    TENANT,
    Life,
    birth,
    doomed,
    fork,
    long_life,
)
from tests.spine_moves import Move, World, moves

from federation_core.errors import IntegrityError
from federation_core.evidence import verify
from federation_core.spine.commands import (
    CompleteRun,
    FailRun,
    RequestGate,
    SkipStep,
    TimeOutRun,
)
from federation_core.spine.definition import Workflow
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS
from federation_core.spine.fold import apply
from federation_core.spine.receipts import receipt_hash, workflow_receipt
from federation_core.spine.run import Run

Json = dict[str, Any]
Edit = Callable[[list[Json]], list[Json]]


def plain(definition: Workflow | None) -> Json | None:
    """The definition with a condition at every step: the explorations skip whatever they like."""
    if definition is None:
        return None
    told: Json = json.loads(definition.canonical())
    for step in told["steps"]:
        step["when"] = "input.x"
    return told


class Verifier:
    """What the verifier does with the lines of one stream."""

    def __init__(self, definition: Workflow | None) -> None:
        self.chain = verify.Chain("run:r1")
        self.life = verify.Life(plain(definition))

    def see(self, body: bytes) -> str | None:
        """The code of what is wrong with the next event."""
        try:
            event, event_hash = verify.parse_event(body), verify.leaf_hash(body).hex()
            self.chain.see(event, event_hash)
            self.life.see(event, event_hash)
        except verify.Refusal as e:
            return e.code
        return None

    def fork(self) -> "Verifier":
        return copy.deepcopy(self)


# what the spine makes


def explore(world: World) -> Iterator[tuple[list[bytes], Run]]:
    """A stream for every state that can be come to."""
    first = Run(world.definition, "r1", TENANT)
    turn = _make(
        first, Move(birth(world.definition, mode=world.mode, decision=world.create), STARTER)
    )
    assert turn is not None
    queue = deque([(first, [event.body for event in turn.events])])
    seen = {key(first)}
    yield queue[0][1], first
    while queue:
        before, bodies = queue.popleft()
        run = fork(before)
        for move in moves(world, before):
            if world.definition is None and isinstance(move.command, FailRun):
                continue  # the engine has nothing to fail there
            turn = _make(run, move)
            if turn is None:
                continue
            state = key(run)
            if state not in seen:
                seen.add(state)
                stream = [*bodies, *(event.body for event in turn.events)]
                yield stream, run
                if _within(world, run):
                    queue.append((run, stream))
            run = fork(before)


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_whatever_the_spine_makes_is_lawful(world: World) -> None:
    states = 0
    for stream, run in explore(world):
        verifier = Verifier(world.definition)
        for body in stream:
            assert verifier.see(body) is None, _story(verifier, stream, body)
        life = verifier.life
        assert (life.status, life.ended) == (run.status, run.is_ended)
        if run.is_ended:
            receipt = life.receipt()
            assert receipt is not None
            assert receipt_hash(receipt) == run.workflow_receipt_hash
        assert list(life.policies) == list(run.policy_hashes)
        states += 1
    assert states >= world.at_least


def _story(verifier: Verifier, stream: Sequence[bytes], body: bytes) -> str:
    try:
        event, event_hash = verify.parse_event(body), verify.leaf_hash(body).hex()
        verifier.life.see(event, event_hash)
    except verify.Refusal as e:
        return "\n".join([e.message, *(line.decode() for line in stream)])
    return "the chain"


# the skilled forger: everything that hangs on a change is made anew


class Forgery:
    """Lawful streams, and both replays before each of their events."""

    def __init__(self, definition: Workflow | None, bodies: Sequence[bytes]) -> None:
        self.bodies = bodies
        run, verifier = Run(definition), Verifier(definition)
        self.before: list[tuple[Run, Verifier]] = []
        for body in bodies:
            self.before.append((fork(run), verifier.fork()))
            apply(run, decode(body, RUN_EVENTS))
            assert verifier.see(body) is None

    def put(self, seq: int, events: list[Json]) -> tuple[bool, str | None]:
        """Let `events` stand from `seq` on, made to fit: whether the fold refuses one of them,
        and the code with which the verifier did until then."""
        run, verifier = fork(self.before[seq][0]), self.before[seq][1].fork()
        became: dict[str, str] = {}
        code = None
        for told in events:
            event = _with(told, became)
            old = self.bodies[told["seq"]] if told["seq"] in range(len(self.bodies)) else b""
            _remake(run, event, became)
            body = _encoded(event)
            code = code or verifier.see(body)
            try:
                apply(run, decode(body, RUN_EVENTS))
            except IntegrityError:
                return True, code
            became[_leaf(old)] = _leaf(body)
        return False, code


def _remake(run: Run, event: Json, became: dict[str, str]) -> None:
    data = event["data"]
    event["seq"] = run.head.seq
    if run.head.seq:
        event["prev"] = run.head.hash
    if "receipt" in data and isinstance(data["receipt"], dict):
        old = data.get("receipt_hash")
        if run.receipts:
            data["receipt"]["prev_receipt_hash"] = run.receipts[-1]
        data["receipt_hash"] = verify._value_hash(data["receipt"])
        if isinstance(old, str):
            became[old] = data["receipt_hash"]
    if "workflow_receipt_hash" in data:
        receipt = workflow_receipt(run, data.get("new_status", ""))
        data["workflow_receipt_hash"] = receipt_hash(receipt)


def _lives() -> dict[str, tuple[Workflow | None, list[bytes]]]:
    failing = doomed()
    failing.complete("b")
    client = Life().started_by_client()
    client.propose("x")
    client.fail("x")
    client.propose("x", kind="ACT")
    client.complete("x")
    client.change("running", current_step="two")
    client.request("x", required_approvers=("role:fin", "officer"), quorum=2, expires_s=60)
    client.approve("g0")
    client.do(RequestGate(step_id=None, gate_name="b"), STARTER)
    client.reject("g1")
    cancelled = Life(PAIR).started()
    cancelled.propose("a")
    cancelled.change("paused")
    cancelled.change("cancelled")
    denied = Life(PAIR).born(decision=DENY)
    late = Life(PAIR).started()
    late.propose("a", DENY)
    fanned = Life(FAN).started()
    fanned.fan_out("f", 2)
    fanned.propose("f[0]")
    fanned.fail("f[0]", retriable=True)
    fanned.propose("f[0]")
    fanned.complete("f[0]")
    fanned.propose("f[1]")
    fanned.complete("f[1]")
    fanned.do(SkipStep(step_id="z"))
    fanned.do(CompleteRun(output_hash=OUTPUT, decision=ALLOW))
    slow = Life(HURRY).started()
    slow.propose("a")
    slow.now += 3_600_000_000
    slow.do(TimeOutRun())
    streams = {
        "fanned": (FAN, fanned),
        "slow": (HURRY, slow),
        "long": (LONG, long_life()),
        "doomed": (PAIR, failing),
        "client": (None, client),
        "cancelled": (PAIR, cancelled),
        "denied": (PAIR, denied),
        "late": (PAIR, late),
    }
    return {name: (wf, [e.body for e in life.events]) for name, (wf, life) in streams.items()}


@cache
def forgery(name: str) -> Forgery:
    definition, bodies = _lives()[name]
    return Forgery(definition, bodies)


LIVES = sorted(_lives())
REMADE = {"prev", "receipt_hash", "prev_receipt_hash", "workflow_receipt_hash", "seq"}


def _facts(event: Json) -> Iterator[Json]:
    """The event with one fact changed, or with one that it should not have."""
    for path, value in _places(event):
        if path[-1] in REMADE or path == ("data",):
            continue
        name = ".".join(str(part) for part in path if isinstance(part, str))
        for other in _others(name, value):
            yield _changed(event, path, other)
    yield _changed(event, ("data", "unknown"), 1)
    for name, value in DEFAULTS.items():
        if name not in event["data"]:
            yield _changed(event, ("data", name), value)


DEFAULTS: Json = {
    "hold": True,
    "again": True,
    "covered_by": ["g0"],
    "covers": ["large"],
    "role": "fin",
    "flags": [{"rule": "large", "approvers": ["role:fin"], "quorum": 1, "expires_s": None}],
    "quorum": 1,
    "required_approvers": [],
    "expires_at": "2026-11-23T12:00:00.000000Z",
    "reason": None,
    "error_code": "x",
    "step_id": "a",
    "gate_id": "g0",
}


@pytest.mark.parametrize("name", LIVES)
def test_a_fact_that_the_fold_refuses_is_refused(name: str) -> None:
    forged = forgery(name)
    tried = refused = 0
    for seq, body in enumerate(forged.bodies):
        following = [json.loads(line) for line in forged.bodies[seq + 1 :]]
        for event in _facts(json.loads(body)):
            by_fold, code = forged.put(seq, [event, *following])
            tried += 1
            refused += by_fold
            assert code is not None or not by_fold, (seq, event)
    assert refused > tried // 4


def _moved(bodies: Sequence[bytes]) -> Iterator[tuple[str, list[Json]]]:
    """Events taken out, put elsewhere, and put in twice."""
    events = [json.loads(body) for body in bodies]
    for at in range(len(events)):
        yield f"{at} taken out", events[:at] + events[at + 1 :]
        yield f"{at} twice", [*events[: at + 1], *events[at:]]
        for to in range(at + 1, len(events)):
            yield f"{to} before {at}", [*events[:at], events[to], *events[at:to], *events[to + 1 :]]
            yield f"{at} to {to} taken out", events[:at] + events[to + 1 :]
            yield f"{to} again at {at}", [*events[:at], events[to], *events[at:]]


@pytest.mark.parametrize("name", LIVES)
def test_an_order_that_the_fold_refuses_is_refused(name: str) -> None:
    forged = forgery(name)
    refused = 0
    for story, events in _moved(forged.bodies):
        same = 0
        while same < len(events) and events[same]["seq"] == same:
            same += 1
        same = min(same, len(forged.bodies) - 1)
        by_fold, code = forged.put(same, events[same:])
        refused += by_fold
        assert code is not None or not by_fold, story
    assert refused > len(forged.bodies)


# unlawful lives by name: what is refused, and as what

MANAGED: Json = {
    "id": "wf",
    "version": "1.0.0",
    "steps": [
        {"id": "a", "type": "ACT", "retry": {"max_attempts": 2}},
        {"id": "g", "type": "GATE", "gate": {"name": "Go?", "approvers": ["role:fin"]}},
        {"id": "z", "type": "ACT", "needs": ["a"], "idempotent": True},
        {"id": "h", "type": "GATE", "gate": None},
    ],
}
TWO = FLAG | {"quorum": 2}


def client() -> Script:
    return Forge().run("r1").start()


def managed() -> Script:
    return Forge().run("r1", definition=MANAGED).start()


def flagged(flag: Json = FLAG) -> Script:
    """A step is flagged, people are asked, and the run is paused."""
    run = client()
    run.ask("a", "flag", flags=[flag])
    run.ask_people("a", flag=flag)
    return run


def goes_on(run: Script, flag: Json = FLAG, **facts: Any) -> Script:
    """The flagged step is put to policy again, and begins."""
    run.change("running")
    run.ask("a", flags=[flag], covered_by=["g1"], **facts)
    run.begin("a")
    return run


def _started_undecided() -> Script:
    run = client()
    run.steps["a"] = {
        "type": "ACT",
        "index": 0,
        "attempt": 1,
        "input": "1" * 64,
        "decision": "2" * 64,
    }
    run.begin("a")
    return run


def _started(effect: str, **facts: Any) -> Script:
    run = client()
    run.ask("a", effect, flags=[FLAG] if effect == "flag" else None)
    run.begin("a", **facts)
    return run


def _started_twice() -> Script:
    run = client().step("a")
    run.begin("a")
    return run


def _after_a_deny() -> Script:
    run = client()
    run.ask("b")
    run.ask("a", "deny")
    run.begin("b")
    return run


def _again() -> Script:
    run = managed()
    run.ask("a")
    run.begin("a")
    run.begin("a", again=True)
    return run


def _next_attempt() -> Script:
    run = client()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.retry("a")
    run.begin("a")
    return run


def _answered(flag: Json = FLAG, *answers: Json) -> Script:
    run = flagged(flag)
    for answer in answers:
        run.answer(**answer)
    return run


def _uncovered() -> Script:
    run = flagged()
    run.answer()
    run.change("running")
    run.ask("a", flags=[FLAG])
    return run


def _covered_before_it_passed() -> Script:
    run = client()
    run.ask("a", "flag", flags=[FLAG])
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    return run


def _used_twice() -> Script:
    run = goes_on(_answered(FLAG, {}))
    run.failed("a")
    run.retry("a")
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    return run


def _other_input() -> Script:
    return goes_on(_answered(FLAG, {}), subject="1" * 64)


def _other_people() -> Script:
    return goes_on(_answered(FLAG, {}), flag=FLAG | {"approvers": ["role:ops"]})


def _asked_otherwise() -> Script:
    run = client()
    run.ask("a", "flag", flags=[TWO])
    run.ask_people("a", flag=FLAG)
    return run


def _own_gate_forgotten() -> Script:
    run = managed()
    run.ask("g")
    run.begin("g")
    run.done("g")
    return run


def _own_gate(*, passed: bool) -> Script:
    run = managed()
    run.ask("g")
    run.begin("g")
    run.gate("g1", step_id="g", required_approvers=["role:fin"])
    run.change("paused")
    if passed:
        run.answer()
        run.change("running")
    run.done("g")
    return run


def _own_gate_of_others() -> Script:
    run = managed()
    run.ask("g")
    run.begin("g")
    run.gate("g1", step_id="g", required_approvers=["role:ops"])
    return run


def _expiring() -> Script:
    run = client()
    run.gate("g1", expires_at="2026-11-23T12:00:30.000000Z")
    run.change("paused")
    run.answer(role=None, seconds=40)
    return run


def _at_a_gate(expires_at: str = "2026-11-23T12:00:30.000000Z") -> Script:
    run = client()
    run.gate("g1", expires_at=expires_at)
    run.change("paused")
    return run


def _expired(*, late: bool) -> Script:
    run = _at_a_gate()
    run.emit("FC-AUTH-001", {"attempted": "x", "refusal_code": "x", "reason": "x"},
             seconds=40 if late else 1)  # fmt: skip
    run.expire()
    return run


def _bypassed(reason: str = "fire", *, late: bool = False) -> Script:
    run = _at_a_gate("2026-11-23T12:00:00.000000Z" if late else "2026-11-23T12:00:30.000000Z")
    run.bypass(reason=reason)
    return run


def _bypassed_doubt() -> Script:
    run = _doubted(managed(), "a")
    run.gate("g1", step_id="a", gate_type="in_doubt")
    run.change("paused")
    run.bypass()
    return run


def _too_many_attempts() -> Script:
    run = managed()
    for _ in range(2):
        run.ask("a")
        run.begin("a")
        run.failed("a")
        run.retry("a")
    return run


def _skipped() -> Script:
    run = managed()
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    return run


def _out_of_order() -> Script:
    run = managed()
    run.ask("z")
    return run


def _cancelled(by: str) -> Script:
    run = client()
    run.decide("run.cancel", actor="starter")
    run.end("cancelled", actor=by)
    return run


def _completed_early() -> Script:
    return managed().step("a").complete()


def _denied(step: str) -> Script:
    run = client()
    run.ask(step, "deny")
    run.end("failed", error_code="policy_denied")
    return run


def _late(code: str) -> Script:
    run = client().step("a").complete()
    run.emit(code, {"attempted": "run.start", "refusal_code": "x", "reason": "late"})
    return run


def _asked_after_the_end() -> Script:
    run = client().complete()
    run.gate()
    return run


def _of_another_stream() -> Script:
    run = client()
    run.emit("FC-DATA-001", {"payload_hashes": [], "reason": "x", "stream": run.stream})
    return run


def _of_another_workflow() -> Script:
    return Forge().run("r1", definition=MANAGED, workflow_version="2.0.0")


def _paused_between() -> Script:
    run = client()
    run.ask("a")
    run.decide("run.pause", actor="starter")
    run.change("paused", hold=True, actor="starter")
    run.begin("a")
    return run


def _resumed_unasked() -> Script:
    run = client()
    run.decide("run.pause", actor="starter")
    run.change("paused", hold=True, actor="starter")
    run.change("running", actor="starter")
    return run


def _progress_of_a_managed_run() -> Script:
    run = managed()
    run.decide("run.resume", actor="starter")
    run.change("running", actor="starter")
    return run


def _completed(*, paused: bool = False, doomed: bool = False, waiting: bool = False) -> Script:
    run = client()
    if paused:
        run.decide("run.pause", actor="starter")
        run.change("paused", hold=True, actor="starter")
    if doomed:
        run.ask("a", "deny")
    if waiting:
        run.gate()
    return run.complete()


def _another_workflow_receipt() -> Script:
    run = client()
    run.decide("run.complete", actor="starter")
    told = {"previous_status": "running", "new_status": "completed"}
    run.emit("FC-RUN-003", told | {"workflow_receipt_hash": "1" * 64}, actor="starter")
    return run


def _tightened(decision: str) -> Script:
    run = client()
    other = {"decision": decision, "policy_id": "strict", "policy_hash": "1" * 64}
    run.ask("a", tightened=other)
    return run


def _retried_after_a_deny() -> Script:
    run = managed()
    run.ask("a")
    run.begin("a")
    run.ask("g", "deny")
    run.failed("a")
    run.retry("a")
    return run


def _doubted(run: Script, step: str) -> Script:
    run.ask(step)
    run.begin(step)
    run.emit("FC-STEP-005", {"step_id": step, "attempt": 1})
    return run


def _doubt_resolved(*, passed: bool) -> Script:
    run = _doubted(managed(), "a")
    run.gate("g1", step_id="a", gate_type="in_doubt")
    run.change("paused")
    if passed:
        run.answer(role=None)
        run.change("running")
    run.done("a")
    return run


def _asked_at_a_step_that_asks_nobody() -> Script:
    run = managed()
    run.ask("h")
    run.begin("h")
    run.gate("g1", step_id="h")
    return run


def _asked_about_no_doubt() -> Script:
    run = managed()
    run.gate("g1", step_id="a", gate_type="in_doubt")
    return run


def _passed_by_too_few() -> Script:
    run = flagged(TWO)
    run.answer(status="approved")
    return run


A, B = {"actor": "a"}, {"actor": "b"}
LIVES_BY_NAME: dict[str, tuple[Callable[[], Script], str | None]] = {
    "an ordinary one": (lambda: client().step("a").complete(), None),
    "a flag, and one who is asked": (lambda: goes_on(_answered(FLAG, {})), None),
    "a flag, and two": (lambda: goes_on(_answered(TWO, A, B), TWO), None),
    "a gate step whose gate passed": (lambda: _own_gate(passed=True), None),
    "cancelled by who may": (lambda: _cancelled("starter"), None),
    "failed for a deny": (lambda: _denied("a"), None),
    "an attempt after the end": (lambda: _late("FC-AUTH-001"), None),
    "started undecided": (_started_undecided, "STEP_WITHOUT_ALLOW"),
    "started on a flag": (lambda: _started("flag"), "STEP_WITHOUT_ALLOW"),
    "started on a deny": (lambda: _started("deny"), "STEP_WITHOUT_ALLOW"),
    "started with another input": (
        lambda: _started("allow", input_hash="1" * 64),
        "STEP_WITHOUT_ALLOW",
    ),
    "started as another attempt": (lambda: _started("allow", attempt=2), "STEP_WITHOUT_ALLOW"),
    "started as another type": (
        lambda: _started("allow", step_type="OBSERVE"),
        "STEP_WITHOUT_ALLOW",
    ),
    "started on another decision": (
        lambda: _started("allow", decision_hash="1" * 64),
        "STEP_WITHOUT_ALLOW",
    ),
    "started twice": (_started_twice, "STEP_WITHOUT_ALLOW"),
    "started again, not idempotent": (_again, "STEP_WITHOUT_ALLOW"),
    "another attempt on the old decision": (_next_attempt, "STEP_WITHOUT_ALLOW"),
    "started after a deny": (_after_a_deny, "STEP_WITHOUT_ALLOW"),
    "a flag that nobody answered for": (_uncovered, "MISSING_APPROVAL"),
    "a gate that never was": (_covered_before_it_passed, "MISSING_APPROVAL"),
    "an approval used twice": (_used_twice, "MISSING_APPROVAL"),
    "an approval of another input": (_other_input, "MISSING_APPROVAL"),
    "an approval by other people": (_other_people, "MISSING_APPROVAL"),
    "fewer asked than the flag asks": (_asked_otherwise, "MISSING_APPROVAL"),
    "too few for the quorum": (_passed_by_too_few, "MISSING_APPROVAL"),
    "somebody by another role": (
        lambda: _answered(FLAG, {"role": "ops"}),
        "MISSING_APPROVAL",
    ),
    "somebody by no role": (lambda: _answered(FLAG, {"role": None}), "MISSING_APPROVAL"),
    "somebody called as a role": (
        lambda: _answered(FLAG, {"role": None, "actor": "fin"}),
        "MISSING_APPROVAL",
    ),
    "one person twice": (lambda: _answered(TWO, A, A), "MISSING_APPROVAL"),
    "a closed gate": (lambda: _answered(FLAG, A, B), "MISSING_APPROVAL"),
    "an expired gate": (_expiring, "MISSING_APPROVAL"),
    "who started the run": (lambda: _answered(FLAG, {"actor": "starter"}), "MISSING_APPROVAL"),
    "through who started the run": (
        lambda: _answered(FLAG, {"via": "starter"}),
        "MISSING_APPROVAL",
    ),
    "a gate step without its gate": (_own_gate_forgotten, "MISSING_APPROVAL"),
    "a gate step before its gate passed": (lambda: _own_gate(passed=False), "MISSING_APPROVAL"),
    "a gate step that asks others": (_own_gate_of_others, "MISSING_APPROVAL"),
    "an answer that policy did not allow": (
        lambda: _answered(FLAG, {"allowed": False}),
        "ILLEGAL_TRANSITION",
    ),
    "more attempts than defined": (_too_many_attempts, "ILLEGAL_TRANSITION"),
    "a step skipped that has no condition": (_skipped, "ILLEGAL_TRANSITION"),
    "a step before those it needs": (_out_of_order, "ILLEGAL_TRANSITION"),
    "completed before its steps": (_completed_early, "ILLEGAL_TRANSITION"),
    "cancelled by somebody else": (lambda: _cancelled("eve"), "ILLEGAL_TRANSITION"),
    "a doubt that was resolved": (lambda: _doubt_resolved(passed=True), None),
    "an answer of two bundles": (lambda: _tightened("allow"), None),
    "a doubt that nobody resolved": (lambda: _doubt_resolved(passed=False), "MISSING_APPROVAL"),
    "a step while it is paused": (_paused_between, "ILLEGAL_TRANSITION"),
    "resumed and not asked": (_resumed_unasked, "ILLEGAL_TRANSITION"),
    "progress of a managed run": (_progress_of_a_managed_run, "ILLEGAL_TRANSITION"),
    "completed while it is paused": (lambda: _completed(paused=True), "ILLEGAL_TRANSITION"),
    "completed after a deny": (lambda: _completed(doomed=True), "ILLEGAL_TRANSITION"),
    "completed at an open gate": (lambda: _completed(waiting=True), "ILLEGAL_TRANSITION"),
    "another workflow receipt": (_another_workflow_receipt, "RECEIPT_MISMATCH"),
    "the other bundle denied": (lambda: _tightened("deny"), "ILLEGAL_TRANSITION"),
    "the other bundle flagged": (lambda: _tightened("flag"), "ILLEGAL_TRANSITION"),
    "a retry after a deny": (_retried_after_a_deny, "ILLEGAL_TRANSITION"),
    "a doubt about a client's step": (lambda: _doubted(client(), "a"), "ILLEGAL_TRANSITION"),
    "a doubt about what can be repeated": (
        lambda: _doubted(managed().step("a"), "z"),
        "ILLEGAL_TRANSITION",
    ),
    "a gate where nobody is asked": (_asked_at_a_step_that_asks_nobody, "ILLEGAL_TRANSITION"),
    "a gate about no doubt": (_asked_about_no_doubt, "ILLEGAL_TRANSITION"),
    "two who agree on one input": (
        lambda: _answered(TWO, A | {"given": "1" * 64}, B | {"given": "1" * 64}),
        None,
    ),
    "two who approve different inputs": (
        lambda: _answered(TWO, A | {"given": "1" * 64}, B | {"given": "2" * 64}),
        "ILLEGAL_TRANSITION",
    ),
    "a gate whose time is over": (lambda: _expired(late=True), None),
    "a bypass": (_bypassed, None),
    "a gate that has time still": (lambda: _expired(late=False), "ILLEGAL_TRANSITION"),
    "a bypass after its time": (lambda: _bypassed(late=True), "MISSING_APPROVAL"),
    "a bypass without a reason": (lambda: _bypassed(" "), "ILLEGAL_TRANSITION"),
    "a bypass of a doubt": (_bypassed_doubt, "ILLEGAL_TRANSITION"),
    "a gate after the end": (_asked_after_the_end, "ILLEGAL_TRANSITION"),
    "an erasure among a run's events": (_of_another_stream, "ILLEGAL_TRANSITION"),
    "another workflow's definition": (_of_another_workflow, "ILLEGAL_TRANSITION"),
    "a doubt after the end": (lambda: _late("FC-STEP-005"), "ILLEGAL_TRANSITION"),
}


@pytest.mark.parametrize("case", LIVES_BY_NAME.values(), ids=LIVES_BY_NAME)
def test_lives_by_name(case: tuple[Callable[[], Script], str | None]) -> None:
    """Nothing is wrong but the last event."""
    make, expected = case
    run = make()
    chain = verify.Chain(run.stream)
    life = verify.Life(run.definition)
    found = None
    events = run.forge.stream(run.stream)
    for event in events:
        body = _encoded(event)
        chain.see(verify.parse_event(body), _leaf(body))
        try:
            life.see(event, _leaf(body))
        except verify.Refusal as e:
            found = e.code
            break
    assert found == expected
    assert found is None or event["seq"] >= len(events) - 2
