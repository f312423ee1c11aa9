"""Steps that are done for each item of a list."""

import copy
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.evidence.corpus.cases import Case, Json, LifeCase
from tests.evidence.corpus.lives import LAWFUL, PLAIN, told
from tests.evidence.pack_forge import FLAG, Forge, Script, digest

__all__ = ["FANS", "fan_packs", "fans"]

_FAN: Json = {"type": "ACT", "foreach": "x", "work": {"run": "python"}}
_EVENLY = {"max_attempts": 3, "factor_pct": 100}
FANNED: Json = {
    "id": "wf",
    "version": "4",
    "timeout_ms": 600_000,
    "steps": [
        {"id": "a", "type": "ACT"},
        _FAN | {"id": "f", "needs": ["a"], "concurrency": 2, "retry": _EVENLY},
        _FAN | {"id": "g", "needs": ["f"], "concurrency": 1},
        {"id": "h", "type": "ACT", "needs": ["g"]},
        {"id": "k", "type": "ACT"},
    ],
}


def _tried_again(run: Script, step_id: str) -> None:
    run.failed(step_id)
    run.retry(step_id)
    run.ask(step_id)
    run.begin(step_id)


def fanned() -> Script:
    """Four items, two at a time, one of which is tried three times; then two, one by one."""
    run = Forge().run("r1", definition=FANNED).start()
    run.step("a").fan_out("f", [4, 5, 6, 7])
    run.ask("f[0]")
    run.begin("f[0]")
    run.step("f[1]")
    run.ask("f[2]")
    run.begin("f[2]")
    _tried_again(run, "f[2]")
    _tried_again(run, "f[2]")
    run.done("f[2]")
    run.step("f[3]")
    run.done("f[0]")
    run.fan_out("g", [8, 9]).step("g[0]").step("g[1]")
    run.step("h").step("k")
    return run.complete()


FANS = {make.__name__: make for make in (fanned,)}


def _begun(*steps: str, definition: Json = FANNED) -> Script:
    run = Forge().run("r1", definition=definition).start()
    for step_id in steps:
        run.step(step_id)
    return run


def fans() -> Iterator[LifeCase]:
    for name, run in _stories():
        yield LifeCase(name, told(run), run.definition)
    run = LAWFUL["cancelled"]()
    for name, step in _definitions():
        definition = PLAIN | {"steps": [PLAIN["steps"][0], {"id": "b", "type": "ACT"} | step]}
        yield LifeCase(f"defined {name}", told(run), definition)
    for number, other in enumerate(_OTHERS):
        yield LifeCase(f"a timeout {number}", told(run), PLAIN | {"timeout_ms": other})


def _definitions() -> Iterator[tuple[str, Json]]:
    """Steps that fan out, and steps of other runs, as they may be defined and as they may not."""
    whole: Json = {"foreach": "x", "concurrency": 2, "work": {"run": "python"}}
    for name in whole:
        for number, other in enumerate(_OTHERS):
            yield f"with {name} {number}", whole | {name: other}
        yield f"without {name}", {key: value for key, value in whole.items() if key != name}
        yield f"with {name} alone", {name: whole[name]}
    for most in (999, 1_000, 1_001):
        yield f"{most} at a time", whole | {"concurrency": most}
    yield "a GATE for each", whole | {"type": "GATE"}
    for gate in (None, {"name": "Go?"}, {}, 0, False):
        yield f"for each, and the gate {gate}", whole | {"gate": gate}
        yield f"a GATE for each, and the gate {gate}", whole | {"gate": gate, "type": "GATE"}
    for name in ("name", "description"):
        for number, other in enumerate(_OTHERS):
            yield f"a gate of the {name} {number}", {"gate": {"name": "Go?"} | {name: other}}
    for runs in ("workflow", "python", "x", None, 1):
        for workflow in ("kid", None, 1, ""):
            for version in ("2", None, 1, ""):
                work = {"run": runs, "workflow": workflow, "version": version}
                yield f"the work {runs} {workflow} {version}", {"work": work}
        yield f"the work {runs}", {"work": {"run": runs}}
        yield f"the work {runs} kid", {"work": {"run": runs, "workflow": "kid"}}


