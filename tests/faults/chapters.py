"""What a client asks of the system, in chapters: together they make every durable write there is.

A chapter is a client that knows what it wants and nothing of faults: it can be played again from
the beginning after a crash, with the same idempotency keys, and must come to the same end. What it
was answered it acknowledges, so that it can be held against what is there afterwards.
"""

import asyncio
import http.client
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

import msgspec
from tests.core_helpers import Clock
from tests.faults.workload import NEXT_BUNDLE, WORKFLOWS

from federation_core.api.idempotency import once
from federation_core.cli.saving import saving
from federation_core.errors import Conflict, Forbidden, LedgerUnavailable, NotFound
from federation_core.evidence.collector import WitnessSetting
from federation_core.identity import load_or_create_secret
from federation_core.ledger.maintenance import rebuild
from federation_core.ledger.tree import tree_size
from federation_core.service import (
    AddScheduleRequest,
    AnswerGateRequest,
    BypassRequest,
    Call,
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    Key,
    RecordStepRequest,
    RegisterRequest,
    RequestGateRequest,
    RestartRequest,
    ResumeRequest,
    RotateRequest,
)
from federation_core.spine.canonical import sha256
from federation_core.transparency import VerifierKey
from federation_core.transparency.tiles import TILE_WIDTH
from federation_core.witness import Witness, open_home
from federation_core.witness.server import WitnessApp

__all__ = ["BEGINNINGS", "CHAPTERS", "Stage", "Tell"]

Json = dict[str, Any]
T = TypeVar("T")
_SEED, _NEXT_SEED = b"\x07" * 32, b"\x08" * 32
LEASE_S = 0.5
"""The lease of a node: the next life takes over after it."""
_AT_ONCE, _LATER = (0.0,) * 5, (0.05,) * 400
_NOTHING_DUE_S = 10.0
"""A look at the schedules that leaves something to do wants the next one sooner."""
Act = Callable[[Call], Awaitable[Any]]


class Tell(Protocol):
    """Says to the harness what a client was answered: `key` names the request."""

    def __call__(self, key: str, body: bytes) -> None: ...


class Stage:
    """Where a chapter is played: a data directory, the service outside, and who is told."""

    def __init__(self, folder: Path, url: str, tell: Tell, database: str | None = None) -> None:
        """`database` is the URL of a PostgreSQL one; without it the data directory has its own."""
        self.folder, self.url, self.tell = folder, url, tell
        self.database = database
        self.clock = Clock()

    def opened(self, **settings: Any) -> Any:
        """The system, as a server opens it, under the bundle beside the data directory."""
        load_or_create_secret(self.folder / "secret.key")
        if self.database is not None:
            shared = {"database": self.database, "signing_key": _SEED, "lease_s": LEASE_S}
            settings = {**shared, **settings}
        return FederationCore.open(
            self.folder,
            policy_dir=self.folder.parent / "policy",
            http_allow=["127.0.0.1"],
            python_allow=["tests.faults.workload"],
            clock=self.clock,
            **settings,
        )


