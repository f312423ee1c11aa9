"""Lives with one thing wrong: each lawful life with each of its facts changed, and those that only
a forger would think of."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.evidence.corpus import untrue
from tests.evidence.corpus.cases import HASH, Json, LifeCase, changed, places, put
from tests.evidence.corpus.fans import FANS
from tests.evidence.corpus.kin import KIN
from tests.evidence.corpus.lives import DOUBTFUL, LAWFUL, PLAIN, TWO, WORKFLOW, expiry, told
from tests.evidence.corpus.remade import remade
from tests.evidence.pack_forge import FLAG, Forge, Script, digest

__all__ = ["STORIES", "definitions", "facts", "lawful", "orders", "stories"]


def _case(name: str, run: Script) -> LifeCase:
    return LifeCase(name, told(run), run.definition)


def lawful() -> Iterator[LifeCase]:
    yield LifeCase("nothing yet", (), None)
    for name, make in (LAWFUL | KIN | FANS).items():
        yield _case(name, make())


# every fact of every event

_ENUMS = (
    ("pending", "running", "paused", "completed", "failed", "cancelled"),
    ("allow", "deny", "flag"),
    ("pending", "approved", "rejected", "bypassed", "expired"),
    ("managed", "external"),
    ("loose", "strict"),
    ("human_approval", "policy_check", "timeout", "in_doubt"),
)
_ADDED: Json = {
    "tags": [],
    "actor_roles": [],
    "hold": True,
    "rules_triggered": [],
    "flags": [],
    "covered_by": [],
    "again": True,
    "description": "",
    "required_approvers": ["role:fin"],
    "quorum": 1,
    "covers": ["large"],
    "step_id": "a",
    "gate_id": "g1",
    "subject_hash": HASH,
    "input_hash": HASH,
    "role": "fin",
    "expires_at": "2026-11-23T12:00:00.000000Z",
    "error_code": "x",
    "error_hash": HASH,
    "reason": "because",
    "decision_receipt_id": "x",
    "definition_hash": HASH,
    "action": "step.act",
    "attempt": 1,
    "tightened": {"decision": "deny", "policy_id": "x", "policy_hash": HASH},
    "unknown": 1,
}


def _others(value: Any) -> Iterator[Any]:
    yield 7 if isinstance(value, str) else "x"
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, True)
    elif isinstance(value, str):
        yield HASH if len(value) == 64 else "other"
        yield value[:-1]
        for words in _ENUMS:
            if value in words:
                yield from (word for word in words if word != value)
    elif isinstance(value, list):
        yield from ([], [*value, "officer"], [1])
    elif value is None:
        yield HASH


def _of_event(event: Json) -> Iterator[tuple[str, Json]]:
    for place, value in places(event["data"]):
        name = ".".join(map(str, place))
        yield f"{name} out", changed(event, ("data", *place))
        for number, other in enumerate(_others(value)):
            yield f"{name} {number}", changed(event, ("data", *place), other)
    for name, value in _ADDED.items():
        if name not in event["data"]:
            yield f"+ {name}", changed(event, ("data", name), value)
    for name in ("actor", "via"):
        for number, other in enumerate(("officer", "starter")):
            yield f"{name} {number}", put(event, **{name: other})
    yield "via none", put(event, via=None)
    for code in ("FC-RUN-003", "FC-NONE-001", "FC-DATA-001"):
        yield f"type {code}", put(event, type=code)
    for other in ("2026-11-23T11:00:00.000000Z", "2026-11-23T13:00:00.000000Z"):
        yield f"at {other[11:13]}", put(event, at=other)


def facts() -> Iterator[LifeCase]:
    """One fact of one event changed, of each kind once, and what hangs on it remade."""
    seen: set[tuple[str, ...]] = set()
    for name, make in (LAWFUL | KIN | FANS).items():
        run = make()
        events = told(run)
        for at, event in enumerate(events):
            for what, other in _of_event(event):
                kind = event["data"].get("action", event["data"].get("gate_type", ""))
                about = (event["type"], str(kind), what)
                if about in seen or (what.startswith("receipt.") and (event["type"], what) in seen):
                    continue
                seen |= {about, (event["type"], what)}
                new = [*events[:at], other, *events[at + 1 :]]
                title = f"{name} {at} {event['type']} {what}"
                of_receipt = what.startswith(("receipt", "workflow_receipt_hash"))
                forged = remade(events, new, receipts=not of_receipt)
                yield LifeCase(title, forged, run.definition)


def orders() -> Iterator[LifeCase]:
    """Events taken out, twice, too early and too late."""
    for name, make in (LAWFUL | KIN | FANS).items():
        run = make()
        e = told(run)
        for at in range(len(e)):
            edits = {
                "out": e[:at] + e[at + 1 :],
                "twice": [*e[: at + 1], *e[at:]],
                "late": [*e[:at], *e[at + 1 : at + 2], e[at], *e[at + 2 :]],
                "last": [*e[:at], *e[at + 1 :], e[at]],
                "end": [*e[:at], e[-1]],
            }
            for what, new in edits.items():
                yield LifeCase(f"{name} {at} {what}", remade(e, new), run.definition)


# definitions

_STEP = PLAIN["steps"][0]
_DEFINITIONS: dict[str, Any] = {
    "none": None,
    "no steps": {"id": "wf", "version": "3"},
    "steps no list": {"id": "wf", "version": "3", "steps": {}},
    "other id": PLAIN | {"id": "x"},
    "other version": PLAIN | {"version": "4"},
    "a step twice": PLAIN | {"steps": [_STEP, _STEP]},
    "a step no object": PLAIN | {"steps": [1]},
}


def definitions() -> Iterator[LifeCase]:
    """A managed run under other definitions than its own (the hash is not looked at here)."""
    run = LAWFUL["cancelled"]()
    for name, definition in _DEFINITIONS.items():
        yield LifeCase(f"definition {name}", told(run), definition)
    full = {
        "id": "b",
        "type": "ACT",
        "needs": ["a"],
        "when": "x",
        "idempotent": False,
        "sensitive": False,
        "retry": {"max_attempts": 1},
        "gate": {"name": "Go?", "approvers": ["x"], "quorum": 1, "expires_s": 60},
    }
    others: tuple[Any, ...] = (None, True, 0, 1, -1, "", "x", [], {}, [1], "DECIDE", "OBSERVE")
    for name in full:
        for number, other in enumerate(others):
            step = full | {name: other}
            yield LifeCase(f"step {name} {number}", told(run), PLAIN | {"steps": [_STEP, step]})
        step = {key: value for key, value in full.items() if key != name}
        yield LifeCase(f"step {name} out", told(run), PLAIN | {"steps": [_STEP, step]})
    for name in ("approvers", "quorum", "expires_s"):
        for number, other in enumerate(others):
            step = full | {"gate": full["gate"] | {name: other}}  # type: ignore[operator]
            yield LifeCase(f"gate {name} {number}", told(run), PLAIN | {"steps": [_STEP, step]})
    for number, other in enumerate(others):
        step = full | {"retry": {"max_attempts": other}}
        yield LifeCase(f"attempts {number}", told(run), PLAIN | {"steps": [_STEP, step]})


# what a forger would think of

Story = Callable[[], Script]
STORIES: dict[str, Story] = {}


def _story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


def stories() -> Iterator[LifeCase]:
    for name, tell in (STORIES | untrue.STORIES).items():
        yield _case(name, tell())


def _flagged(**facts: Any) -> Script:
    """A client's run, paused at the gate of a flag."""
    run = Forge().run("r1", **facts).start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask_people("a")
    return run