def _stories() -> Iterator[tuple[str, Script]]:
    yield "a plain step", _begun("a").fan_out("k", [1])
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.retry("a")
    yield "a step of a client", run.fan_out("a", [1])
    yield "too early", _begun().fan_out("f", [1])
    run = _begun("a")
    run.decide("run.pause")
    run.change("paused", hold=True)
    yield "while the run is paused", run.fan_out("f", [1])
    run = _begun("a")
    run.ask("k", "deny")
    yield "while the run fails", run.fan_out("f", [1])
    for seconds in (596, 597, 598, 700):
        run = _begun("a")
        told_items = {"step_id": "f", "items": 1, "items_hash": run.forge.keep([1])}
        run.emit("FC-STEP-007", told_items, seconds=seconds)
        yield f"after {seconds} seconds", run
    for count in (-1, 0, 1, 99_999, 100_000, 100_001):
        yield f"{count} items", _begun("a").fan_out("f", [], count=count)
    run = _begun("a").fan_out("f", [])
    run.fan_out("g", []).step("h").step("k")
    yield "nothing, twice", run.complete()
    run = _begun("a").fan_out("f", [1]).step("f[0]")
    yield "the same list twice", run.fan_out("g", [1]).step("g[0]")
    run = _begun("a").fan_out("f", [1]).step("f[0]")
    yield "the same list, and longer", run.fan_out("g", [1], count=2)
    yield "twice", _begun("a").fan_out("f", [1]).fan_out("f", [1])
    for index in range(5):
        run = _begun("a").fan_out("f", [1, 2, 3, 4])
        run.ask(f"f[{index}]", kind="ACT")
        yield f"item {index} at once", run
        run = _begun("a").fan_out("f", [1, 2, 3, 4]).step("f[1]")
        run.ask(f"f[{index}]", kind="ACT")
        yield f"item {index} after the second", run
    for attempt in (1, 2, 3, 4):
        for last in (1, 2, 3):
            run = _begun("a").fan_out("f", [1, 2])
            run.ask("f[0]")
            run.begin("f[0]")
            for _ in range(last - 1):
                _tried_again(run, "f[0]")
            run.done("f[0]")
            again = copy.deepcopy(run)
            run.emit("FC-STEP-005", {"step_id": "f[0]", "attempt": attempt})
            yield f"item done at {last}, in doubt at {attempt}", run
            again.ask("f[0]", attempt=attempt)
            yield f"item done at {last}, asked at {attempt}", again
    run = _begun("a").fan_out("f", [1, 2])
    run.ask("f[0]")
    run.begin("f[0]", step_index=0)
    yield "an item of another index", run
    run = _begun("a").fan_out("f", []).fan_out("g", []).step("h").step("k")
    done = run.keep("done")
    run.decide("run.complete", subject=done)
    run.end("completed", output_hash=done, seconds=700)
    yield "completed after its time", run
    run = _begun("a").fan_out("f", [1])
    run.ask("f")
    yield "the step itself is asked about", run
    for seconds in (590, 700):
        run = _begun("a")
        run.ask("k")
        told_start = {"step_id": "k", "step_type": "ACT", "step_index": 4, "attempt": 1}
        named = {"input_hash": run.steps["k"]["input"], "decision_hash": run.steps["k"]["decision"]}
        key = {"idempotency_key": "r1:k:1"}
        run.emit("FC-STEP-001", told_start | named | key, seconds=seconds)
        yield f"begun after {seconds} seconds", run
    run = Forge().run("r1", birth={"effect": "flag", "flags": [FLAG | {"rule": "r" * 100}]})
    yield "begun without the gate of its birth", run.start()
    for who in ("officer", "o" * 100):
        run = _begun()
        run.ask("a")
        run.begin("a")
        run.decide("run.pause", actor=who)
        run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1}, actor=who)
        yield f"a step is in doubt to {who[:9]}", run
    run = _begun("a").fan_out("f", [1]).step("f[0]").step("k")
    yield "the end before the second list", run.complete()
    yield "a step that people are asked about twice", _gate_and_flag()
    for bypasses in (1, 2, 3):
        run = Forge().run("r1").start()
        for number in range(bypasses):
            run.gate(f"g{number}")
            run.bypass(f"g{number}")
        yield f"{bypasses} bypasses", run.complete()
    for first, per_cent, longest in ((2_000, 50, 1_000), (1_000, 50, 1_000), (1_000, 50, 2_000)):
        times = {"backoff_ms": first, "factor_pct": per_cent, "max_backoff_ms": longest}
        retry = {"max_attempts": 4} | times
        steps = [{"id": "a", "type": "ACT", "retry": retry}]
        run = Forge().run("r1", definition={"id": "wf", "version": "6", "steps": steps}).start()
        run.ask("a")
        run.begin("a")
        _tried_again(run, "a")
        _tried_again(run, "a")
        for wait in (1_000, 999, 500, 499, 250, 249):
            forge = run.forge.copy()
            again = copy.copy(run)
            again.forge, again.steps = forge, copy.deepcopy(run.steps)
            again.receipts = list(run.receipts)
            again.failed("a")
            at = (forge.now + timedelta(seconds=1, milliseconds=wait)).strftime(
                "%Y-%m-%dT%H:%M:%S.%fZ"
            )
            again.emit("FC-STEP-004", {"step_id": "a", "attempt": 4, "not_before": at})
            yield f"pauses of {times}, and one of {wait}", again
    for action in ("run.complete", "run.start", "run.create", "step.act"):
        run = _begun("a")
        run.decide("run.cancel", actor="officer")
        run.end("cancelled", actor="officer")
        run.decide(action, "deny")
        yield f"{action} is denied after the end", run


