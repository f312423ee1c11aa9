"""Stories that contradict themselves: of another actor, value, cause or time than their own events
tell, beside the lawful ones that are nearest to them."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from tests.evidence.corpus.lives import DOUBTFUL, PLAIN, expiry
from tests.evidence.pack_forge import FLAG, ZERO, Forge, Json, Script

__all__ = ["STORIES"]

Story = Callable[[], Script]
STORIES: dict[str, Story] = {}
OTHER = "f" * 64
ENGINE: Json = {"actor": "starter", "via": "engine"}
STRANGERS: dict[str, Json] = {
    "a stranger": {"actor": "mallory", "via": None},
    "a stranger through the engine": {"actor": "mallory", "via": "engine"},
    "the starter": {"actor": "starter", "via": None},
    "nobody": {"actor": "", "via": "engine"},
    "through nobody": {"actor": "starter", "via": ""},
    "the engine": ENGINE,
}


def _told(name: str, tell: Callable[..., Script], *given: Any, **facts: Any) -> None:
    assert name not in STORIES, name
    STORIES[name] = partial(tell, *given, **facts)


def _run(*steps: Json, **facts: Any) -> Script:
    return Forge().run("r1", definition=PLAIN | {"steps": list(steps)}, **facts)


def _by(tell: Story, seq: int, who: Json) -> Script:
    """One event is by somebody else."""
    run = tell()

    def edit(events: list[Json]) -> list[Json]:
        events[seq] |= who
        return events

    run.forge = run.forge.tampered(run.stream, edit)
    return run


# the birth


def _birth(name: str, **facts: Any) -> None:
    _told(f"a birth decided about {name}", lambda: Forge().run("r1", **facts).start().complete())


_birth("by nobody", birth=None)
_birth("with another value", birth={"subject": OTHER})
_birth("with no value", birth={"subject": None})
_birth("as a step's", birth={"step_id": "a"})
_birth("as a gate's", birth={"gate_id": "g1"})
_birth("for another", birth={"actor": "mallory"})
_birth("through another", birth={"via": "mallory"})
_birth("through the same", via="console")
_birth("under a flag, and nobody asked", birth={"effect": "flag", "flags": [FLAG]})


def _flagged_birth(approve: bool, *, rule: str = "large", definition: Json | None = None) -> Script:
    run = Forge().run("r1", definition=definition, birth={"effect": "flag", "flags": [FLAG]})
    run.gate(
        "g1",
        gate_type="policy_check",
        required_approvers=FLAG["approvers"],
        action="run.create",
        subject_hash=run.input_hash,
        covers=[rule],
    )
    run.answer(approve=approve)
    return run


_told("a flagged birth, and people let it through", lambda: _flagged_birth(True).start())
_told(
    "a flagged birth of a managed run, and people let it through",
    lambda: _flagged_birth(True, definition=PLAIN).start(),
)


def _twice() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.create", subject=run.input_hash, actor="starter")
    return run


_told("a birth that is decided about twice", _twice)


# who acts


def _engine_life() -> Script:
    run = _run(
        {"id": "a", "type": "ACT", "retry": {"max_attempts": 2}},
        {"id": "b", "type": "ACT", "when": "x"},
    ).start()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.retry("a")
    run.step("a")
    run.emit("FC-STEP-006", {"step_id": "b", "reason": "no"})
    return run.complete()


for _seq in range(14):
    for _name, _who in STRANGERS.items():
        _told(
            f"event {_seq} of a managed run is by {_name}",
            _by,
            _engine_life,
            _seq,
            _who,
        )


def _client_life() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask_people("a")
    run.answer()
    run.change("running")
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    run.begin("a")
    run.done("a")
    run.gate("g2", expires_at=expiry(run.forge, 1))
    run.change("paused")
    run.expire("g2")
    run.end("failed")
    return run


for _seq in range(17):
    for _name in ("a stranger", "nobody"):
        _told(
            f"event {_seq} of a client's run is by {_name}",
            _by,
            _client_life,
            _seq,
            STRANGERS[_name],
        )


def _in_doubt(**who: Any) -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1})
    run.gate("g1", gate_type="in_doubt", step_id="a", **who)
    return run


_told("people are asked about a doubt by a stranger", lambda: _in_doubt(actor="mallory"))


def _cut_off(*, by: Json, end: Json, refused: bool = False) -> Script:
    """Somebody who may cancels the run while a step is under way."""
    run = _run({"id": "a", "type": "ACT"}).start()
    run.ask("a")
    run.begin("a")
    run.decide("run.cancel", actor="officer")
    if refused:
        run.emit(
            "FC-AUTH-001",
            {"attempted": "x", "refusal_code": "x", "reason": "x"},
            actor=by["actor"],
        )
    told = {"error_type": "RunEnded", "duration_ms": run._took("a")}
    step, at = run.steps["a"], run._soon()
    receipt = {
        "attempt": 1,
        "decision_hash": step["decision"],
        "ended_at": at,
        "input_hash": step["input"],
        "output_hash": None,
        "prev_receipt_hash": ZERO,
        "run_id": "r1",
        "started_at": step["started"],
        "status": "failed",
        "step_id": "a",
        "step_type": "ACT",
        "v": 1,
    }
    run._receipted("FC-STEP-003", {"step_id": "a", "attempt": 1} | told, receipt, **by)
    run.end("cancelled", **end)
    return run


_OFFICER, _MALLORY = {"actor": "officer"}, {"actor": "mallory"}
for _who, _end in (
    (_OFFICER, _OFFICER),
    (_MALLORY, _OFFICER),
    (_OFFICER, _MALLORY),
    (ENGINE, _OFFICER),
):
    _told(
        f"cut off by {_who['actor']} {_who.get('via', '')} and ended by {_end['actor']}",
        _cut_off,
        by=_who,
        end=_end,
    )
_told(
    "cut off after an attempt that was refused",
    lambda: _cut_off(by=_MALLORY, end=_MALLORY, refused=True),
)


# with what value


def _value(name: str, action: str, status: str, *, told: str | None, given: str | None) -> None:
    def tell() -> Script:
        run = Forge().run("r1")
        if action != "run.start":
            run.start()
        if action == "run.resume":
            run.decide("run.pause")
            run.change("paused", hold=True)
        run.decide(action, subject=told)
        if status in ("running", "paused"):
            run.change(status, output_hash=given, hold=True if status == "paused" else None)
        else:
            run.end(status, output_hash=given)
        return run

    _told(f"{action} with {name}", tell)


for _action, _status in (
    ("run.start", "running"),
    ("run.pause", "paused"),
    ("run.resume", "running"),
    ("run.complete", "completed"),
    ("run.fail", "failed"),
    ("run.cancel", "cancelled"),
):
    _value("a value", _action, _status, told=OTHER, given=OTHER)
    _value("another value", _action, _status, told=OTHER, given="a" * 64)
    _value("a value that was not decided about", _action, _status, told=None, given=OTHER)
    _value("no value, and one was decided about", _action, _status, told=OTHER, given=None)


def _managed_start(**facts: Any) -> Script:
    run = Forge().run("r1", definition=PLAIN)
    run.decide("run.start", **facts)
    run.change("running")
    return run


_told("a managed run starts with another value", lambda: _managed_start(subject=OTHER))
_told("a managed run starts with no value", _managed_start)


# why it failed

_CODES = (
    "policy_denied",
    "step_failed",
    "gate_rejected",
    "gate_expired",
    "run_timeout",
    "expression_failed",
    "invalid_input",
    "too_large",
    "value_missing",
    "reported",
    "parent_ended",
    "banana",
    "",
)


def _nothing() -> Script:
    return _run({"id": "a", "type": "ACT"}).start()


def _step_failed() -> Script:
    run = _nothing()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    return run


def _denied() -> Script:
    run = _nothing()
    run.ask("a", "deny")
    return run


def _at_gate() -> Script:
    run = _nothing()
    run.gate("g1", expires_at=expiry(run.forge, 2))
    run.change("paused")
    return run


def _rejected() -> Script:
    run = _nothing()
    run.gate("g1")
    run.change("paused")
    run.answer(approve=False, role=None)
    return run


def _expired() -> Script:
    run = _at_gate()
    run.forge.now = run.forge.now.replace(minute=59)
    run.expire()
    return run


def _late() -> Script:
    steps = [{"id": "a", "type": "ACT"}]
    return Forge().run("r1", definition=PLAIN | {"steps": steps, "timeout_ms": 1}).start()


def _of_client() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.fail")
    return run


def _client_denied() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    return run


def _by_client_of_managed() -> Script:
    run = _nothing()
    run.decide("run.fail")
    return run


def _ended(tell: Story, code: str | None, **who: Any) -> Script:
    run = tell()
    run.end("failed", error_code=code, **who)
    return run


for _tell in (_nothing, _step_failed, _denied, _at_gate, _rejected, _expired, _late, _of_client):
    for _code in (*_CODES, None):
        _told(
            f"failed with {_code}: {_tell.__name__.strip('_')}",
            _ended,
            _tell,
            _code,
        )
for _tell in (_client_denied, _by_client_of_managed):
    for _code in ("policy_denied", "reported", "too_large", "run_timeout", None):
        _told(
            f"failed with {_code}: {_tell.__name__.strip('_')}",
            _ended,
            _tell,
            _code,
        )


for _name, _who in STRANGERS.items():
    _told(f"denied, and ended by {_name}", _ended, _denied, "policy_denied", **_who)
    _told(f"given up by {_name}", _ended, _nothing, "too_large", **_who)
    _told(f"late, and ended by {_name}", _ended, _late, "run_timeout", **_who)
    _told(
        f"rejected, and ended by {_name}",
        _ended,
        _rejected,
        "gate_rejected",
        **_who,
    )
    _told(
        f"a client's is denied, and ended by {_name}",
        _ended,
        _client_denied,
        "policy_denied",
        **_who,
    )


def _completes(**facts: Any) -> Script:
    run = Forge().run("r1").start()
    run.decide("run.complete")
    run.end("completed", **facts)
    return run


_told("completes with a code", lambda: _completes(error_code="x"))
_told("completes with an error", lambda: _completes(error_hash=OTHER))
_told("completes with nothing", _completes)


def _cancels(**facts: Any) -> Script:
    run = Forge().run("r1").start()
    run.decide("run.cancel")
    run.end("cancelled", **facts)
    return run


_told("is cancelled with a code", lambda: _cancels(error_code="reported"))
_told("is cancelled with an error", lambda: _cancels(error_hash=OTHER))


# when, and for how long


def _retried(ms: int, *, attempt: int = 1, at_once: bool = False, **retry: Any) -> Script:
    """After so many milliseconds the step may be tried again, it is told."""
    spec = {"id": "a", "type": "ACT", "retry": {"max_attempts": 9} | retry}
    run = _run(spec).start()
    for number in range(1, attempt + 1):
        run.ask("a")
        run.begin("a")
        run.failed("a")
        run.steps["a"]["attempt"] = number + 1
        wait = ms if number == attempt else 100_000_000
        not_before = _in(run, wait)
        told = {"step_id": "a", "attempt": number + 1, "not_before": not_before}
        run.emit("FC-STEP-004", told)
        if number < attempt:
            run.forge.now += timedelta(days=2)
    run.ask("a", seconds=0 if at_once else max(1, ms / 1000) if attempt > 1 else 1)
    return run


def _in(run: Script, ms: int) -> str:
    moment = run.forge.now + timedelta(seconds=1, milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


for _ms in (999, 1000, 1001, 60_000):
    _told(f"tried again after {_ms} ms", _retried, _ms)
    _told(f"tried again at once, not before {_ms} ms", _retried, _ms, at_once=True)
for _ms in (499, 500):
    _told(f"tried again after {_ms} ms of 500", _retried, _ms, backoff_ms=500)
    _told(
        f"tried again after {_ms} ms of at most 500",
        _retried,
        _ms,
        max_backoff_ms=500,
    )
for _attempt, _least in ((2, 600), (3, 1_800), (4, 2_000), (5, 2_000)):
    for _ms in (_least - 1, _least):
        _told(
            f"tried again after {_ms} ms and {_attempt} attempts",
            _retried,
            _ms,
            attempt=_attempt,
            backoff_ms=200,
            factor_pct=300,
            max_backoff_ms=2_000,
        )
for _attempt, _least in ((2, 2_000), (3, 4_000), (7, 60_000)):
    for _ms in (_least - 1, _least):
        _told(
            f"tried again after {_ms} ms and {_attempt} attempts by default",
            _retried,
            _ms,
            attempt=_attempt,
        )


def _client_retry(ms: int) -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.steps["a"]["attempt"] = 2
    run.emit("FC-STEP-004", {"step_id": "a", "attempt": 2, "not_before": _in(run, ms)})
    run.ask("a")
    return run


_told("a client tries again before now", lambda: _client_retry(-1))
_told("a client tries again now", lambda: _client_retry(0))


def _lasting(ms: int | None, code: str) -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.forge.now = run.forge.now.replace(microsecond=1_999)
    step, at = run.steps["a"], run._soon()
    about: Json = {"step_id": "a", "attempt": 1, "duration_ms": ms}
    output = run.keep("x")
    ends_well = code == "FC-STEP-002"
    about |= {"output_hash": output} if ends_well else {"error_type": "X"}
    receipt = {
        "attempt": 1,
        "decision_hash": step["decision"],
        "ended_at": at,
        "input_hash": step["input"],
        "output_hash": output if ends_well else None,
        "prev_receipt_hash": ZERO,
        "run_id": "r1",
        "started_at": step["started"],
        "status": "completed" if ends_well else "failed",
        "step_id": "a",
        "step_type": "ACT",
        "v": 1,
    }
    run._receipted(code, about, receipt)
    return run


for _code in ("FC-STEP-002", "FC-STEP-003"):
    for _ms in (-1, 0, 1_000, 1_001, 1_002):
        _told(f"{_code} after {_ms} ms", _lasting, _ms, _code)


# what policy is said to have been


def _policy(name: str, **facts: Any) -> None:
    def tell() -> Script:
        told = {"mode": "strict", "effect": "allow"} | facts
        run = Forge().run("r1", policy_mode=told.pop("mode")).start()
        run.ask("a", told.pop("effect"), **told)
        return run

    _told(f"a decision {name}", tell)


for _tier in ("", "00", "7", "99", "100", "-1", "1a", " 1", "1\n"):
    _policy(f"of tier {_tier!r}", tier=_tier)
for _us in (-1, 0, 1):
    _policy(f"that took {_us} µs", duration_us=_us)
_policy("of no bundle", policy_hash=ZERO)
_policy("of no bundle, which is a deny", policy_hash=ZERO, effect="deny")
_OTHERS: Json = {"decision": "allow", "policy_id": "none", "policy_hash": ZERO}
_policy("that no bundle tightened", tightened=_OTHERS)
_policy("that no bundle tightened, a deny", tightened=_OTHERS, effect="deny")
_policy("of two bundles", tightened=_OTHERS | {"policy_hash": OTHER})
_policy("of a loose run", mode="loose")


# gates of steps

_GATE: Json = {
    "name": "Go?",
    "description": "Look at it.",
    "approvers": ["role:fin"],
    "quorum": 2,
    "input_schema": {"maximum": 3, "type": "object"},
}


def _gate_of_step(asked: Json, **planned: Any) -> Script:
    run = _run({"id": "a", "type": "GATE", "gate": _GATE | planned}).start()
    run.ask("a", kind="GATE")
    run.begin("a")
    schema = run.forge.keep(planned.get("input_schema", _GATE["input_schema"]))
    facts: Json = {
        "description": "Look at it.",
        "required_approvers": ["role:fin"],
        "quorum": 2,
        "input_schema_hash": schema,
    }
    run.gate("g1", step_id="a", **facts | asked)
    return run


for _name, _asked in {
    "the same": {},
    "another name": {"gate_name": "Harmless"},
    "another description": {"description": "Nothing."},
    "no description": {"description": None},
    "another schema": {"input_schema_hash": OTHER},
    "no schema": {"input_schema_hash": None},
}.items():
    _told(f"a gate that asks {_name}", _gate_of_step, _asked)
_told(
    "a gate that asks by no schema, and there is none",
    lambda: _gate_of_step({"input_schema_hash": None}, input_schema=None),
)
for _number, _schema in enumerate(({}, True, [], [{"a": [1, None, "é"]}, "x"], {"a": -1, "b": {}})):
    _told(
        f"a gate that asks by schema {_number}",
        _gate_of_step,
        {},
        input_schema=_schema,
    )


def _said(output: Any, *, sensitive: bool = False, gate: bool = True, given: Any = None) -> Script:
    spec: Json = {"id": "a", "type": "GATE", "sensitive": sensitive}
    if gate:
        spec["gate"] = {"name": "Go?", "quorum": 2}
    run = _run(spec).start()
    if not gate:
        run.gate("g1", step_id="a", quorum=2)
        run.gate("g2", step_id="a")
        run.gate("g3")
        run.change("paused")
        for gate_id in ("g3", "g2"):
            run.answer(gate_id, actor="carl", role=None)
    else:
        run.ask("a", kind="GATE")
        run.begin("a")
        run.gate("g1", step_id="a", quorum=2)
        run.change("paused")
    run.answer("g1", actor="ann", role=None, given=run.forge.keep(given) if given else None)
    run.answer("g1", actor="ben", role=None)
    run.change("running")
    if not gate:
        run.ask("a", kind="GATE")
        run.begin("a")
    run.done("a", output)
    return run.complete()


def _output(people: list[str], given: Any = None, *, approved: Any = True) -> Json:
    return {"approved": approved, "approved_by": people, "input": given}


_BOTH = ["ann", "ben"]
for _secret in (False, True):
    for _value_given in (None, {"amount": 5}):
        for _name, _out in {
            "said": _output(_BOTH, _value_given),
            "said by others": _output(["ann", "carl"], _value_given),
            "said the other way round": _output(["ben", "ann"], _value_given),
            "said with another input": _output(_BOTH, {"amount": 6}),
            "said with no input": _output(_BOTH),
            "not approved": _output(_BOTH, _value_given, approved=False),
            "something else": {"x": 1},
        }.items():
            _told(
                f"a gate's output is what is {_name}, {_secret=}, {bool(_value_given)=}",
                _said,
                _out,
                sensitive=_secret,
                given=_value_given,
            )


def _said_twice(*people: str) -> Script:
    """Two gates are passed, and one value is told to be what came of both."""
    gate = {"name": "Go?"}
    run = _run(*({"id": i, "type": "GATE", "gate": gate} for i in "ab")).start()
    given = run.forge.keep({"amount": 5})
    for step_id, person in zip("ab", people, strict=True):
        run.ask(step_id, kind="GATE")
        run.begin(step_id)
        run.gate(f"g{step_id}", step_id=step_id)
        run.answer(f"g{step_id}", actor=person, role=None, given=given)
        run.done(step_id, _output([people[0]], {"amount": 5}))
    return run


_told("what was said at two gates, by one person", _said_twice, "ann", "ann")
_told("what was said at two gates, by two people", _said_twice, "ann", "ben")
for _people in (["ann", "ben", "carl"], ["carl", "ann", "ben"], _BOTH):
    _told(
        f"a gate of policy gives {' '.join(_people)}",
        _said,
        _output(_people),
        gate=False,
    )