def _goes_on(run: Script, *named: str, step: str = "a", flags: Any = (FLAG,)) -> Script:
    run.change("running")
    run.ask(step, flags=list(flags), covered_by=list(named) or None)
    run.begin(step)
    return run


@_story
def begins_without_a_decision() -> Script:
    run = Forge().run("r1").start()
    run.steps["a"] = {"type": "ACT", "index": 0, "attempt": 1, "input": HASH, "decision": HASH}
    run.begin("a")
    return run


@_story
def begins_on_a_deny() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    run.begin("a")
    return run


@_story
def begins_on_a_flag() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.begin("a")
    return run


@_story
def begins_after_another_was_denied() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.ask("b", "deny")
    run.begin("a")
    return run


@_story
def begins_in_a_pause() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.begin("a")
    return run


@_story
def begins_again_in_a_pause() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.ask("a")
    run.begin("a")
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.begin("a", again=True)
    return run


@_story
def begins_again_unasked() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.begin("a")
    return run


@_story
def begins_again_and_is_of_a_client() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.begin("a", again=True)
    return run


@_story
def begins_again_and_is_not_idempotent() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.begin("a", again=True)
    return run


@_story
def begins_again_and_was_never_begun() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.ask("a")
    run.begin("a", again=True)
    return run


@_story
def asks_while_paused() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.ask("a")
    return run


@_story
def asks_after_a_denial() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    run.ask("b")
    return run


@_story
def asks_for_a_step_that_is_not_there() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("z")
    return run


@_story
def asks_before_what_it_needs() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.ask("b")
    return run


@_story
def asks_with_a_gate() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", gate_id="g1")
    return run


@_story
def asks_twice() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask("a", "deny", attempt=1)
    run.end("failed")
    return run


@_story
def asks_as_another_kind() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", step_type="OBSERVE")
    return run


@_story
def asks_for_another_attempt() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", attempt=2)
    return run


@_story
def asks_in_other_words() -> Script:
    run = Forge().run("r1").start()
    run.decide("step.act", subject=HASH, step_id="a", step_type="OBSERVE", attempt=1)
    return run


@_story
def asks_without_an_input() -> Script:
    run = Forge().run("r1").start()
    run.decide("step.act", step_id="a", step_type="ACT", attempt=1)
    return run


@_story
def asks_for_no_step() -> Script:
    run = Forge().run("r1").start()
    run.decide("step.act", subject=HASH, step_type="ACT", attempt=1)
    return run


@_story
def asks_without_a_kind() -> Script:
    run = Forge().run("r1").start()
    run.decide("step.", subject=HASH, step_id="a", attempt=1)
    return run


@_story
def flags_nothing() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag")
    return run


@_story
def goes_on_without_a_gate() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", flags=[FLAG])
    return run


@_story
def goes_on_by_an_unknown_gate() -> Script:
    run = _flagged()
    run.answer()
    return _goes_on(run, "g9")


@_story
def goes_on_by_a_pending_gate() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.gate(
        "g1",
        gate_type="policy_check",
        step_id="a",
        required_approvers=FLAG["approvers"],
        action="step.act",
        subject_hash=run.steps["a"]["input"],
        covers=["large"],
    )
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    return run


@_story
def goes_on_by_a_gate_used_before() -> Script:
    run = _flagged()
    run.answer()
    _goes_on(run, "g1")
    run.failed("a")
    run.retry("a")
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    return run


@_story
def goes_on_by_a_gate_used_twice_in_a_managed_run() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask_people("a")
    run.answer()
    _goes_on(run, "g1")
    run.failed("a")
    run.retry("a")
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    run.begin("a")
    return run


@_story
def a_gate_of_no_step_is_used_twice() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.decide("run.pause", "flag", flags=[FLAG])
    about: Json = {"action": "run.pause", "covers": ["large"]}
    run.gate("g1", gate_type="policy_check", required_approvers=["role:fin"], **about)
    run.answer()
    run.decide("run.pause", flags=[FLAG], covered_by=["g1"])
    run.decide("run.pause", flags=[FLAG], covered_by=["g1"])
    return run


@_story
def a_gate_of_no_step_is_used_once() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.decide("run.pause", "flag", flags=[FLAG])
    about: Json = {"action": "run.pause", "covers": ["large"]}
    run.gate("g1", gate_type="policy_check", required_approvers=["role:fin"], **about)
    run.answer()
    run.decide("run.pause", flags=[FLAG], covered_by=["g1"])
    run.change("paused", hold=True)
    return run