def _gate_and_flag() -> Script:
    """One gate is a flag's, and the other the step's own: its output is who approved at that."""
    steps = [{"id": "b", "type": "GATE", "gate": {"name": "Go?", "approvers": ["role:fin"]}}]
    run = Forge().run("r1", definition={"id": "wf", "version": "5", "steps": steps}).start()
    run.ask("b", "flag", flags=[FLAG])
    run.ask_people("b", "g1")
    run.answer("g1", actor="first")
    run.change("running")
    run.ask("b", flags=[FLAG], covered_by=["g1"], subject=run.steps["b"]["input"])
    run.begin("b")
    run.gate("g2", step_id="b", required_approvers=["role:fin"])
    run.change("paused")
    run.answer("g2", actor="second")
    run.gates["g1"]["step_id"] = None  # what is said is of the second gate alone
    run.done("b")
    run.change("running")
    return run.complete()


_OTHERS: tuple[Any, ...] = (None, True, 0, 1, -1, 1.5, "", "x", [], {}, ["x"])
_LISTS: dict[str, tuple[Any, int]] = {
    "as long as it says": ([1, 2, 3], 3),
    "longer": ([1, 2, 3], 2),
    "shorter": ([1, 2, 3], 4),
    "a text": ("abc", 3),
    "an object": ({"a": 1}, 1),
    "a number": (3, 3),
    "nothing": (None, 1),
}


def fan_packs() -> Iterator[Case]:
    """What was fanned out over, in the pack."""
    for name, (value, count) in _LISTS.items():
        run = _begun("a").fan_out("f", value, count=count)
        yield Case(f"a list: {name}", run.forge.pack(), run.forge.trust())
        bare = run.forge.pack(payloads=False)
        yield Case(f"a list: {name}, not there", bare, run.forge.trust())
    steps = [{"id": "a", "type": "ACT", "sensitive": True}]
    run = Forge().run("r1", definition={"id": "wf", "version": "7", "steps": steps}).start()
    why = run.forge.keep("why", salt=b"\7" * 32)
    run.decide("run.cancel", subject=why)
    run.end("cancelled", output_hash=why)
    for gone in (why, run.input_hash):
        left_out = run.forge.pack(files_override={f"payloads/{gone}.json": None})
        yield Case(f"sensitive, and {gone[:4]} is not there", left_out, run.forge.trust())
    for depth in (500, 200_000):
        run = _begun("a").fan_out("f", [depth], count=1)
        named = told(run)[-1]["data"]["items_hash"]
        deep = b"[" * depth + b"]" * depth
        yield from _with_value(f"a list of {depth} lists", run, named, deep)
    run = _begun("a").fan_out("f", ["x"], count=1)
    yield from _with_value("no JSON", run, told(run)[-1]["data"]["items_hash"], b"[x]")


def _with_value(name: str, run: Script, named: str, value: bytes) -> Iterator[Case]:
    """The pack, in which the value of that hash is another, and its hash with it."""
    forge = run.forge
    fits = digest(value)

    def edit(events: list[Json]) -> list[Json]:
        for event in events:
            if event["data"].get("items_hash") == named:
                event["data"]["items_hash"] = fits
        return events

    forge = forge.tampered(run.stream, edit)
    del forge.payloads[named]
    file = {f"payloads/{fits}.json": b'{"value":' + value + b"}"}
    yield Case(f"a list: {name}", forge.pack(files_override=file), forge.trust())
