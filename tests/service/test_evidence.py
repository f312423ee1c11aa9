"""Packs, receipts, erasure and witnesses, as the use cases give them."""

import asyncio
import base64
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core_helpers import DATABASE, begin, core, py, start, until
from tests.core_steps import new_stage
from tests.witness.witness_helpers import serving

from federation_core.errors import Conflict, Forbidden, InvalidInput, NotFound
from federation_core.evidence.collector import WitnessSetting
from federation_core.evidence.receipts import pae
from federation_core.evidence.verify import Verdict, verify_pack
from federation_core.identity import Caller
from federation_core.service import (
    Call,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    Key,
    RotateRequest,
)
from federation_core.spine.canonical import sha256
from federation_core.transparency import VerifierKey
from federation_core.transparency.ed25519 import verify

SECRET = py("hidden", sensitive=True, with_={"secret": "${input.secret}"})
GIVEN = {"secret": "s3cret-4711"}


async def export(fc: FederationCore, run_id: str, **options: Any) -> bytes:
    pack = await fc.evidence.pack(fc.call("auditor"), run_id, **options)
    with pack.file as file:
        return file.read()


async def judged(
    fc: FederationCore, data: bytes, folder: Path, trust: str | None = None
) -> Verdict:
    path = folder / "pack.zip"
    path.write_bytes(data)
    return verify_pack(path, trust or await fc.log.trust(fc.call("auditor")))


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def reader(fc: FederationCore, *scopes: str) -> Call:
    caller = msgspec.structs.replace(fc.call("auditor").caller, scopes=frozenset(scopes))
    assert isinstance(caller, Caller)
    return Call(caller=caller, correlation_id="c")