@_story
def names_a_gate_that_covers_nothing() -> Script:
    run = _flagged()
    run.answer()
    run.change("running")
    run.ask("a", covered_by=["g1"])
    return run


@_story
def a_denial_names_a_gate() -> Script:
    run = _flagged()
    run.answer()
    run.change("running")
    run.ask("a", "deny", flags=[FLAG], covered_by=["g1"])
    return run


@_story
def a_flag_names_a_gate() -> Script:
    run = _flagged()
    run.answer()
    run.change("running")
    run.ask("a", "flag", flags=[FLAG], covered_by=["g1"])
    return run


@_story
def goes_on_with_another_input() -> Script:
    run = _flagged()
    run.answer()
    run.change("running")
    run.ask("a", subject=HASH, flags=[FLAG], covered_by=["g1"])
    return run


@_story
def another_step_goes_on() -> Script:
    run = _flagged()
    run.answer()
    run.change("running")
    run.ask("b", subject=run.steps["a"]["input"], flags=[FLAG], covered_by=["g1"])
    return run


def _with_flag(**other: Any) -> Script:
    run = _flagged()
    run.answer()
    return _goes_on(run, "g1", flags=[FLAG | other])


@_story
def goes_on_for_another_rule() -> Script:
    return _with_flag(rule="other")


@_story
def goes_on_for_other_approvers() -> Script:
    return _with_flag(approvers=["officer"])


@_story
def goes_on_for_a_larger_quorum() -> Script:
    return _with_flag(quorum=2)


@_story
def goes_on_for_one_of_two_flags() -> Script:
    run = Forge().run("r1").start()
    flags = [FLAG, FLAG | {"rule": "second"}]
    run.ask("a", "flag", flags=flags)
    run.ask_people("a")
    run.answer()
    return _goes_on(run, "g1", flags=flags)


@_story
def goes_on_for_both_flags() -> Script:
    run = Forge().run("r1").start()
    flags = [FLAG, FLAG | {"rule": "second"}]
    run.ask("a", "flag", flags=flags)
    run.ask_people("a")
    run.ask_people("a", "g2", flags[1])
    run.answer()
    run.answer("g2", actor="approver_2")
    return _goes_on(run, "g1", "g2", flags=flags)


@_story
def goes_on_by_a_bypass() -> Script:
    run = _flagged()
    run.bypass()
    return _goes_on(run, "g1")


def _gate_for_flag(flag: Json, **facts: Any) -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[flag])
    told: Json = {
        "gate_type": "policy_check",
        "step_id": "a",
        "required_approvers": flag["approvers"],
        "action": "step.act",
        "subject_hash": run.steps["a"]["input"],
        "covers": [flag["rule"]],
    }
    run.gate("g1", **told | facts)
    run.change("paused")
    return run


@_story
def asks_others_than_the_flag() -> Script:
    return _gate_for_flag(FLAG, required_approvers=["friend"])


@_story
def asks_fewer_than_the_flag() -> Script:
    return _gate_for_flag(TWO | {"expires_s": None})


@_story
def asks_for_longer_than_the_flag() -> Script:
    run = Forge().run("r1").start()
    return _gate_for_flag(TWO | {"quorum": 1}, expires_at=expiry(run.forge, 61 + 1))


@_story
def asks_for_as_long_as_the_flag() -> Script:
    run = Forge().run("r1").start()
    return _gate_for_flag(TWO | {"quorum": 1}, expires_at=expiry(run.forge, 61))


@_story
def asks_forever() -> Script:
    return _gate_for_flag(FLAG | {"expires_s": 10**12}, expires_at="9999-12-31T23:59:59.999999Z")


@_story
def asks_for_another_rule() -> Script:
    return _gate_for_flag(FLAG, covers=["other"])


@_story
def asks_for_two_rules_of_one() -> Script:
    return _gate_for_flag(FLAG, covers=["large", "other"])


@_story
def asks_for_no_rule() -> Script:
    return _gate_for_flag(FLAG, covers=None)


@_story
def asks_about_another_input() -> Script:
    return _gate_for_flag(FLAG, subject_hash=HASH)


@_story
def asks_about_another_action() -> Script:
    return _gate_for_flag(FLAG, action="step.observe")


@_story
def asks_about_another_step() -> Script:
    return _gate_for_flag(FLAG, step_id="b")


@_story
def asks_as_a_person() -> Script:
    return _gate_for_flag(FLAG, gate_type="human_approval")


@_story
def asks_with_a_subject_only() -> Script:
    return _gate_for_flag(FLAG, covers=None, action=None)


@_story
def asks_with_covers_only() -> Script:
    return _gate_for_flag(FLAG, subject_hash=None, action=None)


@_story
def two_flags_of_one_rule() -> Script:
    run = Forge().run("r1").start()
    flags = [FLAG, FLAG | {"approvers": ["officer"]}]
    run.ask("a", "flag", flags=flags)
    run.ask_people("a")
    run.ask_people("a", "g2", flags[1])
    run.answer()
    run.answer("g2", actor="officer", role=None)
    return _goes_on(run, "g1", "g2", flags=flags)


def _asked(**facts: Any) -> Script:
    """A client's run, paused at a gate."""
    who = {name: facts.pop(name) for name in ("mode",) if name in facts}
    run = Forge().run("r1", policy_mode=who.get("mode", "strict")).start()
    run.gate("g1", **{"required_approvers": ["role:fin"]} | facts)
    run.change("paused")
    return run


def _answered(gate: Json | None = None, **answer: Any) -> Script:
    run = _asked(**gate or {})
    run.answer(**answer)
    run.change("running")
    return run


@_story
def an_answer_without_a_role() -> Script:
    return _answered(role=None)


@_story
def an_answer_in_another_role() -> Script:
    return _answered(role="hr")


