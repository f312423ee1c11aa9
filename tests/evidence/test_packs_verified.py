"""What the server packs, the verifier believes; the two share no code."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    core,
    flag,
    forbid,
    py,
    start,
    until,
)
from tests.core_steps import new_stage
from tests.evidence.packs_helpers import Opened, bench, built, long_run, run_ids
from tests.history import make_history

from federation_core.errors import CallerError
from federation_core.evidence.signer import Signer
from federation_core.evidence.verify import Verdict, verify_pack
from federation_core.service import ChangeStatusRequest, CreateRunRequest, FederationCore
from federation_core.service.requests import EraseRequest
from federation_core.service.views import Gate
from federation_core.spine.actor import Actor


@pytest.fixture(autouse=True)
def _stage() -> None:
    new_stage()


class Auditor:
    """Somebody who has the trust text from the operator, and gets packs."""

    def __init__(self, folder: Path, *keys: str) -> None:
        self.folder = folder
        self.trust = "".join(f"log {key}\nissuer {key}\n" for key in keys)

    def judge(self, pack: Opened, **asked: Any) -> Verdict:
        file = self.folder / "pack.zip"
        file.write_bytes(pack.data)
        return verify_pack(str(file), self.trust, **asked)

    def accepts(self, pack: Opened, verdict: str = "VALID", **asked: Any) -> dict[str, int]:
        """The verdict is this one; returns how many payloads were found how."""
        found = self.judge(pack, **asked)
        assert (found.verdict, found.error) == (verdict, None)
        assert tuple(found.run_ids) == pack.summary.run_ids
        assert found.events == pack.summary.events
        assert found.checkpoint is not None
        assert found.checkpoint["size"] == pack.summary.checkpoint_size
        assert found.payloads["missing"] == 0
        return dict(found.payloads)


def auditor(folder: Path, signer: Signer) -> Auditor:
    return Auditor(folder, *(epoch.key.text for epoch in signer.keys.epochs))


async def test_whatever_can_happen_to_a_run(tmp_path: Path) -> None:
    await make_history(tmp_path / "data")
    async with core(tmp_path / "data", audited=False) as fc:
        judge = auditor(tmp_path, fc.evidence._signer)
        ended: dict[str, list[str]] = {}
        open_runs = 0
        for run_id, tenant in await fc._parts.ledger.read(run_ids):
            for asked in ({}, {"sensitive": True}, {"payloads": False}):
                pack = await built(fc, run_id, tenant=tenant, **asked)
                if "receipt.dsse.json" in pack.names:
                    ended.setdefault(tenant, []).append(run_id)
                    found = judge.accepts(pack, run=run_id, tenant=tenant)
                    assert asked != {"sensitive": True} or not found["withheld"]
                else:
                    open_runs += 1
                    verdict = judge.judge(pack)
                    assert verdict.verdict == "INCOMPLETE"
                    assert verdict.error is not None
                    assert verdict.error["code"] == "FILE_MISSING"
        assert open_runs
        assert len(ended["default"]) > 3 * 10
        for tenant, of in ended.items():
            judge.accepts(await built(fc, *of, tenant=tenant), tenant=tenant)


async def test_erased_rotated_and_several_at_once(tmp_path: Path) -> None:
    """A tenant with a slash in its name, two rotations, two erasures, and a run of another."""
    async with core(tmp_path / "data", tenant="a/../b") as fc:
        signer = fc.evidence._signer
        secret = py("hide", sensitive=True, with_={"secret": "${input.secret}"})
        first = await begin(fc, py("plain"), secret, given={"secret": "s"})
        await until(fc, first)
        await built(fc, first, tenant="a/../b")
        await signer.rotate(Actor("boss"), "yearly")
        second, third = await start(fc, {"secret": "s"}), await start(fc, {"secret": "t"})
        await until(fc, second)
        await until(fc, third)
        erase = EraseRequest(run_id=first, reason="a legal demand")
        await fc.erasures.erase(fc.call("boss"), erase)
        await signer.rotate(Actor("boss"), "stolen")
        judge = auditor(tmp_path, signer)
        for runs, verdict in (
            ((first,), "VALID_WITH_REDACTIONS"),
            ((second,), "VALID"),
            ((first, second, third), "VALID_WITH_REDACTIONS"),
        ):
            for asked in ({}, {"sensitive": True}, {"payloads": False}):
                pack = await built(fc, *runs, tenant="a/../b", **asked)
                found = judge.accepts(pack, verdict, tenant="a/../b")
                assert found["erased"] == pack.summary.redactions or not asked.get("payloads", True)
                assert bool(found["erased"]) == (first in runs)


async def test_questions_about_the_whole_run(tmp_path: Path) -> None:
    """Flagged at its start and, with what comes of a sensitive step, at its end; tightened."""
    rules = (
        flag("birth", action="run.start"),
        flag("result", action="run.complete", quorum=2),
        forbid("never", "context.input has never && context.input.never", action="run.create"),
    )
    async with core(tmp_path / "data", *rules, clock=Clock()) as fc:
        run_id = await begin(fc, py("hide", sensitive=True))
        for people in (("ann",), ("ann", "ben")):
            asked = await _pending(fc, run_id)
            for person in people:
                await approve(fc, asked, person)
        await until(fc, run_id)
        denied = await start(fc, {"never": True})
        strict = await fc.runs.create(
            fc.call("ann", mode="strict"), CreateRunRequest(workflow_id="wf")
        )
        judge = auditor(tmp_path, fc.evidence._signer)
        for asked_for in ({}, {"sensitive": True}, {"payloads": False}):
            judge.accepts(await built(fc, run_id, **asked_for))
            judge.accepts(await built(fc, denied, **asked_for))
        cancel = ChangeStatusRequest(status="cancelled")
        await fc.runs.change_status(fc.call("ann"), strict.run.run_id, cancel)
        pack = await built(fc, strict.run.run_id)
        assert len({name.split("/")[1] for name in pack.under("policies")}) == 2
        judge.accepts(pack)


async def _pending(fc: FederationCore, run_id: str) -> Gate:
    """The gate at which a run waits, once it does."""
    async with asyncio.timeout(30), fc._parts.ledger.watch(f"run:{run_id}") as watch:
        while True:
            answer = await fc.runs.get(fc.call("x"), run_id, gates=True)
            if pending := [g for g in answer.gates if g.status == "pending"]:
                return pending[0]
            await watch.next()


async def test_a_clients_run_that_fails_with_an_error_of_its_own(tmp_path: Path) -> None:
    async with core(tmp_path / "data") as fc:
        alice = fc.call("alice")
        made = await fc.runs.create(alice, CreateRunRequest(workflow_id="outside"))
        run_id = made.run.run_id
        running = ChangeStatusRequest(status="running", output_payload={"so": "far"})
        await fc.runs.change_status(alice, run_id, running)
        failed = ChangeStatusRequest(
            status="failed", error_details={"code": "x", "message": "no luck"}
        )
        await fc.runs.change_status(alice, run_id, failed)
        with pytest.raises(CallerError):
            await fc.runs.change_status(alice, run_id, running)
        pack = await built(fc, run_id)
        found = auditor(tmp_path, fc.evidence._signer).accepts(pack)
    assert found["present"] == len(pack.under("payloads"))


async def test_a_run_of_more_than_a_thousand_events(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "before", 99)
        await long_run(b.ledger, "r", 400)
        await long_run(b.ledger, "after", 99)
        judge = auditor(tmp_path, b.signer)
        pack = await b.pack("r")
        assert judge.accepts(pack)["present"] == len(pack.under("payloads"))
        judge.accepts(await b.pack("r", "after"))


async def test_the_verifier_in_the_pack_needs_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 3)
        pack = await b.pack("r")
        judge = auditor(tmp_path, b.signer)
    (tmp_path / "pack.zip").write_bytes(pack.data)
    (tmp_path / "verify.py").write_bytes(pack.read("verify.py"))
    (tmp_path / "trust.txt").write_text(judge.trust, encoding="utf-8")
    command = [sys.executable, "-I", "verify.py", "pack.zip", "--trust", "trust.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VALID\n")


async def test_the_commands_of_the_report_do_what_it_says(tmp_path: Path) -> None:
    async with core(tmp_path / "data") as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        pack = await built(fc, run_id)
        trust = auditor(tmp_path, fc.evidence._signer).trust
    folder = tmp_path / "unpacked"
    pack.zip.extractall(folder)
    (folder / "trust.txt").write_text(trust, encoding="utf-8")
    script = re.findall(r"^```sh\n(.*?)^```", pack.report, re.DOTALL | re.MULTILINE)[-1]
    assert "sha256sum manifest.json" in script

    def run() -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout

    said = run()
    first, *_, head = [line.split()[0] for line in said.split("Signature")[0].splitlines()]
    assert first == pack.summary.pack_hash
    assert head == pack.events(f"run:{run_id}")[1]["prev"]
    assert said.count(head) == 3  # by its bytes, by the link to it, and in the receipt
    assert "every file is the one that the manifest names" in said
    assert "Signature Verified Successfully" in said
    assert json.loads(said[said.index("{") :]) == pack.receipt()
    (folder / "REPORT.md").write_text("another", encoding="utf-8")
    assert "every file" not in run()
