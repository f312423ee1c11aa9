"""Runs that are about others: one that a step starts, one that does another again; and what they
say of one another."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests.evidence.corpus.calls import Call
from tests.evidence.corpus.cases import HASH, Case, Json, LifeCase, variants
from tests.evidence.corpus.lives import told
from tests.evidence.corpus.remade import remade
from tests.evidence.pack_forge import Forge, Script, canonical, digest, leaf

from federation_core.evidence import verify
from federation_core.spine.children import child_run_id

__all__ = ["KIN", "families", "kin", "kinship"]

PARENT = "01a228ea-0087-740c-9f22-e0c2b1dc1db0"
_CHILD_WORK = {"run": "workflow", "workflow": "kid", "version": "2"}
FAMILY: Json = {
    "id": "wf",
    "version": "1",
    "steps": [
        {"id": "sub", "type": "ACT", "work": _CHILD_WORK, "retry": {"max_attempts": 2}},
        {"id": "after", "type": "ACT", "needs": ["sub"], "work": {"run": "python"}},
    ],
}
AGAIN: Json = {
    "id": "wf",
    "version": "1",
    "steps": [
        {"id": "a", "type": "ACT"},
        {"id": "b", "type": "ACT", "needs": ["a"], "when": "input.x"},
        {"id": "c", "type": "ACT", "needs": ["a", "b"]},
        {"id": "d", "type": "ACT", "foreach": "x", "concurrency": 1, "work": {"run": "python"}},
    ],
}


def _named(run: Script, step_id: str) -> str:
    """The id of the run that a step begun a second from now starts."""
    at = run.forge.now.timestamp() + 1
    return child_run_id(run.run_id, step_id, run.steps[step_id]["attempt"], round(at * 1_000_000))


def parent() -> Script:
    """A step that starts a run, fails, and starts another."""
    run = Forge().run(PARENT, definition=FAMILY).start()
    run.ask("sub")
    run.begin("sub", child_run_id=_named(run, "sub"))
    run.failed("sub")
    run.retry("sub")
    run.ask("sub")
    run.begin("sub", child_run_id=_named(run, "sub"))
    run.done("sub")
    run.step("after")
    return run.complete()


def child() -> Script:
    """The run that a step of another started at its second attempt."""
    forge = Forge()
    name = child_run_id(PARENT, "sub", 2, round(forge.now.timestamp() * 1_000_000))
    facts = {"parent_run_id": PARENT, "parent_step": "sub", "parent_attempt": 2}
    who = {"via": "engine", "birth": {"effect": "allow", "actor": "starter", "via": "engine"}}
    run = forge.run(name, definition=_KID, **facts, **who).start()
    run.step("a")
    return run.complete()


_KID: Json = {"id": "kid", "version": "2", "steps": [{"id": "a", "type": "ACT"}]}


def secret() -> Script:
    """A child of a sensitive step."""
    forge = Forge()
    name = child_run_id(PARENT, "sub", 1, round(forge.now.timestamp() * 1_000_000))
    facts = {"parent_run_id": PARENT, "parent_step": "sub", "sensitive": True}
    run = forge.run(name, definition=_KID, **facts).start()
    run.step("a")
    return run.complete()


def orphan() -> Script:
    """A child that is given up, as its step does not wait for it any more."""
    forge = Forge()
    name = child_run_id(PARENT, "sub", 1, round(forge.now.timestamp() * 1_000_000))
    run = forge.run(name, definition=_KID, parent_run_id=PARENT, parent_step="sub").start()
    run.end("cancelled", error_code="parent_ended")
    return run


def first(forge: Forge | None = None) -> Script:
    """A run of which a step was denied after others had ended well."""
    run = (forge or Forge()).run("r0", definition=AGAIN).start()
    run.step("a")
    run.emit("FC-STEP-006", {"step_id": "b", "reason": "its condition is false"})
    run.ask("c", "deny")
    run.end("failed")
    return run


def carried(run: Script) -> list[Json]:
    """What a run brings over from the first."""
    [end] = [e for e in told(run) if e["type"] == "FC-STEP-002"]
    data = end["data"]
    done = {
        "step_id": "a",
        "from_run": "r0",
        "attempt": 1,
        "input_hash": data["receipt"]["input_hash"],
        "output_hash": data["output_hash"],
        "receipt": data["receipt"],
        "receipt_hash": data["receipt_hash"],
    }
    return [done, {"step_id": "b", "from_run": "r0", "reason": "its condition is false"}]


def restarted(*brought: Json, forge: Forge | None = None, **facts: Any) -> Script:
    """The first run, done again from the step that was denied."""
    facts = {"restarted_from": "r0"} | facts
    run = (forge or Forge()).run("r1", definition=AGAIN, birth=None, **facts)
    for data in brought or carried(first()):
        run.emit("FC-STEP-008", data)
    run.decide("run.create", subject=run.input_hash, actor="starter")
    run.start()
    run.step("c")
    return run


KIN: dict[str, Callable[[], Script]] = {
    make.__name__: make for make in (parent, child, secret, orphan, first, restarted)
}


def kin() -> Iterator[LifeCase]:
    """What is brought over, with a receipt that fits in itself whatever it says."""
    done, skipped = carried(first())
    for what, other in variants(done):
        if isinstance(other, dict):
            if isinstance(other.get("receipt"), dict):
                other["receipt_hash"] = digest(canonical(other["receipt"]))
            yield _brought(f"brought: {what}", other, skipped)
    lies: dict[str, Json] = {
        "of another step": {"step_id": "c"},
        "of a step that is not there": {"step_id": "x"},
        "of a fan-out": {"step_id": "d"},
        "of another run": {"from_run": "r9"},
        "of a second attempt": {"attempt": 2},
    }
    for name, facts in lies.items():
        both = {"run_id" if name == "from_run" else name: v for name, v in facts.items()}
        receipt = done["receipt"] | both
        fits = {"receipt": receipt, "receipt_hash": digest(canonical(receipt))}
        yield _brought(f"brought {name}, in both", done | facts | fits, skipped)
        yield _brought(f"brought {name}, in one", done | facts, skipped)
    for what, other in variants(skipped):
        if isinstance(other, dict):
            yield _brought(f"skipped: {what}", done, other)
    yield _brought("in another order", skipped, done)
    yield _brought("twice", done, done)
    yield _brought("with a reason", done | {"reason": "x"}, skipped)
    yield _brought("skipped without a condition", {**skipped, "step_id": "a"})
    run = restarted()
    events = told(run)
    for at in range(len(events)):
        late = [*events[:1], *events[2:at], events[1], *events[at:]]
        yield LifeCase(f"brought {at} late", remade(events, late), run.definition)
    births: tuple[Json, ...] = ({"restarted_from": None}, {"sensitive": True}, {"parent_step": "a"})
    for facts in births:
        yield LifeCase(f"again, with {facts}", told(restarted(**facts)), AGAIN)
    steps = [FAMILY["steps"][0] | {"idempotent": True}]
    run = Forge().run(PARENT, definition=FAMILY | {"steps": steps}).start()
    run.ask("sub")
    named = _named(run, "sub")
    run.begin("sub", child_run_id=named)
    run.begin("sub", child_run_id=named, again=True)
    yield LifeCase("a child is begun again", told(run), run.definition)
    run = Forge().run(PARENT, definition=FAMILY).start()
    run.ask("sub")
    run.begin("sub", child_run_id=_named(run, "sub"), node="n1")
    yield LifeCase("a child is begun on a node", told(run), run.definition)
    forge = Forge()
    forge.now = datetime(1969, 1, 1, tzinfo=UTC)
    run = forge.run(PARENT, definition=FAMILY).start()
    run.ask("sub")
    run.begin("sub", child_run_id="")
    yield LifeCase("a child is begun before there was time", told(run), run.definition)
    run = Forge().run("r1", definition=_KID).start()
    run.end("cancelled", error_code="parent_ended")
    yield LifeCase("given up, and nobody's child", told(run), _KID)
    for who in (("officer", None), ("starter", None), ("officer", "engine"), ("system", None)):
        events = copy.deepcopy(told(orphan()))
        events[-1] |= {"actor": who[0], "via": who[1]}
        yield LifeCase(f"given up by {who}", remade(told(orphan()), events), _KID)
    others = (
        {"sensitive": True},
        {"parent_step": "a"},
        {"parent_step": "a", "parent_run_id": "r0"},
    )
    for facts in (*others, {"parent_attempt": 2}, {"restarted_from": "r0"}):
        for definition in (_KID, None):
            run = Forge().run("r1", definition=definition, **facts)
            yield LifeCase(f"born {definition and 1} with {facts}", told(run), definition)
    yield from _children()


def _brought(name: str, *brought: Json) -> LifeCase:
    return LifeCase(name, told(restarted(*brought)), AGAIN)


def _children() -> Iterator[LifeCase]:
    """Births under other names than those of their steps."""
    good = child()
    digits = good.run_id
    for name in (
        digits.upper(),
        digits.replace("-", ""),
        "g" + digits[1:],
        digits[:12] + "x" + digits[13:],
        *(digits[:at] + ("0" if digits[at] != "0" else "1") + digits[at + 1 :] for at in range(36)),
        digits[:-1],
        digits + "0",
        "",
        "x",
    ):
        events = copy.deepcopy(told(good))
        for event in events:
            event["stream"] = f"run:{name}"
        events[0]["data"]["run_id"] = name
        title = f"a child called {name or 'nothing'}"
        yield LifeCase(title, remade(told(good), events), good.definition)


# packs of several runs


def families() -> Iterator[Case]:
    for name, facts in _BIRTHS.items():
        yield _family(f"a family, the child {name}", facts)
        yield _family(f"a family whose child is called before it, the child {name}", facts, "0" * 8)
    for name, output in (("as it did", None), ("otherwise", "another")):
        yield _family(f"a family, and the step ended {name}", {}, output=output)
    for before in (None, "0" * 8):
        yield _family(f"a family, and the step has not ended {before}", {}, before, upto="child")
        yield _family(
            f"a child given up while its step waits {before}", {}, before, upto="given up"
        )
    forge = Forge()
    old = first(forge)
    done, skipped = carried(old)
    receipt = done["receipt"] | {"ended_at": "2026-11-23T11:00:00.000000Z"}
    lie = {"receipt": receipt, "receipt_hash": digest(canonical(receipt))}
    for name, brought in (("what there was", done), ("what there was not", done | lie)):
        other = forge.copy()
        restarted(brought, skipped, forge=other)
        yield Case(f"done again with {name}", other.pack(), other.trust())
        yield Case(f"done again with {name}, alone", other.pack(runs=["r1"]), other.trust())
    other = forge.copy()
    other.run("r0x", restarted_from="r0", definition=AGAIN)
    yield Case("done again, and nothing was carried", other.pack(), other.trust())
    forge = Forge()
    forge.run("r0", definition=AGAIN).start()
    forge.run("r1", definition=AGAIN, restarted_from="r0")
    yield Case("done again before the end", forge.pack(), forge.trust())


_BIRTHS: dict[str, Json] = {
    "as it should be": {},
    "with other tags": {"tags": ["other"]},
    "under another mode": {"policy_mode": "loose"},
    "sensitive": {"sensitive": True},
}


def _family(
    name: str,
    facts: Json,
    before: str | None = None,
    *,
    output: Any = None,
    upto: str = "all of it",
) -> Case:
    """A run and its child, in one log; the parent's name may sort after the child's."""
    forge = Forge()
    run = forge.run("ff" * 16 if before else PARENT, definition=FAMILY).start()
    both = forge.stream(run.stream)[0]["data"]
    given = forge.keep({"order": 7})
    run.ask("sub", subject=given)
    name_of_child = _named(run, "sub")
    run.begin("sub", child_run_id=name_of_child)
    kept = {"correlation_id": both["correlation_id"]}
    birth = {"effect": "allow", "actor": "starter", "via": "engine"}
    about: Json = {"parent_run_id": run.run_id, "parent_step": "sub", "via": "engine"}
    kid = forge.run(name_of_child, definition=_KID, birth=birth, **about | kept | facts).start()
    if upto == "given up":
        kid.end("cancelled", error_code="parent_ended")
        return Case(name, forge.pack(), forge.trust())
    kid.step("a").complete()
    if upto == "child":
        return Case(name, forge.pack(), forge.trust())
    run.done("sub", output or {"done": name_of_child})
    run.step("after").complete()
    return Case(name, forge.pack(), forge.trust())


# what runs say of one another


def kinship() -> Iterator[Call]:
    yield from _compared()
    yield from _together()
    yield from _again()
    for instant in ("1970-01-01T00:00:00.000000Z", "2026-11-23T12:00:00.999999Z"):
        yield f"milliseconds {instant}", verify._milliseconds, (instant,)
    for milliseconds in ("0" * 12, "f" * 12, "0" * 11, "0" * 13, "x" * 12, "F" * 12, ""):
        for step_id, attempt in (("a", 1), ("é", 2), ("\ud800", 10)):
            arguments = ("r", step_id, attempt, milliseconds)
            yield f"child {arguments!r}", verify._child_id, arguments


def _said_of(**facts: Any) -> verify.Kin:
    known: Json = {
        "run_id": "kid-1",
        "tenant": "acme",
        "by": ("alice", "engine"),
        "born": {},
        "status": "completed",
        "output": "1" * 64,
        "abandoned": False,
        "children": {},
    }
    return verify.Kin(**known | facts)


_BORN: Json = {
    "workflow_id": "kid",
    "workflow_version": "2",
    "input_hash": "2" * 64,
    "policy_mode": "strict",
    "parent_run_id": "r0",
    "parent_step": "sub",
    "parent_attempt": 2,
    "actor_kind": "human",
    "actor_roles": ["ops"],
    "correlation_id": "t:acme|c:x",
    "metadata_hash": "3" * 64,
    "tags": ["x"],
    "sensitive": True,
}
_ABOVE: Json = {
    name: _BORN[name]
    for name in ("actor_kind", "actor_roles", "correlation_id", "metadata_hash", "tags")
} | {"policy_mode": "loose"}


def _pair() -> tuple[verify.Kin, verify.Kin]:
    step = verify._Child("kid-1", "kid", "2", "2" * 64, True, "completed", "1" * 64)
    above = _said_of(run_id="r0", by=("alice", None), born=_ABOVE, children={("sub", 2): step})
    return _said_of(born=_BORN), above


def _compared() -> Iterator[Call]:
    below, above = _pair()
    step = above.children["sub", 2]

    def call(name: str, kid: verify.Kin, parent: verify.Kin) -> Call:
        return name, verify._compare_child, (kid, parent)

    yield call("kin as they are", below, above)
    for name in _BORN:
        for other in (None, "x"):
            yield call(f"born {name} {other}", replace(below, born=_BORN | {name: other}), above)
        without = {n: v for n, v in _BORN.items() if n != name}
        if name not in ("parent_step", "workflow_id", "workflow_version", "input_hash"):
            born = without if name != "policy_mode" else _BORN
            yield call(f"born without {name}", replace(below, born=born), above)
            both = {n: v for n, v in _ABOVE.items() if n != name or n == "policy_mode"}
            yield call(f"both without {name}", replace(below, born=born), replace(above, born=both))
    first_of = {n: v for n, v in _BORN.items() if n != "parent_attempt"}
    at_first = replace(above, children={("sub", 1): step})
    yield call("a first attempt", replace(below, born=first_of), at_first)
    yield call(
        "a first attempt that says so", replace(below, born=_BORN | {"parent_attempt": 1}), at_first
    )
    yield call("a long name", below, replace(above, run_id="r" * 200, children={}))
    yield call("a long name of its own", replace(below, run_id="k" * 200), above)
    for mode in ("strict", "loose"):
        for other in ("strict", "loose"):
            kid = replace(below, born=_BORN | {"policy_mode": other})
            yield call(
                f"{mode} over {other}", kid, replace(above, born=_ABOVE | {"policy_mode": mode})
            )
    for by in (("alice", None), ("bob", "engine"), ("alice", "carol")):
        yield call(f"by {by}", replace(below, by=by), above)
        yield call(f"under {by}", below, replace(above, by=by))
        yield call(f"both by {by}", replace(below, by=by), replace(above, by=by))
    yield call("of another tenant", replace(below, tenant="other"), above)
    steps: dict[str, Json] = {
        "of another run": {"run_id": "kid-2"},
        "of another workflow": {"workflow": "x"},
        "of another version": {"version": "3"},
        "of any version": {"version": None},
        "of another input": {"input": HASH},
        "not sensitive": {"is_sensitive": False},
        "failed": {"end": "failed", "output": None},
        "open": {"end": None, "output": None},
        "with another output": {"output": HASH},
    }
    for name, facts in steps.items():
        other_step = replace(step, **facts)
        under = replace(above, children={("sub", 2): other_step})
        yield call(f"a step {name}", below, under)
        plain = {n: v for n, v in _BORN.items() if n != "sensitive"}
        yield call(f"a step {name}, its child plain", replace(below, born=plain), under)
        for status, output in (("failed", None), ("cancelled", None), ("completed", HASH)):
            ended = replace(below, status=status, output=output)
            yield call(f"a step {name}, its child {status} {output and 1}", ended, under)
        left = replace(below, status="cancelled", output=None, abandoned=True)
        yield call(f"a step {name}, its child given up", left, under)


def _together() -> Iterator[Call]:
    """In any order, and what waits meanwhile."""
    below, above = _pair()
    other = replace(below, run_id="kid-9")
    alone = _said_of(run_id="r7")
    two = replace(
        above,
        children=above.children | {("sub", 1): replace(above.children["sub", 2], run_id="kid-0")},
    )
    first_of = replace(below, run_id="kid-0", born=_BORN | {"parent_attempt": 1})

    def met(*all_of_them: verify.Kin) -> Any:
        kinship = verify.Kinship()
        for each in all_of_them:
            kinship.take(each)
        waiting = {name: [k.run_id for k in kin] for name, kin in sorted(kinship.waiting.items())}
        missing = {name: sorted(left) for name, (_, left) in sorted(kinship._parents.items())}
        return [str(waiting), str(missing)]

    for name, order in {
        "child first": (below, above),
        "parent first": (above, below),
        "child alone": (below,),
        "parent alone": (above,),
        "nobody's": (alone,),
        "with a stranger": (alone, above, below),
        "another child first": (other, above),
        "another child later": (above, other),
        "two, then their parent": (below, first_of, two),
        "one, their parent, one": (below, two, first_of),
        "their parent, then two": (two, below, first_of),
        "one of two": (two, first_of),
        "the same twice": (above, below, below),
    }.items():
        yield f"met: {name}", met, order


@cache
def _life(make: Any, count: int | None = None) -> verify.Life:
    run = make()
    life = verify.Life(run.definition)
    for event in told(run)[:count]:
        life.see(event, leaf(canonical(event)))
    return life


def _other(run: str, **facts: Any) -> verify.Life:
    """A life that began otherwise, as far as others can see."""
    life = copy.copy(_life(KIN[run]))
    tenant, status = facts.pop("tenant", None), facts.pop("status", None)
    life._born = {k: v for k, v in (life._born | facts).items() if v is not None}
    life._tenant = tenant or life._tenant
    if status:
        life.status = status
    return life


def _again() -> Iterator[Call]:
    def call(name: str, run: verify.Life, old: verify.Life) -> Call:
        return name, verify.compare_restart, (run, old)

    new, old = _life(restarted), _life(first)
    yield call("done again", new, old)
    yield call("before the end", new, _life(first, -1))
    yield call("of itself", new, new)
    yield call("of one that completed", new, _life(parent))
    yield call("carried by the old one too", new, _other("first", status="completed"))
    for name, value in {
        "tenant": "other",
        "definition_hash": HASH,
        "input_hash": HASH,
        "sensitive": True,
        "policy_mode": "loose",
        "tags": ["x"],
    }.items():
        yield call(f"another {name}", _other("restarted", **{name: value}), old)
        yield call(f"another {name} before", new, _other("first", **{name: value}))
        both = _other("restarted", **{name: value}), _other("first", **{name: value})
        yield call(f"another {name} in both", *both)
    done, skipped = carried(first())
    for name in ("input_hash", "output_hash", "attempt", "ended_at", "decision_hash"):
        receipt = done["receipt"] | {name: 2 if name == "attempt" else HASH}
        facts = {name: receipt[name]} if name in done else {}
        fits = {"receipt": receipt, "receipt_hash": digest(canonical(receipt))}
        run = restarted(done | facts | fits, skipped)
        yield call(f"another {name} was carried", _seen(run), old)
    yield call("nothing was carried but what was skipped", _later(restarted(done)), old)
    long = AGAIN | {"steps": [{"id": "s" * 100, "type": "ACT", "when": "x"}]}
    run = Forge().run("r" * 100, definition=long, birth=None, restarted_from="r0")
    run.emit("FC-STEP-008", {"step_id": "s" * 100, "from_run": "r0", "reason": "x"})
    same = {name: _life(first)._born[name] for name in ("definition_hash", "input_hash")}
    life = _seen(run)
    life._born = life._born | same
    yield call("a long name was carried", life, old)
    receipt = done["receipt"] | {"run_id": "r9"}
    fits = {"from_run": "r9", "receipt": receipt, "receipt_hash": digest(canonical(receipt))}
    yield call("carried from elsewhere", _seen(restarted(done | fits, skipped)), old)


def _later(run: Script) -> verify.Life:
    """As far as it is lawful."""
    life = verify.Life(run.definition)
    for event in told(run):
        try:
            life.see(event, leaf(canonical(event)))
        except verify.Refusal:
            break
    return life


def _seen(run: Script) -> verify.Life:
    life = verify.Life(run.definition)
    for event in told(run):
        life.see(event, leaf(canonical(event)))
    return life