@_story
def an_answer_by_name() -> Script:
    return _answered({"required_approvers": ["officer"]}, actor="officer", role=None)


@_story
def an_answer_by_name_and_role() -> Script:
    people = ["officer", "role:fin"]
    return _answered({"required_approvers": people}, actor="officer", role="fin")


@_story
def an_answer_where_nobody_is_named() -> Script:
    return _answered({"required_approvers": None}, role=None)


@_story
def an_answer_in_a_role_where_nobody_is_named() -> Script:
    return _answered({"required_approvers": None})


@_story
def an_answer_by_the_starter() -> Script:
    return _answered(actor="starter")


@_story
def an_answer_by_the_starter_in_loose_mode() -> Script:
    return _answered({"mode": "loose"}, actor="starter")


@_story
def an_answer_through_the_starter() -> Script:
    return _answered(via="starter")


@_story
def an_answer_by_the_asker() -> Script:
    return _answered({"actor": "asker"}, actor="asker")


@_story
def an_answer_through_the_asker() -> Script:
    return _answered({"actor": "asker"}, via="asker")


@_story
def an_answer_by_whom_the_asker_acts_through() -> Script:
    return _answered({"actor": "asker", "via": "tool"}, actor="tool")


@_story
def an_answer_through_what_the_asker_acts_through() -> Script:
    return _answered({"actor": "asker", "via": "tool"}, via="tool")


def _born_via(**answer: Any) -> Script:
    run = _asked()
    run.answer(**answer)

    def through(events: list[Json]) -> list[Json]:
        return [put(event, via="robot") for event in events[:2]] + events[2:]

    run.forge = run.forge.tampered(run.stream, through)
    return run


@_story
def an_answer_by_whom_the_starter_acts_through() -> Script:
    return _born_via(actor="robot")


@_story
def an_answer_through_what_the_starter_acts_through() -> Script:
    return _born_via(via="robot")


@_story
def an_answer_by_one_person_twice() -> Script:
    run = _asked(quorum=2)
    run.answer()
    run.answer()
    return run


@_story
def an_answer_by_two_of_two() -> Script:
    run = _asked(quorum=2)
    run.answer()
    run.answer(actor="approver_2")
    run.change("running")
    return run


@_story
def one_of_two_is_told_to_be_enough() -> Script:
    run = _asked(quorum=2)
    run.answer(status="approved")
    return run


@_story
def one_of_one_is_told_to_be_too_few() -> Script:
    run = _asked()
    run.answer(status="pending")
    return run


@_story
def a_yes_is_told_to_be_a_no() -> Script:
    run = _asked()
    run.answer(status="rejected")
    return run


@_story
def a_no_is_told_to_be_a_yes() -> Script:
    run = _asked()
    run.answer(approve=False, status="approved")
    return run


@_story
def a_no_after_a_yes() -> Script:
    run = _asked(quorum=2)
    run.answer()
    run.answer(actor="approver_2", approve=False)
    run.end("failed")
    return run


@_story
def a_no_with_another_input() -> Script:
    run = _asked(quorum=2)
    run.answer(given=HASH)
    run.answer(actor="approver_2", approve=False, given="a" * 64)
    return run


@_story
def two_with_other_inputs() -> Script:
    run = _asked(quorum=2)
    run.answer(given=HASH)
    run.answer(actor="approver_2", given="a" * 64)
    return run


@_story
def two_with_one_input() -> Script:
    run = _asked(quorum=2)
    run.answer(given=HASH)
    run.answer(actor="approver_2", given=HASH)
    return run


@_story
def two_and_the_second_has_no_input() -> Script:
    run = _asked(quorum=3)
    run.answer(given=HASH)
    run.answer(actor="approver_2")
    run.answer(actor="approver_3", given=HASH)
    return run


@_story
def two_and_the_second_has_no_input_and_the_third_another() -> Script:
    run = _asked(quorum=3)
    run.answer(given=HASH)
    run.answer(actor="approver_2")
    run.answer(actor="approver_3", given="a" * 64)
    return run


@_story
def two_and_the_first_has_no_input() -> Script:
    run = _asked(quorum=2)
    run.answer()
    run.answer(actor="approver_2", given=HASH)
    return run


@_story
def two_and_the_first_has_an_empty_input() -> Script:
    run = _asked(quorum=2)
    run.answer()
    run.answer(actor="approver_2", given=digest(b"{}"))
    return run


@_story
def an_answer_to_a_closed_gate() -> Script:
    run = _asked()
    run.answer()
    run.answer(actor="approver_2")
    return run


@_story
def an_answer_to_an_unknown_gate() -> Script:
    run = _asked()
    run.gates["g9"] = run.gates["g1"] | {"gate_id": "g9"}
    run.answer("g9")
    return run


@_story
def an_answer_to_a_gate_of_another_name() -> Script:
    run = _asked()
    run.gates["g1"] |= {"gate_name": "other"}
    run.answer()
    return run


@_story
def an_answer_to_a_gate_of_another_step() -> Script:
    run = _asked()
    run.gates["g1"] |= {"step_id": "x"}
    run.answer()
    return run


@_story
def an_answer_that_policy_did_not_allow() -> Script:
    run = _asked()
    run.answer(allowed=False)
    return run


@_story
def an_answer_on_another_gates_allow() -> Script:
    run = _asked()
    run.decide("gate.resolve", gate_id="g2", actor="approver_1")
    run.answer(allowed=False)
    return run


@_story
def an_answer_on_another_persons_allow() -> Script:
    run = _asked()
    run.decide("gate.resolve", gate_id="g1", actor="approver_2")
    run.answer(allowed=False)
    return run


@_story
def an_answer_on_the_allow_of_a_bypass() -> Script:
    run = _asked()
    run.decide("gate.bypass", gate_id="g1", actor="approver_1")
    run.answer(allowed=False)
    return run


@_story
def an_answer_on_a_denial() -> Script:
    run = _asked()
    run.decide("gate.resolve", "deny", gate_id="g1", actor="approver_1")
    run.answer(allowed=False)
    return run


