"""Packs that the server made, and what an attacker makes of them.

`world()` is a log of strict runs with a flagged step, people, a sensitive step and a gate;
`rotated()` one whose key was changed; `forked()` one that was rolled back and grew two futures.
Each is made once. `verdict(pack, trust)` is the verifier's. `Attacker` changes events and makes
everything anew that hangs on them: what is signed only if it holds the key.
"""

import asyncio
import atexit
import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    core,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    sql,
    start,
    until,
    workflow,
)
from tests.core_steps import new_stage
from tests.evidence.pack_forge import Forge, Json, canonical, repack, unpack

from federation_core.evidence import verify
from federation_core.identity.signing_keys import load_or_create_seed
from federation_core.service import (
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    RotateRequest,
)

__all__ = [
    "Attacker",
    "Forked",
    "Rotated",
    "World",
    "assert_refused",
    "assert_valid",
    "events_of",
    "forked",
    "line_of",
    "path_of",
    "rotated",
    "small",
    "speak",
    "verdict",
    "world",
]

T = TypeVar("T")

Edit = Callable[[list[Json]], list[Json]]

POLICIES = (
    flag(
        "large",
        'context.input has risk && context.input.risk == "high"',
        approvers="role:fin",
        quorum=2,
        expires="1h",
    ),
    forbid("forbidden", "context.input has forbidden && context.input.forbidden"),
)
STEPS = (
    py("plain"),
    py("risky", with_={"risk": "${input.risk}"}),
    py("private", sensitive=True, with_={"secret": "${input.secret}"}),
    gate("ask", "cleo"),
    py("last", with_={"forbidden": "${input.forbidden}"}),
)
GIVEN = {"secret": "s3cret", "risk": "low", "forbidden": False}


class World(msgspec.Struct, frozen=True):
    """`packs` and `runs` by name; `leaves` is every event of the log, `seed` its key; `folder` the
    data directory, of which tests take copies."""

    folder: Path
    log: str
    seed: bytes
    trust: str
    leaves: tuple[bytes, ...]
    packs: dict[str, bytes]
    runs: dict[str, str]


class Rotated(msgspec.Struct, frozen=True):
    """`before` and `after` are the worlds as the old and as the new key signed them."""

    before: World
    after: World


class Forked(msgspec.Struct, frozen=True):
    """Two futures of one past. `seen` is the checkpoint of the past, `proofs` lead from there."""

    past: World
    ours: World
    theirs: World
    proofs: tuple[bytes, bytes]


# what the server makes


def _folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="fedcore-attacks-"))
    atexit.register(partial(shutil.rmtree, path, ignore_errors=True))
    return path


