"""Packs of real runs, and what an auditor reads out of them with nothing but a few hashes."""

import hashlib
import io
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

from sqlalchemy import Connection, select

from federation_core.evidence.build import PackRequest, PackSigner, PackSummary, build_pack
from federation_core.evidence.keyring import Keyring
from federation_core.evidence.signer import Signer
from federation_core.ledger import Ledger, Payload
from federation_core.ledger.projections import append_of
from federation_core.ledger.schema import events
from federation_core.service import FederationCore
from federation_core.spine.actor import Actor
from federation_core.spine.canonical import ZERO_HASH, canonical, sha256
from federation_core.spine.commands import (
    ChangeStatus,
    Command,
    CompleteStep,
    CreateRun,
    ProposeStep,
)
from federation_core.spine.decision import Decision
from federation_core.spine.handle import handle
from federation_core.spine.run import Run
from federation_core.spine.turn import Turn

__all__ = [
    "Bench",
    "Opened",
    "bench",
    "build",
    "built",
    "long_run",
    "open_pack",
    "run_ids",
    "signer_of",
]

START = 1_795_435_200_000_000
RULES = "permit (principal, action, resource);\n"
BUNDLE = canonical({"files": {"rules.cedar": sha256(RULES.encode())}}).decode()
OBJECTS = {sha256(text.encode()): text for text in (RULES, BUNDLE)}
POLICY = sha256(BUNDLE.encode())
ALLOW = Decision("allow", "it is allowed", "all", POLICY, "0", ("base",), ZERO_HASH, 1)
ALICE = Actor("alice")


class Opened:
    """A pack as its reader has it."""

    def __init__(self, data: bytes, summary: PackSummary) -> None:
        self.data, self.summary = data, summary
        self.zip = ZipFile(io.BytesIO(data))
        assert self.zip.testzip() is None
        self.names = self.zip.namelist()

    def read(self, name: str) -> bytes:
        return self.zip.read(name)

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def lines(self, stream: str) -> list[bytes]:
        data = self.read(f"events/{stream}.jsonl")
        assert data.endswith(b"\n")
        return data[:-1].split(b"\n")

    def events(self, stream: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(stream)]

    def under(self, folder: str) -> list[str]:
        return [name for name in self.names if name.startswith(f"{folder}/")]

    @property
    def report(self) -> str:
        return self.read("REPORT.md").decode()

    def receipt(self, name: str = "receipt.dsse.json") -> dict[str, Any]:
        receipt: dict[str, Any] = json.loads(b64decode(self.json(name)["payload"]))
        return receipt


def open_pack(file: BinaryIO, summary: PackSummary) -> Opened:
    file.seek(0)
    data = file.read()
    assert len(data) == summary.size_bytes
    opened = Opened(data, summary)
    assert hashlib.sha256(opened.read("manifest.json")).hexdigest() == summary.pack_hash
    return opened


def signer_of(signer: Signer) -> PackSigner:
    key = signer.keys.key
    return PackSigner(key.signing, key.verifier)


async def build(
    ledger: Ledger, signer: Signer, *runs: str, tenant: str = "default", **asked: Any
) -> Opened:
    """The pack of `runs`, under the checkpoints that there are."""
    request = PackRequest(tuple(runs), tenant, **asked)
    file = io.BytesIO()
    summary = await ledger.read(build_pack, request, signer_of(signer), file)
    return open_pack(file, summary)


async def built(fc: FederationCore, *runs: str, **asked: Any) -> Opened:
    """The pack of `runs` of a whole system, all that it has done signed before."""
    signer = fc.evidence._signer
    await signer.sign()
    return await build(fc._parts.ledger, signer, *runs, **asked)


def run_ids(c: Connection) -> list[tuple[str, str]]:
    """(id, tenant) of every run of a ledger, by its events alone."""
    query = select(events.c.body).where(events.c.type == "FC-RUN-001").order_by(events.c.position)
    born = [json.loads(body) for body in c.execute(query).scalars()]
    return [(event["data"]["run_id"], event["tenant"]) for event in born]


class Bench:
    """A ledger and its signer, and nothing else."""

    def __init__(self, ledger: Ledger, signer: Signer, folder: Path) -> None:
        self.ledger, self.signer, self.folder = ledger, signer, folder

    async def pack(self, *runs: str, sign: bool = True, **asked: Any) -> Opened:
        if sign:
            await self.signer.sign()
        return await build(self.ledger, self.signer, *runs, **asked)


def _clock() -> int:
    return START


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    ledger = await Ledger.open(folder / "fedcore.db")
    try:
        file = folder / "signing.key"
        keys = await Keyring.open(ledger, tenant="default", clock=_clock, file=file)
        yield Bench(ledger, Signer(ledger, keys, _clock), folder)
    finally:
        await ledger.close()


class _Life:
    """A client's run that is written many steps at a time."""

    def __init__(self, ledger: Ledger, run_id: str, tenant: str, actor: Actor) -> None:
        self.ledger, self.run, self.actor = ledger, Run(None, run_id, tenant), actor
        self.now = START
        self.payloads: list[Payload] = []
        self.turn = self._turn()

    def _turn(self) -> Turn:
        return Turn(
            self.run, actor=self.actor, now=self.now, new_id=lambda: "none", log=self.ledger.log
        )

    def keep(self, text: str) -> str:
        value = json.dumps(text).encode()
        self.payloads.append(Payload(sha256(value), value))
        return self.payloads[-1].hash

    def do(self, command: Command) -> None:
        handle(self.turn, command)

    async def flush(self) -> None:
        if not self.turn.events:
            return
        append = append_of(self.turn, self.payloads)
        append.objects = dict(OBJECTS)
        await self.ledger.append(append)
        self.now += 1_000_000
        self.payloads, self.turn = [], self._turn()


async def long_run(
    ledger: Ledger,
    run_id: str,
    steps: int,
    *,
    size: int = 10,
    tenant: str = "default",
    actor: Actor = ALICE,
    end: bool = True,
    **born: Any,
) -> None:
    """A run of so many steps, the input and the output of each `size` characters long."""
    life = _Life(ledger, run_id, tenant, actor)
    born = {
        "workflow_id": "long",
        "workflow_version": "1.0.0",
        "definition_hash": None,
        "execution": "external",
        "policy_mode": "loose",
        "correlation_id": "c",
        "input_hash": life.keep("input"),
        "metadata_hash": life.keep("metadata"),
        "decision": ALLOW,
    } | born
    life.do(CreateRun(run_id=run_id, tenant=tenant, **born))
    await life.flush()
    life.do(ChangeStatus(status="running", decision=ALLOW))
    for n in range(steps):
        given, got = life.keep(f"in {n} ".ljust(size, "x")), life.keep(f"out {n} ".ljust(size, "x"))
        name = f"step {n}"
        life.do(ProposeStep(step_id=name, step_type="ACT", input_hash=given, decision=ALLOW))
        life.do(CompleteStep(step_id=name, output_hash=got))
        if n % 100 == 99:
            await life.flush()
    if end:
        life.do(ChangeStatus(status="completed", decision=ALLOW))
    await life.flush()