@_story
def an_answer_too_late() -> Script:
    run = _asked(expires_at="2026-11-23T12:00:10.000000Z")
    run.answer(seconds=60)
    return run


@_story
def an_answer_just_in_time() -> Script:
    run = _asked(expires_at="2026-11-23T12:00:09.000000Z")
    run.answer(seconds=1)
    run.change("running")
    return run


@_story
def an_answer_just_too_late() -> Script:
    run = _asked(expires_at="2026-11-23T12:00:08.000000Z")
    run.answer(seconds=1)
    return run


@_story
def a_gate_expires_too_early() -> Script:
    run = _asked(expires_at="2026-11-23T12:10:00.000000Z")
    run.expire()
    return run


@_story
def a_gate_expires_that_never_does() -> Script:
    run = _asked()
    run.expire()
    return run


@_story
def a_gate_expires_twice() -> Script:
    run = _asked(expires_at="2026-11-23T12:00:00.000000Z")
    run.expire()
    run.expire()
    return run


@_story
def a_bypass_too_late() -> Script:
    run = _asked(expires_at="2026-11-23T12:00:00.000000Z")
    run.bypass()
    return run


@_story
def a_bypass_without_a_reason() -> Script:
    run = _asked()
    run.bypass(reason=" ")
    return run


@_story
def a_bypass_of_a_doubt() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1})
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.bypass()
    return run


@_story
def a_bypass_that_policy_did_not_allow() -> Script:
    run = _asked()
    run.bypass()

    def unasked(events: list[Json]) -> list[Json]:
        return [e for e in events if e["data"].get("action") != "gate.bypass"]

    run.forge = run.forge.tampered(run.stream, unasked)
    return run


@_story
def a_bypass_of_a_step_that_waits() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.step("a")
    run.ask("b")
    run.begin("b")
    at = expiry(run.forge, 60)
    run.gate("g1", step_id="b", required_approvers=["role:fin"], expires_at=at)
    run.bypass()
    run.done("b")
    return run


def _at_own_gate(**facts: Any) -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.step("a")
    run.ask("b")
    run.begin("b")
    at = expiry(run.forge, 60)
    told = {"step_id": "b", "required_approvers": ["role:fin"], "expires_at": at}
    run.gate("g1", **told | facts)
    return run


@_story
def a_step_asks_others_than_its_gate() -> Script:
    return _at_own_gate(required_approvers=["friend"])


@_story
def a_step_asks_more_than_its_gate() -> Script:
    return _at_own_gate(quorum=2)


@_story
def a_step_asks_without_an_end() -> Script:
    return _at_own_gate(expires_at=None)


@_story
def a_step_ends_before_its_gate() -> Script:
    run = _at_own_gate()
    run.done("b")
    return run


@_story
def a_step_fails_before_its_gate() -> Script:
    run = _at_own_gate()
    run.failed("b")
    return run


@_story
def a_step_fails_after_its_gate() -> Script:
    run = _at_own_gate()
    run.answer()
    run.failed("b")
    run.end("failed")
    return run


@_story
def a_step_ends_after_a_no() -> Script:
    run = _at_own_gate()
    run.answer(approve=False)
    run.done("b")
    return run


@_story
def a_step_ends_and_never_asked() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.step("a")
    run.step("b")
    return run


@_story
def a_step_fails_and_never_asked() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.step("a")
    run.ask("b")
    run.begin("b")
    run.failed("b")
    run.end("failed")
    return run


@_story
def a_step_asks_twice() -> Script:
    run = _at_own_gate()
    at = expiry(run.forge, 60)
    run.gate("g2", step_id="b", required_approvers=["friend"], expires_at=at)
    run.answer("g2", actor="friend", role=None)
    run.done("b")
    return run


@_story
def a_gate_stands_twice() -> Script:
    run = _asked()
    run.gate("g1")
    return run


@_story
def a_gate_step_without_a_gate() -> Script:
    steps = [{"id": "a", "type": "GATE"}, {"id": "b", "type": "ACT", "gate": {"name": "Go?"}}]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    run.ask("a")
    run.begin("a")
    run.gate("g1", step_id="a")
    return run


@_story
def a_gate_at_a_step_that_is_none() -> Script:
    steps = [{"id": "b", "type": "ACT", "gate": {"name": "Go?"}}]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    run.ask("b")
    run.begin("b")
    run.gate("g1", step_id="b")
    run.answer(role=None)
    run.done("b")
    return run


@_story
def a_gate_of_defaults() -> Script:
    steps = [{"id": "a", "type": "GATE", "gate": {"name": "Go?"}}]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    run.ask("a")
    run.begin("a")
    run.gate("g1", step_id="a")
    run.change("paused")
    run.answer(role=None)
    run.done("a")
    run.change("running")
    return run.complete()


@_story
def a_gate_at_a_clients_gate_step() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", kind="GATE")
    run.begin("a")
    run.gate("g1", step_id="a")
    run.change("paused")
    run.answer(role=None)
    run.done("a")
    return run


def _doubted(definition: Json | None = DOUBTFUL) -> Script:
    run = Forge().run("r1", definition=definition).start()
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1})
    return run


@_story
def a_doubt_of_a_client() -> Script:
    return _doubted(None)


@_story
def a_doubt_of_what_can_be_repeated() -> Script:
    return _doubted(WORKFLOW)


@_story
def a_doubt_of_nothing() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.gate("g1", gate_type="in_doubt", step_id="a")
    return run


@_story
def a_doubt_of_no_step() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.gate("g1", gate_type="in_doubt")
    return run


@_story
def a_doubt_is_asked_about_twice() -> Script:
    run = _doubted()
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.gate("g2", gate_type="in_doubt", step_id="a")
    return run


@_story
def a_doubt_ends_by_itself() -> Script:
    run = _doubted()
    run.done("a")
    return run


@_story
def a_doubt_is_retried_unasked() -> Script:
    run = _doubted()
    run.retry("a")
    return run