def _played(making: Coroutine[Any, Any, T]) -> T:
    """On a thread of its own: a test that asks for a world may itself be on an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, making).result()


@cache
def world() -> World:
    """Runs `main` (flagged, approved by ann and ben, its gate answered by cleo), `other` (not
    flagged), `denied`, `erased`, `open` (at a gate), and `foreign` of another tenant. `secret` is a
    pack of main with what its sensitive step took and gave, `bare` one without payloads, and `gone`
    the pack of erased once it was."""
    new_stage()
    return _played(_world(_folder()))


async def _world(folder: Path) -> World:
    runs: dict[str, str] = {}
    packs: dict[str, bytes] = {}
    async with core(folder, *POLICIES, clock=Clock(), mode="strict") as fc:
        await register(fc, workflow(*STEPS))
        for name, changed in (("main", {"risk": "high"}), ("other", {}), ("erased", {})):
            runs[name] = await start(fc, GIVEN | changed)
            if name == "main":
                [asked] = await open_gates(fc, runs[name])
                for person in ("ann", "ben"):
                    await approve(fc, asked, person, roles=["fin"])
            await _through(fc, runs[name])
            packs[name] = await packed(fc, runs[name])
        runs["denied"] = await start(fc, GIVEN | {"forbidden": True})
        await _through(fc, runs["denied"])
        packs["denied"] = await packed(fc, runs["denied"])
        packs["secret"] = await packed(fc, runs["main"], sensitive=True)
        packs["bare"] = await packed(fc, runs["main"], payloads=False)
        runs["open"] = await start(fc, GIVEN)
        await open_gates(fc, runs["open"])
        packs["open"] = await packed(fc, runs["open"])
        await register(fc, workflow(py("only")), tenant="other")
        call = fc.call("bob", tenant="other")
        made = await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))
        runs["foreign"] = made.run.run_id
        async with asyncio.timeout(30):
            while (await fc.runs.get(call, runs["foreign"])).run.status != "completed":
                await asyncio.sleep(0)
        packs["foreign"] = await packed(fc, runs["foreign"], tenant="other")
        erase = EraseRequest(run_id=runs["erased"], reason="a legal demand")
        await fc.erasures.erase(fc.call("officer"), erase)
        packs["gone"] = await packed(fc, runs["erased"], sensitive=True)
        trust = await fc.log.trust(fc.call("auditor"))
    return _read(folder, trust, packs, runs)


async def _through(fc: FederationCore, run_id: str) -> None:
    """Past the gate of the workflow, and to its end."""
    async with asyncio.timeout(30):
        while not (found := [g for g in await _gates(fc, run_id) if g.gate_name == "ask"]):
            await asyncio.sleep(0)
    await until(fc, run_id, "paused")
    await approve(fc, found[0], "cleo")
    await until(fc, run_id)


async def _gates(fc: FederationCore, run_id: str) -> list[Any]:
    return (await fc.runs.get(fc.call("watcher"), run_id, gates=True)).gates


async def packed(
    fc: FederationCore, run_id: str, *, tenant: str | None = None, **asked: Any
) -> bytes:
    made = await fc.evidence.pack(fc.call("auditor", tenant=tenant), run_id, **asked)
    with made.file as file:
        return file.read()


def _read(folder: Path, trust: str, packs: dict[str, bytes], runs: dict[str, str]) -> World:
    rows = sql(folder, "SELECT body FROM events ORDER BY position")
    [(log,)] = sql(folder, "SELECT value FROM meta WHERE key = 'log'")
    seed = load_or_create_seed(folder / "signing.key")
    return World(folder, log, seed, trust, tuple(b.encode() for (b,) in rows), packs, runs)


@cache
def small() -> World:
    """One run of a client, `main`: the fewest files and events that a pack can have. The text of
    the verifier in it is short, so that every byte can be changed in turn."""
    new_stage()
    made = _played(_small(_folder()))
    short = repack(made.packs["main"], {"verify.py": b"# brief\n", "REPORT.md": b"# short\n"})
    return msgspec.structs.replace(made, packs={"main": short})


async def _small(folder: Path) -> World:
    async with core(folder, clock=Clock()) as fc:
        alice = fc.call("alice")
        made = await fc.runs.create(alice, CreateRunRequest(workflow_id="outside"))
        run_id = made.run.run_id
        for status in ("running", "completed"):
            request = ChangeStatusRequest(status=status)
            await fc.runs.change_status(alice, run_id, request)
        packs = {"main": await packed(fc, run_id)}
        trust = await fc.log.trust(alice)
    return _read(folder, trust, packs, {"main": run_id})


@cache
def rotated() -> Rotated:
    """Runs `first` (before the key was changed) and `second` (after)."""
    new_stage()
    return _played(_rotated(_folder()))


async def _rotated(folder: Path) -> Rotated:
    async with core(folder, clock=Clock()) as fc:
        boss = fc.call("boss")
        runs = {"first": await begin(fc, py("only"))}
        await until(fc, runs["first"])
        packs = {"first": await packed(fc, runs["first"])}
        before = _read(folder, await fc.log.trust(boss), packs, dict(runs))
        await fc.log.rotate(boss, RotateRequest(reason="it is time"))
        runs["second"] = await start(fc)
        await until(fc, runs["second"])
        packs = {name: await packed(fc, run_id) for name, run_id in runs.items()}
        trust = await fc.log.trust(boss)
    return Rotated(before, _read(folder, trust, packs, runs))


@cache
def forked() -> Forked:
    """Run `first` is of the past, `second` of each future; the second future has one run more."""
    new_stage()
    return _played(_forked(_folder()))


async def _forked(root: Path) -> Forked:
    ours, theirs = root / "ours", root / "theirs"
    async with core(ours, clock=Clock()) as fc:
        runs = {"first": await begin(fc, py("only"))}
        await until(fc, runs["first"])
        packs = {"first": await packed(fc, runs["first"])}
        trust = await fc.log.trust(fc.call("auditor"))
    past = _read(ours, trust, packs, dict(runs))
    shutil.copytree(ours, theirs)
    futures, proofs = [], []
    size = verdict(packs["first"], trust).checkpoint
    assert size is not None
    for folder, more in ((ours, 1), (theirs, 2)):
        async with core(folder, clock=Clock()) as fc:
            mine = dict(runs)
            for name in ("second", "third")[:more]:
                mine[name] = await start(fc)
                await until(fc, mine[name])
            made = {name: await packed(fc, run_id) for name, run_id in mine.items()}
            new = verdict(made["second"], trust).checkpoint
            assert new is not None
            proof = await fc.log.consistency(fc.call("auditor"), size["size"], new["size"])
            proofs.append(msgspec.json.encode(proof))
        futures.append(_read(folder, trust, made, mine))
    return Forked(past, futures[0], futures[1], (proofs[0], proofs[1]))


# what the verifier says


def verdict(pack: bytes, trust: str | None, **options: Any) -> verify.Verdict:
    """The verdict on these bytes."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(pack)
        file.flush()
        return verify.verify_pack(file.name, trust, **options)


def assert_valid(pack: bytes, trust: str, **options: Any) -> verify.Verdict:
    found = verdict(pack, trust, **options)
    assert (found.verdict, found.error, found.exit_status) == ("VALID", None, 0)
    return found


