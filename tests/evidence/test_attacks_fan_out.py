"""Fan-outs and timeouts that an operator tells who holds the key, against the verifier.

Everything fits (links, receipts, decisions); one event is not lawful, and that one is named.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.pack_forge import Forge, Json, Script, canonical, digest, leaf

from federation_core.evidence import verify

ITEMS = ["x", "y", "z"]
ITEM = {"type": "ACT", "index": 3, "attempt": 1}

DEFINITION: Json = {
    "id": "wf",
    "version": "1.0.0",
    "timeout_ms": 60_000,
    "steps": [
        {"id": "first", "type": "DECIDE"},
        {
            "id": "act",
            "type": "ACT",
            "needs": ["first"],
            "when": "input.go",
            "foreach": "input.list",
            "concurrency": 2,
            "retry": {"max_attempts": 2},
        },
        {"id": "after", "type": "ACT", "needs": ["act"]},
    ],
}


def begun() -> Script:
    """The step before the fan-out has completed."""
    return Forge().run("r1", definition=DEFINITION).start().step("first", kind="DECIDE")


def fanned(items: Any = ITEMS, **facts: Any) -> Script:
    return begun().fan_out("act", items, **facts)


def items_done(count: int = 3) -> Script:
    run = fanned()
    for index in range(count):
        run.step(f"act[{index}]")
    return run


def _asked(step_id: str, run: Script | None = None, **facts: Any) -> Script:
    run = run or fanned()
    run.steps.setdefault(step_id, dict(ITEM))
    run.ask(step_id, **facts)
    return run


def _started_undecided() -> Script:
    run = fanned()
    run.steps["act[0]"] |= {"input": "1" * 64, "decision": "2" * 64}
    run.begin("act[0]")
    return run


def _started_on_the_decision_of_another() -> Script:
    run = _asked("act[0]")
    run.steps["act[1]"] |= {k: run.steps["act[0]"][k] for k in ("input", "decision")}
    run.begin("act[1]")
    return run


def _started_as(**facts: Any) -> Script:
    run = _asked("act[0]")
    run.begin("act[0]", **facts)
    return run


def _run_twice() -> Script:
    run = items_done(1)
    run.begin("act[0]")
    return run


def _done_twice() -> Script:
    run = items_done(1)
    run.done("act[0]")
    return run


def _done_whole(*, started: bool) -> Script:
    """The step itself is said to have completed."""
    run = fanned()
    run.steps["act"] |= {"input": "1" * 64, "decision": "2" * 64, "started": run.last["at"]}
    if started:
        run.begin("act")
    else:
        run.done("act")
    return run


def _skipped(step_id: str) -> Script:
    run = fanned()
    run.emit("FC-STEP-006", {"step_id": step_id, "reason": "no"})
    return run


def _fanned_out_early() -> Script:
    run = Forge().run("r1", definition=DEFINITION).start()
    return run.fan_out("act", ITEMS)


def _fanned_out_of(step_id: str) -> Script:
    run = items_done() if step_id == "after" else begun()
    return run.fan_out(step_id, ITEMS)


def _fanned_out_after(*what: str) -> Script:
    run = begun()
    if "skip" in what:
        run.emit("FC-STEP-006", {"step_id": "act", "reason": "no"})
    if "pause" in what:
        run.decide("run.pause", actor="starter")
        run.change("paused", hold=True, actor="starter")
    return run.fan_out("act", ITEMS)


def _fanned_out_for_a_client() -> Script:
    run = Forge().run("r1").start()
    run.steps["act"] = {"type": "ACT", "index": 0, "attempt": 1}
    return run.fan_out("act", ITEMS)


def _after_a_denied_item() -> Script:
    run = _asked("act[1]")
    run.ask("act[0]", "deny")
    run.begin("act[1]")
    return run


def _tried_too_often() -> Script:
    run = fanned()
    for _ in range(2):
        run.ask("act[0]")
        run.begin("act[0]")
        run.failed("act[0]")
        run.retry("act[0]")
    return run


def _tried_again() -> Script:
    """The second attempt of an item, and a gate about it afterwards, which tells its attempt."""
    run = fanned()
    run.ask("act[0]")
    run.begin("act[0]")
    run.failed("act[0]")
    run.retry("act[0]")
    run.step("act[0]")
    run.gate("g1", step_id="act[0]")
    run.change("paused")
    run.answer(role=None)
    run.change("running")
    return run


def _doubted_and_repeated() -> Script:
    run = _asked("act[0]")
    run.begin("act[0]")
    run.begin("act[0]", again=True)
    return run


def _without_an_item() -> Script:
    return items_done(2).complete()


def _late(run: Script, seconds: int = 60) -> Script:
    """Time passes: somebody is refused."""
    told = {"attempted": "x", "refusal_code": "x", "reason": "x"}
    run.emit("FC-AUTH-001", told, seconds=seconds)
    return run


def _late_start() -> Script:
    run = _late(_asked("act[0]"))
    run.begin("act[0]")
    return run


def _timed_out(*, after: int, definition: Json = DEFINITION) -> Script:
    run = Forge().run("r1", definition=definition).start()
    run.emit("FC-AUTH-001", {"attempted": "x", "refusal_code": "x", "reason": "x"}, seconds=after)
    run.end("failed", error_code="run_timeout", reason="too slow")
    return run


def _completed_late() -> Script:
    return _late(items_done().step("after")).complete()


def _without(*names: str, **more: Any) -> Json:
    """The definition, its fan-out changed."""
    steps = [dict(step) for step in DEFINITION["steps"]]
    steps[1] = {k: v for k, v in steps[1].items() if k not in names} | more
    return DEFINITION | {"steps": steps}


def _of(definition: Json) -> Script:
    return Forge().run("r1", definition=definition)


LIVES: dict[str, tuple[Callable[[], Script], str | None]] = {
    "three items": (lambda: items_done().step("after").complete(), None),
    "no item": (lambda: fanned([]).step("after").complete(), None),
    "an item tried again": (_tried_again, None),
    "a timeout": (lambda: _timed_out(after=60), None),
    "an item runs undecided": (_started_undecided, "STEP_WITHOUT_ALLOW"),
    "an item runs on another's decision": (
        _started_on_the_decision_of_another,
        "STEP_WITHOUT_ALLOW",
    ),
    "an item runs twice": (_run_twice, "STEP_WITHOUT_ALLOW"),
    "an item runs again, not idempotent": (_doubted_and_repeated, "STEP_WITHOUT_ALLOW"),
    "an item runs after another was denied": (_after_a_denied_item, "STEP_WITHOUT_ALLOW"),
    "the whole step runs": (lambda: _done_whole(started=True), "STEP_WITHOUT_ALLOW"),
    "the whole step ends": (lambda: _done_whole(started=False), "ILLEGAL_TRANSITION"),
    "the whole step is decided about": (lambda: _asked("act"), "ILLEGAL_TRANSITION"),
    "the whole step is decided about instead": (
        lambda: _asked("act", begun()),
        "ILLEGAL_TRANSITION",
    ),
    "an item before there are any": (lambda: _asked("act[0]", begun()), "ILLEGAL_TRANSITION"),
    "an item beyond the last": (lambda: _asked("act[3]", items_done()), "ILLEGAL_TRANSITION"),
    "more items at a time than defined": (lambda: _asked("act[2]"), "ILLEGAL_TRANSITION"),
    "an item by another name": (lambda: _asked("act[00]"), "ILLEGAL_TRANSITION"),
    "an item of another step": (lambda: _asked("first[0]"), "ILLEGAL_TRANSITION"),
    "an item's next attempt too early": (
        lambda: _asked("act[0]", attempt=2),
        "ILLEGAL_TRANSITION",
    ),
    "an item decided about twice": (
        lambda: _asked("act[0]", items_done(1)),
        "ILLEGAL_TRANSITION",
    ),
    "an item ends twice": (_done_twice, "ILLEGAL_TRANSITION"),
    "an item with another's index": (lambda: _started_as(step_index=4), "ILLEGAL_TRANSITION"),
    "an item with its step's index": (lambda: _started_as(step_index=1), "ILLEGAL_TRANSITION"),
    "an item with its step's key": (
        lambda: _started_as(idempotency_key="r1:act:1"),
        "ILLEGAL_TRANSITION",
    ),
    "an item is skipped": (lambda: _skipped("act[0]"), "ILLEGAL_TRANSITION"),
    "the step is skipped afterwards": (lambda: _skipped("act"), "ILLEGAL_TRANSITION"),
    "an item tried more often than defined": (_tried_too_often, "ILLEGAL_TRANSITION"),
    "a step before all items that it needs": (
        lambda: _asked("after", items_done(2)),
        "ILLEGAL_TRANSITION",
    ),
    "completed without an item": (_without_an_item, "ILLEGAL_TRANSITION"),
    "a fan-out before what it needs": (_fanned_out_early, "ILLEGAL_TRANSITION"),
    "a fan-out twice": (lambda: _fanned_out_of("act").fan_out("act", ITEMS), "ILLEGAL_TRANSITION"),
    "a fan-out of a step that is one": (lambda: _fanned_out_of("after"), "ILLEGAL_TRANSITION"),
    "a fan-out that was skipped": (lambda: _fanned_out_after("skip"), "ILLEGAL_TRANSITION"),
    "a fan-out in a pause": (lambda: _fanned_out_after("pause"), "ILLEGAL_TRANSITION"),
    "a fan-out of a client's step": (_fanned_out_for_a_client, "ILLEGAL_TRANSITION"),
    "fewer than no items": (lambda: fanned(count=-1), "ILLEGAL_TRANSITION"),
    "more items than there can be": (lambda: fanned(count=100_001), "ILLEGAL_TRANSITION"),
    "no concurrency": (lambda: _of(_without("concurrency")), "ILLEGAL_TRANSITION"),
    "concurrency of nothing": (lambda: _of(_without("foreach")), "ILLEGAL_TRANSITION"),
    "concurrency without bound": (
        lambda: _of(_without(concurrency=1_001)),
        "ILLEGAL_TRANSITION",
    ),
    "a gate for each item": (lambda: _of(_without(type="GATE")), "ILLEGAL_TRANSITION"),
    "a timeout too early": (lambda: _timed_out(after=58), "ILLEGAL_TRANSITION"),
    "a timeout that nobody defined": (
        lambda: _timed_out(
            after=60, definition={k: v for k, v in DEFINITION.items() if k != "timeout_ms"}
        ),
        "ILLEGAL_TRANSITION",
    ),
    "a timeout that is none": (
        lambda: _of(DEFINITION | {"timeout_ms": 0}),
        "ILLEGAL_TRANSITION",
    ),
    "a fan-out after the timeout": (
        lambda: _late(begun()).fan_out("act", ITEMS),
        "ILLEGAL_TRANSITION",
    ),
    "a decision after the timeout": (
        lambda: _asked("act[0]", _late(fanned())),
        "ILLEGAL_TRANSITION",
    ),
    "a start after the timeout": (_late_start, "ILLEGAL_TRANSITION"),
    "completed after the timeout": (_completed_late, "ILLEGAL_TRANSITION"),
}


@pytest.mark.parametrize("case", LIVES.values(), ids=LIVES)
def test_lives_by_name(case: tuple[Callable[[], Script], str | None]) -> None:
    """Nothing is wrong but the last event, or the birth of a run of an unlawful definition."""
    make, expected = case
    run = make()
    life, found = verify.Life(run.definition), None
    events = run.forge.stream(run.stream)
    for event in events:
        try:
            life.see(event, leaf(canonical(event)))
        except verify.Refusal as e:
            found = e.code
            break
    assert found == expected
    at_birth = run.definition != DEFINITION and event["seq"] == 0
    assert found is None or at_birth or event["seq"] == len(events) - 1


# packs: the list itself


def judged(run: Script, folder: Path) -> verify.Verdict:
    path = folder / "pack.zip"
    path.write_bytes(run.forge.pack())
    return verify.verify_pack(path, run.forge.trust())


def test_a_pack_with_a_fan_out_is_valid(tmp_path: Path) -> None:
    found = judged(items_done().step("after").complete(), tmp_path)
    assert (found.verdict, found.error) == ("VALID", None)


@pytest.mark.parametrize(
    "items",
    [["x", "y"], ["x", "y", "z", "!"], [], {"x": 1, "y": 2, "z": 3}, "xyz"],
    ids=["an item more is told", "an item less", "none", "a mapping", "a text"],
)
def test_a_count_that_is_not_that_of_the_list(tmp_path: Path, items: Any) -> None:
    """An item that was left out, or made up: the run's events alone would be lawful."""
    run = fanned(items, count=3)
    for index in range(3):
        run.step(f"act[{index}]")
    found = judged(run.step("after").complete(), tmp_path)
    assert found.verdict == "INVALID"
    assert found.error is not None
    assert found.error["code"] == "PAYLOAD_MISMATCH"
    assert found.error["file"] == f"payloads/{digest(canonical(items))}.json"