@_story
def a_doubt_is_retried_before_the_answer() -> Script:
    run = _doubted()
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.retry("a")
    return run


@_story
def a_doubt_is_found_to_have_failed() -> Script:
    run = _doubted()
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.answer(role=None)
    run.failed("a")
    run.end("failed")
    return run


@_story
def a_doubt_comes_twice() -> Script:
    run = _doubted()
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.answer(role=None)
    run.retry("a")
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 2})
    run.done("a")
    return run


@_story
def another_gate_at_a_doubt() -> Script:
    run = _doubted()
    run.gate("g1", step_id="a")
    run.answer(role=None)
    run.done("a")
    return run


@_story
def a_retry_too_many() -> Script:
    run = Forge().run("r1", definition=WORKFLOW).start()
    for _ in range(2):
        run.ask("a")
        run.begin("a")
        run.failed("a")
        run.retry("a")
    return run


@_story
def a_retry_while_another_was_denied() -> Script:
    steps = [
        {"id": "a", "type": "ACT", "retry": {"max_attempts": 2}},
        {"id": "b", "type": "ACT", "retry": {"max_attempts": 2}},
    ]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    run.ask("a")
    run.begin("a")
    run.ask("b", "deny")
    run.failed("a")
    run.retry("a")
    return run


@_story
def a_retry_while_another_failed() -> Script:
    steps = [
        {"id": "a", "type": "ACT", "retry": {"max_attempts": 2}},
        {"id": "b", "type": "ACT", "retry": {"max_attempts": 2}},
    ]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    for step_id in ("a", "b"):
        run.ask(step_id)
        run.begin(step_id)
    run.failed("a")
    run.failed("b")
    run.retry("b")
    return run


@_story
def a_retry_of_a_done_step() -> Script:
    run = Forge().run("r1").start()
    run.step("a")
    run.retry("a")
    return run


@_story
def a_retry_of_an_unknown_step() -> Script:
    run = Forge().run("r1").start()
    run.steps["a"] = {"attempt": 1}
    run.retry("a")
    return run


@_story
def a_skip_of_a_step_without_a_condition() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    return run


@_story
def a_skip_of_a_clients_step() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask("a", "flag", flags=[FLAG])
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    return run


def _skippable(needs: list[str]) -> Json:
    steps = [
        {"id": "a", "type": "ACT", "when": "x"},
        {"id": "b", "type": "ACT", "when": "x", "needs": needs},
    ]
    return DOUBTFUL | {"steps": steps}


@_story
def a_skip_before_what_it_needs() -> Script:
    run = Forge().run("r1", definition=_skippable(["a"])).start()
    run.emit("FC-STEP-006", {"step_id": "b", "reason": "no"})
    return run


@_story
def a_skip_after_a_skip() -> Script:
    run = Forge().run("r1", definition=_skippable(["a"])).start()
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    run.emit("FC-STEP-006", {"step_id": "b", "reason": "no"})
    return run.complete()


@_story
def a_skip_after_a_denial() -> Script:
    run = Forge().run("r1", definition=_skippable([])).start()
    run.ask("a", "deny")
    run.emit("FC-STEP-006", {"step_id": "b", "reason": "no"})
    return run


@_story
def a_skip_in_a_pause() -> Script:
    run = Forge().run("r1", definition=_skippable([])).start()
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    return run


@_story
def a_gate_at_a_skipped_step() -> Script:
    run = Forge().run("r1", definition=_skippable([])).start()
    run.emit("FC-STEP-006", {"step_id": "a", "reason": "no"})
    run.steps["a"]["attempt"] = 0
    run.gate("g1", step_id="a")
    run.answer(role=None)
    return run


@_story
def completes_with_steps_left() -> Script:
    return Forge().run("r1", definition=PLAIN).start().step("a").complete()


@_story
def completes_both_steps() -> Script:
    return (
        Forge().run("r1", definition=PLAIN).start().step("a").step("b", kind="TRANSFORM").complete()
    )


@_story
def completes_at_a_gate() -> Script:
    run = Forge().run("r1").start()
    run.gate("g1")
    return run.complete()


@_story
def completes_in_a_pause() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.pause")
    run.change("paused", hold=True)
    return run.complete()


@_story
def completes_after_a_denial() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    return run.complete()


@_story
def completes_in_flight() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    return run.complete()


@_story
def completes_and_never_ran() -> Script:
    return Forge().run("r1").complete()


@_story
def completes_unasked() -> Script:
    run = Forge().run("r1").start()
    run.end("completed")
    return run


@_story
def completes_on_a_denial() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.step("a").step("b", kind="TRANSFORM")
    run.decide("run.complete", "deny")
    run.end("failed")
    return run


@_story
def a_client_fails_on_a_denial_of_completion() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.complete", "deny")
    run.end("failed")
    return run


@_story
def a_start_is_denied() -> Script:
    run = Forge().run("r1", definition=PLAIN)
    run.decide("run.start", "deny")
    run.end("failed")
    return run


@_story
def a_clients_start_is_denied() -> Script:
    run = Forge().run("r1")
    run.decide("run.start", "deny")
    run.end("failed")
    return run


@_story
def a_start_on_another_allow() -> Script:
    run = Forge().run("r1")
    run.decide("run.resume")
    run.change("running")
    return run


@_story
def a_start_by_another_person() -> Script:
    run = Forge().run("r1")
    run.decide("run.start", actor="officer")
    run.change("running", actor="system")
    return run


@_story
def a_start_on_an_allow_with_a_gate() -> Script:
    run = Forge().run("r1")
    run.decide("run.start", gate_id="g1")
    run.change("running")
    return run


@_story
def a_start_after_something_came_between() -> Script:
    run = Forge().run("r1")
    run.decide("run.start")
    run.emit("FC-AUTH-001", {"attempted": "x", "refusal_code": "x", "reason": "x"})
    run.change("running")
    return run


