"""Packs whose texts and values contradict their events: the mode of a bundle, the schema of a gate,
salts, what was erased, and artifacts that nothing points to."""

from collections.abc import Iterator
from typing import Any

from tests.evidence.corpus.cases import HASH, Case, Json
from tests.evidence.corpus.lives import PLAIN
from tests.evidence.pack_forge import BUNDLE_HASH, Forge, Script, canonical, digest, unpack

__all__ = ["texts"]

_LOOSE = b"id: house\nversion: 1.0.0\nmode: loose\n"
_MANIFESTS: dict[str, bytes] = {
    "loose": _LOOSE,
    "loose, and no newline": _LOOSE[:-1],
    "loose, first": b"mode: loose\nid: house\nversion: 1.0.0\ntier: 3\n",
    "loose, with more": b"# ours\n\n" + _LOOSE + b"tier: 3\ndescription: For development: all.\n",
    "loose, with a comment": _LOOSE.replace(b"loose", b"loose   # for now"),
    "loose, far off": _LOOSE.replace(b"mode: ", b"mode:    "),
    "loose, in CRLF": _LOOSE.replace(b"\n", b"\r\n"),
    "strict": _LOOSE.replace(b"loose", b"strict"),
    "no mode": b"id: house\nversion: 1.0.0\n",
    "loose twice": _LOOSE + b"mode: loose\n",
    "loose and strict": _LOOSE + b"mode: strict\n",
    "loose by name": _LOOSE.replace(b"loose", b"looser"),
    "loose, quoted": _LOOSE.replace(b"loose", b'"loose"'),
    "loose, with an anchor": _LOOSE.replace(b"loose", b"&x loose"),
    "loose in a text": b"id: house\nversion: 1.0.0\ndescription: |\n mode: loose\n",
    "loose in a quoted text": b'id: house\ndescription: "\nmode: loose\n"\n',
    "loose, and a text": _LOOSE + b"description: >\n  x\n",
    "loose, and another key": _LOOSE + b"x: y\n",
    "loose, indented": _LOOSE.replace(b"mode", b" mode"),
    "loose, joined": _LOOSE.replace(b"mode: ", b"mode:"),
    "loose, and nothing": _LOOSE + b"tier:\n",
    "loose, in a tag": _LOOSE.replace(b"loose", b"!!str loose"),
}


def texts() -> Iterator[Case]:
    yield from _modes()
    yield from _schemas()
    yield from _odd_schemas()
    yield from _salts()
    yield from _erasures()
    yield from _objects()


