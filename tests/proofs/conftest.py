"""True transcripts of the three tests, made in this process by the system itself, so that each
check can be shown to hold on the truth and to fail on a lie."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from federation_core import AnswerGateRequest, CreateRunRequest, FederationCore, RegisterRequest
from federation_core.proofs.at_rest import snapshot, with_bytes
from federation_core.proofs.effects import EffectService
from federation_core.proofs.given import MATERIAL, Given
from federation_core.proofs.pack_judging import PackTrial, judge_packs
from federation_core.proofs.packing import Pack, unpacked
from federation_core.proofs.packs import Fetched
from federation_core.proofs.people import APPROVER, AUDITOR, OPERATOR
from federation_core.proofs.scenarios import CASES, WORKFLOW
from federation_core.proofs.server import AUTHORIZATION
from federation_core.proofs.transcript import Case, Sighting, Transcript

Honest = dict[str, Transcript]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Honest, PackTrial]:
    """The three tests, played and judged once."""
    folder = tmp_path_factory.mktemp("honest")
    with EffectService() as effects, _registry() as registry, pytest.MonkeyPatch.context() as env:
        env.setenv(AUTHORIZATION, "Bearer of nothing")
        fetched, made = asyncio.run(_play(folder / "data", effects, registry))
    intact = snapshot(folder / "data" / "fedcore.db", folder / "intact")
    told = [with_bytes(t, intact) for t in made]
    trial, judged = judge_packs(fetched, told, folder / "packs")
    return {t.test: t for t in judged}, trial


@pytest.fixture(scope="session")
def honest(played: tuple[Honest, PackTrial]) -> Honest:
    """Letter of the case → its true transcript, with the ledger's own bytes and the evidence pack.
    Do not change it."""
    return played[0]


@pytest.fixture(scope="session")
def packs(played: tuple[Honest, PackTrial]) -> PackTrial:
    """What came of the forged packs."""
    return played[1]


@pytest.fixture(scope="session")
def intact(honest: Honest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory, at rest, that `honest` was read from. Do not change it."""
    return next(tmp_path_factory.getbasetemp().glob("honest*/intact"))


async def _play(
    data: Path, effects: EffectService, registry: str
) -> tuple[Fetched, list[Transcript]]:
    given = Given.read()
    allow = [effects.address, registry.removeprefix("http://")]
    async with FederationCore.open(data, policy_dir=MATERIAL / "policy", http_allow=allow) as core:
        register = RegisterRequest(workflow_yaml=given.workflow)
        answer = await core.workflows.register(core.call("proof-administrator"), register)
        facts = {
            "policy": given.policy,
            "definition_hash": answer.artifact_hashes["definition.json"],
        }
        where = {"registry": registry, "effects": effects.url}
        made: list[Transcript] = []
        for case in CASES:
            made.append(await _case(core, case, effects, where, facts))
            if case.letter == "A":
                seen = await core.log.checkpoint(core.call(AUDITOR))
        fetched = Fetched(await core.log.trust(core.call(AUDITOR)), seen)
        return fetched, [await _with_pack(core, fetched, t) for t in made]


async def _with_pack(core: FederationCore, fetched: Fetched, t: Transcript) -> Transcript:
    call = core.call(AUDITOR)
    made = await core.evidence.pack(call, t.run_id, payloads=True, sensitive=False)
    with made.file as file:
        data = file.read()
    pack = Pack(data=data, files=unpacked(data), told=made.summary.pack_hash)
    if pack.checkpoint[1] != fetched.seen_size:
        proof = await core.log.consistency(call, fetched.seen_size, pack.checkpoint[1])
        pack = msgspec.structs.replace(pack, consistency=json.dumps(_plain(proof)))
    return msgspec.structs.replace(t, pack=pack)


async def _case(
    core: FederationCore,
    case: Case,
    effects: EffectService,
    where: dict[str, str],
    facts: dict[str, Any],
) -> Transcript:
    operator, approver = core.call(OPERATOR), core.call(APPROVER)
    payload = {"change": f"PT-004 {case.letter}", "machines": case.machines, **where}
    request = CreateRunRequest(workflow_id=WORKFLOW, input_payload=payload)
    run_id = (await core.runs.create(operator, request)).run.run_id
    at_pause: int | None = None
    live = []
    async for entry in core.runs.follow(operator, run_id):
        live.append(_plain(entry))
        if entry.new_status == "paused":
            at_pause = len(effects.of(run_id))
            [gate] = await core.gates.pending(approver)
            yes = AnswerGateRequest(status="approved")
            await core.gates.answer(approver, run_id, gate.gate_id, yes)
    told = _plain(await core.runs.get(operator, run_id, gates=True, steps=True))
    logs = [_plain(e) for e in await core.runs.logs(operator, run_id, limit=1_000)]
    seen = [e["new_status"] for e in logs if e["event_type"].startswith("FC-RUN")]
    return Transcript(
        test=case.letter,
        run=told["run"],
        logs=logs,
        live=live,
        gates=told["gates"],
        steps=told["steps"],
        sightings=[Sighting(status, "2026-11-23T12:00:00.000000Z", "log") for status in seen],
        effects=effects.of(run_id),
        effects_at_pause=at_pause,
        **facts,
    )


def _plain(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


@contextmanager
def _registry() -> Iterator[str]:
    """What the OBSERVE step asks where there is no server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = json.dumps([{"workflow_id": WORKFLOW, "version": "1.0.0"}]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