async def test_a_pack_is_the_same_until_something_about_its_run_changes(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = (await until(fc, await begin(fc, py("s")))).run.run_id
        first = await export(fc, run_id)
        await until(fc, await start(fc))
        assert await export(fc, run_id) == first
        verdict = await judged(fc, first, tmp_path)
        assert (verdict.verdict, list(verdict.run_ids)) == ("VALID", [run_id])
        run = (await fc.runs.get(fc.call("x"), run_id)).run
        manifest = zipfile.ZipFile(io.BytesIO(first)).read("manifest.json")
        assert run.evidence_pack_hash == sha256(manifest)
        assert run.evidence_pack_refs == [f"rhid:pack:sha256:{run.evidence_pack_hash}"]


async def test_a_pack_of_a_run_under_way_is_whole_and_incomplete(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        stage = new_stage()
        run_id = await begin(fc, py("s", "hold"))
        verdict = await judged(fc, await export(fc, run_id), tmp_path)
        assert (verdict.verdict, verdict.exit_status) == ("INCOMPLETE", 4)
        with pytest.raises(Conflict, match="once it has ended"):
            await fc.evidence.receipt(fc.call("auditor"), run_id)
        stage.go("s may end")


async def test_what_sensitive_steps_saw_stays_out_unless_an_admin_asks(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = (await until(fc, await begin(fc, SECRET, given=GIVEN))).run.run_id
        kept, given = await export(fc, run_id), await export(fc, run_id, sensitive=True)
        none = await export(fc, run_id, payloads=False)
        assert len(names(none)) < len(names(kept)) < len(names(given))
        assert not [n for n in names(none) if n.startswith("payloads/")]
        for data in (kept, given, none):
            assert (await judged(fc, data, tmp_path)).verdict == "VALID"
        with pytest.raises(Forbidden, match="admin"):
            await fc.evidence.pack(reader(fc, "workflow:read"), run_id, sensitive=True)


async def test_a_pack_of_many_is_of_those_that_are_asked_for(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        first = (await until(fc, await begin(fc, py("s")))).run
        tagged = [(await until(fc, await start(fc, tags=["night"]))).run.run_id for _ in range(3)]
        call = fc.call("auditor")
        pack = await fc.evidence.pack_of_many(call, tag="night")
        with pack.file as file:
            verdict = await judged(fc, file.read(), tmp_path)
        assert (verdict.verdict, list(verdict.run_ids)) == ("VALID", sorted(tagged))
        everything = await fc.evidence.pack_of_many(call, since=first.created_at)
        everything.file.close()
        assert len(everything.summary.run_ids) == 4
        with pytest.raises(NotFound):
            await fc.evidence.pack_of_many(call, tag="day")
        with pytest.raises(InvalidInput):
            await fc.evidence.pack_of_many(call, since="yesterday")


async def test_a_receipt_is_signed_with_the_logs_key(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run = (await until(fc, await begin(fc, py("s")))).run
        envelope = json.loads(await fc.evidence.receipt(fc.call("auditor"), run.run_id))
        payload = base64.b64decode(envelope["payload"])
        assert sha256(payload) == run.workflow_receipt_hash
        assert json.loads(payload)["receipt_chain"] == run.receipt_chain
        [key] = [VerifierKey.parse(k.key) for k in await fc.log.keys(fc.call("auditor"))]
        [signature] = envelope["signatures"]
        assert signature["keyid"] == f"{key.name}+{key.key_hash.hex()}"
        message = pae(envelope["payloadType"], payload)
        assert verify(key.public, message, base64.b64decode(signature["sig"]))


async def test_what_was_erased_is_gone_and_the_log_says_so(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = (await until(fc, await begin(fc, SECRET, given=GIVEN))).run.run_id
        other = (await until(fc, await start(fc, {"secret": "another"}))).run.run_id
        before = await export(fc, run_id)
        told = await fc.erasures.erase(
            fc.call("officer"), EraseRequest(run_id=run_id, reason="A legal demand, case 88")
        )
        assert told.payloads[run_id]
        run = (await fc.runs.get(fc.call("x"), run_id)).run
        assert (run.input_payload, run.output_payload) == (None, None)
        assert (await fc.runs.get(fc.call("x"), other)).run.input_payload == {"secret": "another"}
        after = await judged(fc, await export(fc, run_id), tmp_path)
        assert (after.verdict, after.exit_status) == ("VALID_WITH_REDACTIONS", 0)
        assert after.payloads["erased"] >= 3
        assert (await judged(fc, before, tmp_path)).verdict == "VALID"
        assert (await judged(fc, await export(fc, other), tmp_path)).verdict == "VALID"
        with pytest.raises(NotFound):
            await fc.erasures.erase(
                fc.call("officer"), EraseRequest(run_id=run_id, reason="once more, please")
            )
    found = [p for p in tmp_path.glob(f"{DATABASE}*") if b"s3cret-4711" in p.read_bytes()]
    assert found == []


async def test_one_payload_is_erased_wherever_the_tenant_has_it(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        runs = [(await until(fc, await begin(fc, py("s"), given={"a": 1}))).run.run_id]
        runs.append((await until(fc, await start(fc, {"a": 1}))).run.run_id)
        runs.append((await until(fc, await start(fc, {"a": 2}))).run.run_id)
        digest = sha256(b'{"a":1}')
        request = EraseRequest(payload_hash=digest, reason="A legal demand, case 89")
        told = await fc.erasures.erase(fc.call("officer"), request)
        assert told.payloads == {run_id: [digest] for run_id in sorted(runs[:2])}
        verdicts = [(await judged(fc, await export(fc, r), tmp_path)).verdict for r in runs]
        assert verdicts == ["VALID_WITH_REDACTIONS"] * 2 + ["VALID"]


@pytest.mark.parametrize(
    ("request_of", "refusal"),
    [
        (lambda run: EraseRequest(reason="neither of them"), InvalidInput),
        (
            lambda run: EraseRequest(run_id=run, payload_hash="0" * 64, reason="both of them"),
            InvalidInput,
        ),
        (lambda run: EraseRequest(run_id=run, reason="it is not ended"), Conflict),
        (lambda run: EraseRequest(run_id="nobody", reason="there is none"), NotFound),
        (lambda run: EraseRequest(payload_hash="0" * 64, reason="there is none"), NotFound),
    ],
    ids=["neither", "both", "running", "no-run", "no-payload"],
)
async def test_an_erasure_that_cannot_be_is_refused_and_changes_nothing(
    tmp_path: Path, request_of: Callable[[str], EraseRequest], refusal: type[Exception]
) -> None:
    async with core(tmp_path) as fc:
        stage = new_stage()
        run_id = await begin(fc, py("s", "hold"), given={"a": 1})
        with pytest.raises(refusal):
            await fc.erasures.erase(fc.call("officer"), request_of(run_id))
        assert (await fc.runs.get(fc.call("x"), run_id)).run.input_payload == {"a": 1}
        stage.go("s may end")


async def test_an_answer_that_held_erased_values_is_not_given_again(tmp_path: Path) -> None:
    """And the same key does not start a second run."""
    async with core(tmp_path) as fc:
        await until(fc, await begin(fc, py("s")))
        key = Key("k", "0" * 64)
        call = msgspec.structs.replace(fc.call("starter"), key=key)
        request = CreateRunRequest(workflow_id="wf", input_payload=GIVEN)
        run = (await fc.runs.create(call, request)).run
        await until(fc, run.run_id)
        remembered = await fc.answers.find(call)
        assert remembered is not None
        assert b"s3cret" in remembered.body
        await fc.erasures.erase(
            fc.call("officer"), EraseRequest(run_id=run.run_id, reason="A legal demand, case 90")
        )
        told = await fc.answers.find(call)
        assert told is not None
        assert told.status == 410
        assert b"s3cret" not in told.body


async def test_who_erases_again_with_the_same_key_is_told_what_was_told(tmp_path: Path) -> None:
    """That answer tells of the run as well, and is not erased with the others."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("s"), given=GIVEN)
        await until(fc, run_id)
        call = msgspec.structs.replace(fc.call("officer"), key=Key("k", "0" * 64))
        request = EraseRequest(run_id=run_id, reason="A legal demand, case 90")
        told = await fc.erasures.erase(call, request)
        again = await fc.answers.find(call)
        assert again is not None
        assert (again.status, again.body) == (200, msgspec.json.encode(told))


async def test_packs_of_both_epochs_verify_after_a_rotation(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        old = (await until(fc, await begin(fc, py("s")))).run.run_id
        before = await export(fc, old)
        trusted_before = await fc.log.trust(fc.call("auditor"))
        key = await fc.log.rotate(fc.call("operator"), RotateRequest(reason="yearly"))
        assert key.to_size is None
        new = (await until(fc, await start(fc))).run.run_id
        for data in (before, await export(fc, old), await export(fc, new)):
            assert (await judged(fc, data, tmp_path)).verdict == "VALID"
        verdict = await judged(fc, await export(fc, new), tmp_path, trusted_before)
        assert verdict.error is not None
        assert verdict.error["code"] == "UNKNOWN_KEY"


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
async def test_witnesses_stand_behind_a_pack(tmp_path: Path) -> None:
    folder = tmp_path / "core"
    async with core(folder) as fc:
        log = VerifierKey.parse((await fc.log.keys(fc.call("auditor")))[0].key)
    with sqlite3.connect(folder / DATABASE) as db:
        assert db.execute("SELECT sum(witnesses) FROM checkpoints").fetchone() == (0,)
    db.close()
    logs = tmp_path / "logs.txt"
    logs.write_text(f"{log.text}\n")
    options = ("--name", "witness.example/w1", "--logs", str(logs))
    with serving(tmp_path / "witness", *options) as witness:
        setting = WitnessSetting(witness.url, witness.key)
        async with core(folder, witnesses=[setting]) as fc:
            call = fc.call("auditor")
            run_id = (await until(fc, await begin(fc, py("s")))).run.run_id
            trust = (await fc.log.trust(call)) + "quorum 1\n"
            await export(fc, run_id)  # and now a checkpoint covers the run
            async with asyncio.timeout(20):
                while "witness.example" not in await fc.log.checkpoint(call):
                    await asyncio.sleep(0)
            verdict = await judged(fc, await export(fc, run_id), tmp_path, trust)
            assert verdict.verdict == "VALID"
            assert list(verdict.witnesses) == ["witness.example/w1"]


async def test_a_witness_that_is_gone_holds_nobody_up(tmp_path: Path) -> None:
    key = VerifierKey.of("witness.example/gone", bytes([88]) + bytes(30) + bytes([1]), 4)
    setting = WitnessSetting("http://127.0.0.1:9", key)
    async with core(tmp_path, witnesses=[setting]) as fc:
        run_id = (await until(fc, await begin(fc, py("s")))).run.run_id
        data = await export(fc, run_id)
        assert (await judged(fc, data, tmp_path)).witnesses in ((), [])
        trust = (await fc.log.trust(fc.call("auditor"))) + "quorum 1\n"
        verdict = await judged(fc, data, tmp_path, trust)
        assert verdict.error is not None
        assert verdict.error["code"] == "QUORUM"