async def again(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the ledger can be used; at most so often."""
    for pause in (*_AT_ONCE, *_LATER):
        try:
            return await ask()
        except LedgerUnavailable:
            await asyncio.sleep(pause)
    return await ask()


class Client:
    """Asks with idempotency keys, as one should."""

    def __init__(self, stage: Stage, fc: FederationCore) -> None:
        self.stage, self.fc = stage, fc

    async def ask(self, key: str, act: Act, *, actor: str = "anna", status: int = 201) -> Any:
        """What `act` answers, or answered the first time."""
        call = self.fc.call(actor, roles=["operator", "finance"])
        call = msgspec.structs.replace(call, key=Key(key, sha256(key.encode())))

        async def encoded() -> bytes:
            return msgspec.json.encode(await act(call))

        told = await again(lambda: once(self.fc, call, status, encoded))
        self.stage.tell(key, told.body)
        return msgspec.json.decode(told.body)

    async def start(self, key: str, workflow: str = "work", **given: Any) -> str:
        """Create a run; returns its id."""
        request = CreateRunRequest(
            workflow_id=workflow, input_payload={"url": self.stage.url, "risk": "low", **given}
        )
        told = await self.ask(key, lambda call: self.fc.runs.create(call, request))
        run_id: str = told["run"]["run_id"]
        return run_id

    async def look(self, run_id: str) -> Any:
        """The run with all that belongs to it."""
        call = self.fc.call("anna")
        get = self.fc.runs.get
        answer = await again(lambda: get(call, run_id, logs=True, gates=True, steps=True))
        self.stage.tell("", msgspec.json.encode(answer))
        return answer

    async def paused(self, run_id: str) -> Any:
        """The run once it waits for people, or has ended."""
        call = self.fc.call("anna")
        await self.fc.runs.wait(call, run_id, 20, newborn=True)
        return await self.look(run_id)

    async def over(self, run_id: str) -> Any:
        """The run once it has ended, nobody having said anything more."""
        async with self.fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while (answer := await self.look(run_id)).run.completed_at is None:
                async with asyncio.timeout(20):
                    await watch.next()
        return answer

    async def child(self, run_id: str) -> str:
        """The run that executes the step `child` of this one, once it was born."""
        async with self.fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while True:
                steps = (await self.look(run_id)).steps
                if found := [s.child_run_id for s in steps if s.child_run_id is not None]:
                    break
                async with asyncio.timeout(20):
                    await watch.next()
        child: str = found[0]
        async with self.fc._parts.ledger.watch(f"run:{child}") as watch:
            while True:
                try:
                    await self.look(child)
                except NotFound:
                    async with asyncio.timeout(20):
                        await watch.next()
                else:
                    return child

    async def end(self, run_id: str) -> Any:
        """The run once it has ended, everybody having said yes, and the truth."""
        async with self.fc._parts.ledger.watch(f"run:{run_id}") as watch:
            while True:
                answer = await self.look(run_id)
                if answer.run.completed_at is not None:
                    return answer
                pending = [g for g in answer.gates if g.status == "pending"]
                for gate in pending:
                    await self.say_yes(gate, answer)
                if not pending:
                    async with asyncio.timeout(20):
                        await watch.next()

    async def say_yes(self, gate: Any, answer: Any) -> None:
        given: Json = {"answer": "yes"}
        if gate.gate_type == "in_doubt":
            [attempt] = [s.attempt for s in answer.steps if s.step_id == gate.step_id]
            had = self.settle(f"{gate.run_id}:{gate.step_id}:{attempt}")
            given = {"happened": had, **({"output": {"told": True}} if had else {})}
        for actor in ("anna", "boris")[: gate.quorum]:
            request = ResumeRequest(gate_id=gate.gate_id, decision="approve", input=given)

            def act(call: Call, request: ResumeRequest = request) -> Awaitable[Any]:
                return self.fc.gates.resume(call, gate.run_id, request)

            await self.ask(f"{gate.gate_id} {actor}", act, actor=actor, status=200)

    def settle(self, key: str) -> bool:
        """Ask the service outside whether it has done this."""
        host = self.stage.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request("POST", f"/settle/{key}")
            return bool(msgspec.json.decode(connection.getresponse().read())["happened"])
        finally:
            connection.close()


async def first_start(stage: Stage) -> None:
    """A server starts where there was nothing."""
    async with stage.opened() as fc:
        await fc.check()
        history = await fc.policies.history(fc.call("anna"))
        assert [a.source for a in history] == ["settings"]


async def registration(stage: Stage) -> None:
    """Workflows are registered."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        for name, text in WORKFLOWS.items():
            request = RegisterRequest(workflow_yaml=text)
            await client.ask(name, lambda call, r=request: fc.workflows.register(call, r))  # type: ignore[misc]
        assert len(await fc.workflows.registered(fc.call("anna"))) == len(WORKFLOWS)


async def work(stage: Stage) -> None:
    """A run goes its way: steps of every kind, retries, a skipped one, a flag, a gate."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        run_id = await client.start("a run of work", risk="high")
        answer = await client.end(run_id)
        assert answer.run.status == "completed", answer
        assert answer.run.output_payload == 42


async def short(stage: Stage) -> None:
    """A run of one step that is not idempotent."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        answer = await client.end(await client.start("a short run", "short"))
        assert answer.run.status == "completed", answer


async def fan(stage: Stage) -> None:
    """A step fans out over a list."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        answer = await client.end(await client.start("a fan", "fan"))
        assert answer.run.status == "completed", answer


async def kin(stage: Stage) -> None:
    """A run starts another, and is cancelled, with it or after it; it begins again at a step."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        cancelled = ChangeStatusRequest(status="cancelled", reason="not needed")

        async def cancel(key: str, run_id: str) -> None:
            await client.ask(
                key, lambda call: fc.runs.change_status(call, run_id, cancelled), status=200
            )

        first = await client.start("a parent", "parent")
        await client.end(await client.child(first))
        await client.paused(first)
        await cancel("cancel the parent", first)
        request = RestartRequest(from_step="ask")
        told = await client.ask("again", lambda call: fc.runs.restart(call, first, request))
        answer = await client.end(told["run"]["run_id"])
        assert answer.run.status == "completed", answer
        second = await client.start("another parent", "asks-for")
        child = await client.child(second)
        await client.paused(child)
        await cancel("cancel both", second)
        for run_id in (second, child):
            assert (await client.over(run_id)).run.status == "cancelled"


async def scheduled(stage: Stage) -> None:
    """A schedule is added, held, let go on, ticks twice, and is removed."""
    async with stage.opened() as fc:
        client, schedules = Client(stage, fc), fc.schedules
        wanted = AddScheduleRequest(
            schedule_id="minutely",
            workflow_id="short",
            cron="* * * * *",
            input_payload={"url": stage.url, "risk": "low"},
        )
        await client.ask("add", lambda call: schedules.add(call, wanted))
        await client.ask("hold", lambda call: schedules.pause(call, "minutely"), status=200)
        await client.ask("on", lambda call: schedules.resume(call, "minutely"), status=200)
        for _ in range(2):
            stage.clock.forward(60)
            while await again(fc._scheduler.turn) < _NOTHING_DUE_S:
                pass  # a commit failed, and the tick is done at the next look
        await client.ask("remove", lambda call: schedules.remove(call, "minutely"), status=200)
        runs = await fc.runs.page(fc.call("anna"))
        ticks = [run.metadata["schedule"]["at"] for run in runs]
        assert len(ticks) == len(set(ticks)) == 2, ticks
        for run in runs:
            answer = await client.end(run.run_id)
            assert answer.run.status == "completed", answer


async def doubt(stage: Stage) -> None:
    """A server finds a step that was begun and has no end, and asks a person."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        answer = await client.end(await client.start("a short run", "short"))
        assert answer.run.status == "completed", answer
        # Where the step had not happened it is run again; a server that dies there asks again.
        assert {g.gate_type for g in answer.gates} == {"in_doubt"}


async def people(stage: Stage) -> None:
    """Gates are refused, expire, are bypassed; a stranger tries one, and is refused."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        runs = [await client.start(f"asks {n}", "asks") for n in range(3)]
        gates = [(await client.paused(run_id)).gates[0] for run_id in runs]
        no = AnswerGateRequest(status="rejected", rejection_reason="no")
        gone = (Conflict, Forbidden)
        try:
            stranger = fc.call("stranger")
            await again(lambda: fc.gates.answer(stranger, runs[0], gates[0].gate_id, no))
        except gone as e:  # a conflict once the gate was answered, before the crash
            stage.tell("", msgspec.json.encode({"refused": e.error_code}))
        await client.ask(
            "no", lambda call: fc.gates.answer(call, runs[0], gates[0].gate_id, no), status=200
        )
        bypass = BypassRequest(reason="the house is on fire")
        await client.ask(
            "bypass",
            lambda call: fc.gates.bypass(call, runs[1], gates[1].gate_id, bypass),
            actor="chief",
            status=200,
        )
        stage.clock.forward(3_601)
        fc._parts.engine.wake(runs[2])
        for run_id, status in zip(runs, ("failed", "completed", "failed"), strict=True):
            answer = await client.over(run_id)
            assert answer.run.status == status, answer


async def reported(stage: Stage) -> None:
    """A client does the work itself, and reports it."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        run_id = await client.start("outside", "elsewhere")

        async def change(key: str, **request: Any) -> None:
            wanted = ChangeStatusRequest(**request)
            await client.ask(
                key, lambda call: fc.runs.change_status(call, run_id, wanted), status=200
            )

        async def record(key: str, **request: Any) -> None:
            wanted = RecordStepRequest(step_id="one", **request)
            await client.ask(key, lambda call: fc.steps.record(call, run_id, wanted), status=200)

        await change("on", status="running", current_step="one")
        await record("begin", status="running", input={"n": 1})
        await record("fail", status="failed", error={"message": "not yet"})
        await record("once more", status="running", input={"n": 1})
        await record("end", status="completed", output=[1])
        wanted = RequestGateRequest(step_id="one", gate_name="Sure?", required_approvers=["anna"])
        asked = await client.ask("gate", lambda call: fc.gates.request(call, run_id, wanted))
        yes = AnswerGateRequest(status="approved")
        await client.ask(
            "yes", lambda call: fc.gates.answer(call, run_id, asked["gate_id"], yes), status=200
        )
        await change("done", status="completed", output_payload={"done": True})
        answer = await client.look(run_id)
        assert (answer.run.status, answer.run.output_payload) == ("completed", {"done": True})


async def administration(stage: Stage) -> None:
    """A policy bundle takes another's place, and a key another's: by command, or, where the nodes
    are given their key, with a start."""
    given = stage.database is not None
    keys = {"signing_key": _NEXT_SEED, "previous_signing_key": _SEED} if given else {}
    async with stage.opened(**keys) as fc:
        client = Client(stage, fc)
        await client.ask("bundle", lambda call: fc.policies.activate(call, NEXT_BUNDLE))
        if not given:
            request = RotateRequest(reason="yearly")
            await client.ask("key", lambda call: fc.log.rotate(call, request))
        assert [a.version for a in await fc.policies.history(fc.call("anna"))][-1] == "2.0.0"
        answer = await client.end(await client.start("after", "short"))
        assert answer.run.status == "completed"
    async with stage.opened(**keys) as fc:  # the key that signs is the one that the log names
        assert len(await fc.log.keys(fc.call("anna"))) == 2  # it was rotated once


async def evidence(stage: Stage) -> None:
    """A pack of a run is made, then the run's values are erased, then a pack is made again."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        [run] = [r for r in await fc.runs.page(fc.call("anna")) if r.completed_at]
        await _packed(client, run.run_id)
        erase = EraseRequest(run_id=run.run_id, reason="a legal demand")
        await client.ask("erase", lambda call: fc.erasures.erase(call, erase), status=200)
        now = await client.look(run.run_id)
        assert now.run.input_payload is None
        await _packed(client, run.run_id)


async def _packed(client: Client, run_id: str) -> None:
    pack = await again(lambda: client.fc.evidence.pack(client.fc.call("anna"), run_id))
    with pack.file as file, saving(client.stage.folder.parent / "pack.zip") as target:
        target.write(file.read())
    client.stage.tell("", msgspec.json.encode({"pack": pack.summary.pack_hash}))


async def witnessed(stage: Stage) -> None:
    """A witness begins its life, and cosigns."""
    home = stage.folder.parent / "witness"
    async with stage.opened() as fc:
        keys = await fc.log.keys(fc.call("anna"))
        with _witness(home, keys[-1].key) as setting:
            pass
    with _witness(home, keys[-1].key) as setting:
        async with stage.opened(witnesses=[setting]) as fc:
            await Client(stage, fc).start("seen", "elsewhere")
            while True:
                newest = fc.evidence._signer.newest
                if newest is not None and newest.witnesses:
                    break
                async with asyncio.timeout(20):
                    await asyncio.sleep(0.005)


@contextmanager
def _witness(folder: Path, log: str) -> Iterator[WitnessSetting]:
    home = open_home(folder, "witness.example/w1")
    app = WitnessApp(Witness(home, [VerifierKey.parse(log)]))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = app._decided(body)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield WitnessSetting(f"http://127.0.0.1:{server.server_port}", home.verifier)
    finally:
        server.shutdown()
        server.server_close()
        home.store.close()


async def filling(stage: Stage) -> None:
    """The log comes to within a run of its first full tile of 256 hashes."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        number = 0
        while (await fc._parts.ledger.read(tree_size)) < TILE_WIDTH - 3:
            number += 1
            await client.start(f"filling {number}", "elsewhere")


async def tile(stage: Stage) -> None:
    """A tile becomes full."""
    async with stage.opened() as fc:
        client = Client(stage, fc)
        for number in range(2):
            await client.start(f"over the edge {number}", "elsewhere")
        assert (await fc._parts.ledger.read(tree_size)) > TILE_WIDTH


async def rebuilding(stage: Stage) -> None:
    """An operator makes the projections anew."""
    report = await asyncio.to_thread(rebuild, stage.folder / "fedcore.db")
    assert report.differences == []


Chapter = Callable[[Stage], Coroutine[Any, Any, None]]

CHAPTERS: dict[str, Chapter] = {
    chapter.__name__: chapter
    for chapter in (
        first_start,
        registration,
        work,
        short,
        fan,
        kin,
        scheduled,
        people,
        reported,
        administration,
        evidence,
        witnessed,
        filling,
        tile,
        rebuilding,
        doubt,
    )
}

_READY = ("first_start", "registration")
_ENDED = (*_READY, "short")

BEGINNINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(CHAPTERS, _READY),
    "first_start": (),
    "registration": ("first_start",),
    "evidence": _ENDED,
    "rebuilding": _ENDED,
    "tile": ("first_start", "filling"),
    "filling": ("first_start",),
    "doubt": (*_READY, "cut short"),
}
"""The chapters that were played before this one; `cut short` is `short`, with a process that was
killed when its step had begun."""