@_story
def a_start_at_a_gate() -> Script:
    run = Forge().run("r1")
    run.gate("g1")
    return run.start()


@_story
def a_start_after_a_denial() -> Script:
    return Forge().run("r1", birth={"effect": "deny"}).start()


@_story
def a_pause_of_nothing() -> Script:
    run = Forge().run("r1").start()
    run.change("paused")
    return run


@_story
def a_pause_before_the_start() -> Script:
    run = Forge().run("r1")
    run.gate("g1")
    run.change("paused")
    return run


@_story
def a_pause_that_holds_unasked() -> Script:
    run = Forge().run("r1").start()
    run.change("paused", hold=True)
    return run


@_story
def a_hold_is_left_unasked() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.change("running")
    return run


@_story
def a_pause_at_a_gate_is_left_unasked() -> Script:
    run = _asked()
    run.change("running")
    return run


@_story
def a_pause_is_left_after_a_no() -> Script:
    run = _asked()
    run.answer(approve=False)
    run.change("running")
    return run


@_story
def progress_unasked() -> Script:
    run = Forge().run("r1").start()
    run.change("running")
    return run


@_story
def progress_of_a_managed_run() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.decide("run.resume")
    run.change("running")
    return run


@_story
def a_managed_run_is_held_and_goes_on() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.decide("run.pause")
    run.change("paused", hold=True)
    run.decide("run.resume")
    run.change("running")
    return run


@_story
def progress_that_holds() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.resume")
    run.change("running", hold=True)
    run.decide("run.pause")
    run.change("paused", hold=True)
    return run


@_story
def a_change_from_another_state() -> Script:
    run = Forge().run("r1").start()
    run.status = "paused"
    run.change("running")
    return run


@_story
def an_end_from_another_state() -> Script:
    run = Forge().run("r1").start()
    run.status = "paused"
    run.decide("run.cancel")
    run.end("cancelled")
    return run


@_story
def fails_for_no_reason() -> Script:
    run = Forge().run("r1").start()
    run.end("failed", error_code="x")
    return run


@_story
def a_managed_run_fails_of_itself() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.end("failed", error_code="value_missing")
    return run


@_story
def a_managed_run_fails_for_no_reason() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.end("failed")
    return run


@_story
def cancelled_of_itself() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.end("cancelled", error_code="x")
    return run


@_story
def cancelled_after_a_denial() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    run.end("cancelled")
    return run


@_story
def cancelled_in_flight() -> Script:
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.decide("run.cancel")
    run.end("cancelled")
    return run


@_story
def cancelled_by_another() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.cancel", actor="officer")
    run.end("cancelled", actor="system")
    return run


@_story
def cancelled_on_a_denial() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.cancel", "deny")
    run.end("cancelled")
    return run


@_story
def cancelled_on_the_allow_to_fail() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.fail")
    run.end("cancelled")
    return run


@_story
def cancelled_long_after_the_allow() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.cancel")
    run.gate("g1")
    run.end("cancelled")
    return run


@_story
def cancelled_after_another_decision() -> Script:
    run = Forge().run("r1").start()
    run.decide("run.cancel")
    run.decide("run.pause", "deny")
    run.end("cancelled")
    return run


@_story
def cancelled_at_birth() -> Script:
    run = Forge().run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    return run


@_story
def something_after_the_end() -> Script:
    run = Forge().run("r1").start().complete()
    run.gate("g1")
    return run


@_story
def an_end_after_the_end() -> Script:
    run = Forge().run("r1").start().complete()
    run.decide("run.cancel")
    run.end("cancelled")
    return run


@_story
def a_creation_denied_after_the_end() -> Script:
    run = Forge().run("r1", definition=PLAIN)
    run.decide("run.cancel")
    run.end("cancelled")
    for action in ("run.create", "run.start", "run.complete"):
        run.decide(action, "deny")
    return run


@_story
def a_step_after_the_end_and_a_denial() -> Script:
    run = Forge().run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    run.decide("run.create", "deny")
    run.ask("a")
    return run


@_story
def a_step_of_another_name_fails() -> Script:
    run = Forge().run("r1").start()
    run.ask("XXXX")
    run.begin("XXXX")
    run.gate("g1")
    run.answer(role=None)
    return run


@_story
def a_doubt_of_a_step_of_another_name() -> Script:
    steps = [{"id": "XXXX", "type": "ACT"}]
    run = Forge().run("r1", definition=DOUBTFUL | {"steps": steps}).start()
    run.ask("XXXX")
    run.begin("XXXX")
    run.emit("FC-STEP-005", {"step_id": "XXXX", "attempt": 1})
    run.gate("g1", gate_type="in_doubt")
    return run


LONG = "".join(f"{number:02}" for number in range(60))
"""Of which messages tell the beginning."""


@_story
def a_long_name_answers_twice() -> Script:
    run = _asked(quorum=2, required_approvers=None)
    run.answer(actor=LONG, role=None)
    run.answer(actor=LONG, role=None)
    return run


@_story
def a_long_name_is_not_asked() -> Script:
    return _answered(actor=LONG, role="hr")


@_story
def a_long_rule_is_not_covered() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", flags=[FLAG | {"rule": LONG}])
    return run


@_story
def a_long_type() -> Script:
    run = Forge().run("r1")
    run.emit(LONG, {})
    return run


@_story
def a_second_birth() -> Script:
    run = Forge().run("r1")
    run.emit("FC-RUN-001", told(run)[0]["data"])
    return run


@_story
def an_event_of_no_run() -> Script:
    run = Forge().run("r1")
    run.emit("FC-DATA-001", {"payload_hashes": [], "reason": "x", "stream": "run:r1"})
    return run


@_story
def another_runs_birth() -> Script:
    run = Forge().run("r1")
    run.forge.leaves[0]["data"]["run_id"] = "r2"
    return run


@_story
def no_definition_is_named() -> Script:
    run = Forge().run("r1", definition=PLAIN)
    del run.forge.leaves[0]["data"]["definition_hash"]
    return run