def assert_refused(
    pack: bytes,
    trust: str | None,
    code: str,
    file: str | None,
    line: int | None = None,
    **options: Any,
) -> verify.Verdict:
    """The pack is INVALID, for this reason and at this place."""
    found = verdict(pack, trust, **options)
    assert found.error is not None, found
    told = (found.error["code"], found.error["file"], found.error["line"])
    assert told == (code, file, line), found.error
    assert (found.verdict, found.exit_status) == ("INVALID", 1)
    return found


# what an attacker does


def path_of(run_id: str) -> str:
    return f"events/run:{run_id}.jsonl"


def events_of(pack: bytes, run_id: str) -> list[Json]:
    return [json.loads(line) for line in unpack(pack)[path_of(run_id)].splitlines()]


def line_of(events: Sequence[Json], code: str, nth: int = 0, **facts: Any) -> int:
    """The line of the nth event of this type whose data (or actor) says this."""

    def is_one(event: Json) -> bool:
        told = event["data"] | {"actor": event["actor"]}
        return event["type"] == code and all(told.get(k) == v for k, v in facts.items())

    return [n for n, event in enumerate(events, 1) if is_one(event)][nth]


def speak(event: Json, **facts: Any) -> None:
    """Let the event say something else, and its receipt what then stands in it."""
    data = event["data"]
    for name, value in facts.items():
        place = event if name in ("actor", "via", "at") else data
        place[name] = value
        if "receipt" in data:
            told = {"actor": "actor_id", "at": "ended_at", "gate_status": "status"}.get(name, name)
            if told in data["receipt"]:
                data["receipt"][told] = value


_OF = {"secret": "main", "bare": "main", "gone": "erased"}


class Attacker:
    """Has a pack of the server, the whole log, and, if it says so, the key."""

    def __init__(self, world: World, name: str = "main", *, holds_key: bool) -> None:
        self.world, self.name, self.holds_key = world, name, holds_key
        self.pack = world.packs[name]
        self.run_id = world.runs[_OF.get(name, name)]
        self.forge = Forge(log=world.log, log_seed=world.seed, tenant="default")
        self.size = int(unpack(self.pack)["log/checkpoint"].split(b"\n")[1])
        self.forge.leaves = [json.loads(body) for body in world.leaves]
        assert [canonical(event) for event in self.forge.leaves] == list(world.leaves)

    @property
    def events(self) -> list[Json]:
        return self.forge.stream(f"run:{self.run_id}")

    def line(self, code: str, nth: int = 0, **facts: Any) -> int:
        return line_of(self.events, code, nth, **facts)

    def edit(self, edit: Edit, *, relink: bool = True, stream: str | None = None) -> "Attacker":
        """Change the events of the run; with `relink` every link and receipt after it as well."""
        other = copy.copy(self)
        other.forge = self.forge.tampered(stream or f"run:{self.run_id}", edit, relink=relink)
        return other

    def change(self, line: int, **facts: Any) -> "Attacker":
        """Let one event say something else, and everything after it fit."""

        def edit(events: list[Json]) -> list[Json]:
            speak(events[line - 1], **facts)
            return events

        return self.edit(edit)

    def drop(self, *lines: int) -> "Attacker":
        return self.edit(lambda events: [e for n, e in enumerate(events, 1) if n not in lines])

    def insert(self, line: int, *new: Json) -> "Attacker":
        """Put events in so that the first of them is on `line`."""
        fresh = [copy.deepcopy(event) | {"seq": -1} for event in new]
        return self.edit(lambda events: [*events[: line - 1], *fresh, *events[line - 1 :]])

    def made(self, changes: Mapping[str, bytes | None] | None = None) -> bytes:
        """The pack with the events as they are now: its index, proofs and manifest fit, and so do
        the checkpoint and the receipt of who holds the key; else they are the server's."""
        size = len(self.forge.leaves) if self.holds_key else self.size
        files = self.forge.files(runs=[self.run_id], size=size, payloads=False)
        remade = {
            path: data
            for path, data in files.items()
            if path.startswith(("events/run:", "log/")) or path in ("receipt.dsse.json",)
        }
        index = json.loads(files["index.json"])
        old = unpack(self.pack)
        for stream in [s for s in index if not s.startswith("run:")]:
            path = f"events/{stream}.jsonl"
            if path in old:
                remade[path] = files[path]
            else:
                for position in index.pop(stream):
                    remade["log/proofs.json"] = _without(remade["log/proofs.json"], position)
        remade["index.json"] = canonical(index)
        if not self.holds_key:
            del remade["log/checkpoint"]
            remade.pop("receipt.dsse.json", None)
        elif "receipt.dsse.json" not in remade:
            remade["receipt.dsse.json"] = None  # type: ignore[assignment]
        return repack(self.pack, {**remade, **(changes or {})})


def _without(proofs: bytes, position: int) -> bytes:
    told = json.loads(proofs)
    told.pop(str(position))
    return canonical(told)