def _bundled(files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    listed = canonical({"files": {name: digest(data) for name, data in files.items()}})
    named = digest(listed)
    folder = f"policies/{named}/"
    return named, {folder + n: data for n, data in files.items()} | {folder + "files.json": listed}


def _modes() -> Iterator[Case]:
    for name, manifest in _MANIFESTS.items():
        named, files = _bundled({"bundle.yaml": manifest, "x.cedar": b"permit (p, a, r);\n"})
        for mode in ("strict", "loose"):
            run = Forge().run("r1", policy_mode=mode).start()
            run.ask("a", policy_hash=named)
            run.begin("a")
            run.done("a")
            yield _case(f"{mode} under {name}", run.complete(), files)
    loose, files = _bundled({"bundle.yaml": _LOOSE})
    other, more = _bundled({"bundle.yaml": _LOOSE, "y.cedar": b"permit (p, a, r);\n"})
    elsewhere, odd = _bundled({"x.yaml": _LOOSE, "notbundle.yaml": _LOOSE})
    by: Json = {"decision": "allow", "policy_id": "x"}
    asked: dict[str, Json] = {
        "a strict one": {"policy_hash": loose, "tightened": by | {"policy_hash": BUNDLE_HASH}},
        "a strict one that decides": {"tightened": by | {"policy_hash": loose}},
        "another loose one": {"policy_hash": loose, "tightened": by | {"policy_hash": other}},
        "one that says so elsewhere": {"policy_hash": elsewhere},
        "nothing, and flags": {"policy_hash": loose, "effect": "flag", "flags": [_FLAG]},
        "nothing, and denies": {"policy_hash": loose, "effect": "deny"},
    }
    for name, facts in asked.items():
        told: Json = {"effect": "allow"} | facts
        run = Forge().run("r1").start()
        run.ask("a", told.pop("effect"), **told)
        used = {p: d for p, d in (files | more | odd).items() if p.split("/")[1] in str(facts)}
        yield _case(f"a loose bundle, and {name}", run, used)
    run = Forge().run("r1").start()
    for _ in range(2):
        run.decide("run.pause", policy_hash=loose)
    yield _case("a loose bundle twice", run, files)


_FLAG: Json = {"rule": "large", "approvers": ["role:fin"], "quorum": 1, "expires_s": None}


def _case(name: str, run: Script, files: dict[str, bytes]) -> Case:
    return Case(name, run.forge.pack(files_override=files), run.forge.trust())


_NUMBERS = (b"0.5", b"1e+21", b"1e-7", b"-0.0000015", b"100000000000000000000", b"0")


def _schemas() -> Iterator[Case]:
    """Numbers of a schema stand in the definition as RFC 8785 writes them."""
    for number in _NUMBERS:
        schema = b'{"a":[{"maximum":%b},true,null,"1.50"],"b":{}}' % number
        steps = [{"id": "a", "type": "GATE", "gate": {"name": "Go?", "input_schema": "HERE"}}]
        data = canonical(PLAIN | {"steps": steps}).replace(b'"HERE"', schema)
        for name, hashed in (("the same", schema), ("another", schema.replace(b"1.50", b"1.5"))):
            forge = Forge()
            run = forge.run("r1", definition=PLAIN | {"steps": steps})
            forge.definitions = {digest(data): data}
            forge.leaves[0]["data"]["definition_hash"] = digest(data)
            run = _again(forge, run)
            run.start()
            run.ask("a", kind="GATE")
            run.begin("a")
            run.gate("g1", step_id="a", input_schema_hash=digest(hashed))
            yield Case(f"a schema with {number.decode()}: {name}", forge.pack(), forge.trust())


def _odd_schemas() -> Iterator[Case]:
    """What no server registers, and is refused without a word about this verifier."""
    steps = [{"id": "a", "type": "GATE", "gate": {"name": "Go?", "input_schema": "HERE"}}]
    for name, schema in (
        ("no text", b'"\\ud800"'),
        ("100 lists", b"[" * 100 + b"]" * 100),
        ("600 objects", b'{"a":' * 600 + b"1" + b"}" * 600),
        ("spaces", b"[ 1 ]"),
    ):
        data = canonical(PLAIN | {"steps": steps}).replace(b'"HERE"', schema)
        forge = Forge()
        run = forge.run("r1", definition=PLAIN | {"steps": steps})
        forge.definitions = {digest(data): data}
        forge.leaves[0]["data"]["definition_hash"] = digest(data)
        run = _again(forge, run)
        run.start()
        run.ask("a", kind="GATE")
        run.begin("a")
        run.gate("g1", step_id="a", input_schema_hash=digest(schema))
        yield Case(f"a schema of {name}", forge.pack(), forge.trust())


def _again(forge: Forge, run: Script) -> Script:
    """The birth was changed: what follows from it is made anew."""
    run.forge = forge.tampered(run.stream, lambda events: events)
    forge.leaves, forge._heads = run.forge.leaves, run.forge._heads
    run.forge = forge
    return run


def _salts() -> Iterator[Case]:
    """Each value of a run with a sensitive step, once without its salt."""
    gate = {"name": "Go?"}
    steps = [
        {"id": "a", "type": "ACT", "sensitive": True, "retry": {"max_attempts": 2}},
        {"id": "b", "type": "GATE", "sensitive": True, "gate": gate},
        {"id": "c", "type": "GATE", "sensitive": True},
        {"id": "d", "type": "ACT"},
        {"id": "f", "type": "ACT", "sensitive": True, "foreach": "x", "concurrency": 1},
    ]
    for bare in ("none", "a", "a out", "b", "b out", "c", "c out", "d", "f", "f[0]", "run", "end"):
        forge = Forge()
        run = forge.run("r1", definition=PLAIN | {"steps": steps}).start()
        _sensitive(forge, run, bare)
        yield Case(f"no salt: {bare}", forge.pack(), forge.trust())
    for name, facts in (("sensitive", {"sensitive": True}), ("plain", {})):
        forge = Forge()
        run = forge.run("r1", definition=PLAIN, restarted_from="r0", **facts)
        yield Case(f"no salt: a restart that is {name}", forge.pack(), forge.trust())


def _sensitive(forge: Forge, run: Script, bare: str) -> None:
    def keep(value: Any, what: str) -> str:
        return forge.keep(value, salt=None if bare == what else b"\7" * 32)

    for step_id, kind in (("a", "ACT"), ("b", "GATE"), ("c", "GATE"), ("d", "ACT")):
        run.ask(step_id, kind=kind, subject=keep({"in": step_id}, step_id))
        run.begin(step_id)
        output: Any = {"out": step_id}
        if step_id == "b":
            run.gate("g1", step_id="b")
            run.answer(role=None, actor="ann")
        if kind == "GATE":
            people = ["ann"] if step_id == "b" else []
            output = {"approved": True, "approved_by": people, "input": None}
        named = forge.keep(output) if step_id == "c" else keep(output, f"{step_id} out")
        told = {"output_hash": named, "duration_ms": run._took(step_id)}
        run._finish("FC-STEP-002", step_id, "completed", told, named)
    told = {"step_id": "f", "items": 1, "items_hash": keep([1], "f")}
    run.emit("FC-STEP-007", told)
    run.steps["f[0]"] = {"type": "ACT", "index": 5, "attempt": 1}
    run.ask("f[0]", subject=keep({"in": "f"}, "f[0]"))
    run.begin("f[0]")
    run.done("f[0]")
    output = keep({"done": 1}, "run")
    if bare == "end":
        run.decide("run.cancel", subject=forge.keep("why"))
        run.end("cancelled", output_hash=forge.keep("why"))
        return
    run.decide("run.complete", subject=output)
    run.end("completed", output_hash=output)


def _erasures() -> Iterator[Case]:
    forge = Forge()
    run = forge.run("r1").start().step("a").complete()
    named = run.input_hash
    forge.erase("r1", named)
    for place in range(len(forge.leaves)):
        other = forge.copy()
        other.leaves.insert(place, other.leaves.pop())
        yield Case(f"erased at {place}", other.pack(), other.trust())
    early = forge.copy()
    early.leaves[-1]["at"] = "2020-01-01T00:00:00.000000Z"
    yield Case("erased by a clock that is slow", early.pack(), early.trust())
    nobody = forge.copy()
    nobody.leaves[-1]["actor"] = ""
    yield Case("erased by nobody", nobody.pack(), nobody.trust())
    forge.erase("r2", HASH)
    yield Case("erased of another run as well", forge.pack(), forge.trust())
    forge.erase("r1", named, HASH)
    yield Case("erased what nothing names, later", forge.pack(), forge.trust())
    forge = Forge()
    run = forge.run("r1").start().step("a")
    forge.erase("r1", run.input_hash)
    run.complete()
    forge.erase("r1", run.steps["a"]["input"])
    yield Case("erased early, and again later", forge.pack(), forge.trust())
    forge = Forge()
    run = forge.run("r1").start().step("a").complete()
    forge.erase("r1", *forge.payloads)
    yield Case("erased all that there was", forge.pack(), forge.trust())
    forge.erase("r9", HASH)
    forge.erase("r1", HASH)
    yield Case("erased of a stranger, and what nothing names", forge.pack(), forge.trust())
    index = unpack(forge.pack())["index.json"].replace(b"run:r1", b"run:r8")
    yield Case(
        "erased, and the index has not got it",
        forge.pack(files_override={"index.json": index}),
        forge.trust(),
    )
    forge = Forge()
    run = forge.run("r1").start()
    run.end("completed")
    forge.erase("r1", run.input_hash)
    yield Case("erased of a run that is none", forge.pack(), forge.trust())
    forge = Forge()
    forge.run("r1").start().complete()
    for stream in ("log:acme", "log", "x"):
        told = {"payload_hashes": [HASH], "reason": "asked for", "stream": stream}
        other = forge.copy()
        other.emit("log:acme", "FC-DATA-001", told, actor="officer")
        yield Case(f"erased of {stream}", other.pack(), other.trust())
    told = {"payload_hashes": [HASH], "reason": "asked for", "stream": "xun:r1"}
    forge.emit("log:acme", "FC-DATA-001", told, actor="officer")
    yield Case("erased of what is called like the run", forge.pack(), forge.trust())
    forge.erase("r1", HASH)
    yield Case("erased of that, and what nothing names", forge.pack(), forge.trust())


def _objects() -> Iterator[Case]:
    thing = {f"objects/{digest(b'thing')}": b"thing"}
    for name, pointer in {
        "an artifact that an event points to": f"see rhid:file:sha256:{digest(b'thing')}.",
        "an artifact of another kind of hash": f"rhid:file:sha512:{digest(b'thing')}",
        "an artifact of another hash": f"rhid:file:sha256:{digest(b'other')}",
        "an artifact that is only named": digest(b"thing"),
    }.items():
        run = Forge().run("r1", tags=[pointer]).start().complete()
        yield _case(name, run, thing)
        run = Forge().run("r1").start()
        run.ask("a", subject=run.forge.keep({"file": pointer}))
        run.begin("a")
        run.done("a")
        yield _case(f"{name}, in a value", run.complete(), thing)
        pack = run.forge.pack(payloads=False, files_override=thing)
        yield Case(f"{name}, in a value that is not there", pack, run.forge.trust())