def _tightened(effect: str, by: str, **facts: Any) -> Script:
    run = Forge().run("r1").start()
    other = {"decision": by, "policy_id": "x", "policy_hash": HASH}
    run.ask("a", effect, tightened=other, **facts)
    return run


for _own in ("allow", "flag", "deny"):
    for _other in ("allow", "flag", "deny"):
        _told = partial(_tightened, _own, _other, flags=[FLAG])
        STORIES[f"{_own}, and another bundle: {_other}"] = _told
STORIES["an allow, and another bundle: flag"] = lambda: _tightened("allow", "flag")
STORIES["no rules of another bundle"] = lambda: _no_rules([])
STORIES["numbers as rules of another bundle"] = lambda: _no_rules([1])
STORIES["rules of another bundle"] = lambda: _no_rules(["a"])


def _no_rules(rules: list[Any]) -> Script:
    run = Forge().run("r1").start()
    other = {"decision": "allow", "policy_id": "x", "policy_hash": HASH, "rules_triggered": rules}
    run.ask("a", tightened=other)
    return run


def _receipt(name: str, value: Any) -> Story:
    def tell() -> Script:
        run = Forge().run("r1").start()
        run.ask("a")
        run.begin("a")
        run.done("a")
        run.last["data"]["receipt"][name] = value
        return run

    return tell


STORIES["a receipt with a one that is true"] = _receipt("v", True)
STORIES["a receipt that is another than its hash"] = _receipt("step_id", "b")


def _retried(**spec: Any) -> Story:
    """A step that failed once is tried again."""

    def tell() -> Script:
        steps = [{"id": "a", "type": "ACT"} | spec]
        run = Forge().run("r1", definition=PLAIN | {"steps": steps}).start()
        run.ask("a")
        run.begin("a")
        run.failed("a")
        run.retry("a")
        return run

    return tell


STORIES["retries that nobody allowed"] = _retried()
STORIES["retries of which nothing is said"] = _retried(retry={})
STORIES["retries where there are no attempts"] = _retried(retry={"max_attempts": 0})


def _at_gate_of_two(**facts: Any) -> Story:
    """A GATE step at which two are to be asked."""

    def tell() -> Script:
        gate = {"approvers": ["officer", "role:fin"], "quorum": 2}
        steps = [{"id": "a", "type": "GATE", "gate": gate}]
        run = Forge().run("r1", definition=PLAIN | {"steps": steps}).start()
        run.ask("a", kind="GATE")
        run.begin("a")
        run.gate("g1", step_id="a", required_approvers=gate["approvers"], **facts)
        return run

    return tell


STORIES["two are to be asked, and are"] = _at_gate_of_two(quorum=2)
STORIES["two are to be asked, and one is"] = _at_gate_of_two()


def _of_secrets(step_id: str = "a") -> Script:
    """A run whose only step is a sensitive one, which failed for good."""
    steps = [{"id": step_id, "type": "ACT", "sensitive": True}]
    run = Forge().run("r1", definition=PLAIN | {"steps": steps}).start()
    run.ask(step_id)
    run.begin(step_id)
    return run


@_story
def a_secret_output_of_which_nobody_decided() -> Script:
    run = _of_secrets()
    run.done("a")
    run.decide("run.complete", subject="a" * 64)
    run.end("completed", output_hash="b" * 64)
    return run


@_story
def what_the_engine_says_of_a_run_may_be_secret() -> Script:
    run = _of_secrets()
    run.done("a")
    run.end("failed", error_code="expression_failed", error_hash="b" * 64)
    return run


@_story
def what_a_client_says_of_a_run_is_no_secret() -> Script:
    run = _of_secrets()
    run.done("a")
    run.decide("run.cancel")
    run.end("cancelled", error_hash="b" * 64)
    return run


@_story
def what_a_secret_step_said_is_secret() -> Script:
    run = _of_secrets()
    run.failed("a", error_hash="b" * 64)
    run.end("failed", error_code="step_failed", error_hash="b" * 64)
    return run


@_story
def an_error_of_which_the_type_is_a_sentence() -> Script:
    run = _of_secrets()
    run.failed("a", error_type="no luck")
    run.end("failed", error_code="step_failed")
    return run


@_story
def a_secret_step_without_a_name() -> Script:
    run = _of_secrets("")
    run.decide("run.pause", subject="a" * 64)
    return run


@_story
def the_schema_of_a_gate_before_a_secret_output() -> Script:
    run = _of_secrets()
    run.done("a")
    run.decide("run.complete", "flag", subject="a" * 64, flags=[FLAG])
    run.gate(
        "g1",
        gate_type="policy_check",
        required_approvers=FLAG["approvers"],
        action="run.complete",
        subject_hash="a" * 64,
        input_schema_hash="b" * 64,
        covers=["large"],
    )
    return run


@_story
def a_secret_that_is_told_again() -> Script:
    """A value stays the secret of its step when another step is asked for with it."""
    steps = [{"id": "a", "type": "ACT", "sensitive": True}, {"id": "b", "type": "ACT"}]
    run = Forge().run("r1", definition=PLAIN | {"steps": steps}).start()
    run.ask("a", subject="a" * 64)
    run.ask("b", subject="a" * 64)
    return run


@_story
def a_gate_about_a_value_is_used_twice() -> Script:
    run = Forge().run("r1", definition=DOUBTFUL).start()
    about: Json = {"action": "run.pause", "covers": ["large"], "subject_hash": HASH}
    run.decide("run.pause", "flag", subject=HASH, flags=[FLAG])
    run.gate("g1", gate_type="policy_check", required_approvers=["role:fin"], **about)
    run.answer()
    run.decide("run.pause", subject=HASH, flags=[FLAG], covered_by=["g1"])
    run.decide("run.pause", subject=HASH, flags=[FLAG], covered_by=["g1"])
    return run


@_story
def a_denied_step_is_tried_again() -> Script:
    run = Forge().run("r1").start()
    run.ask("a", "deny")
    run.retry("a")
    return run
