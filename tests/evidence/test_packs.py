"""What is in a pack of a real run, read with nothing but hashes and the mathematics of the log."""

import hashlib
import json
import stat
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    core,
    flag,
    open_gates,
    py,
    register,
    start,
    until,
    workflow,
)
from tests.core_steps import new_stage
from tests.evidence.packs_helpers import Opened, bench, built, long_run, open_pack, run_ids
from tests.history import make_history

from federation_core.errors import Conflict, InvalidInput, NotFound
from federation_core.evidence.receipts import PAYLOAD_TYPE, pae
from federation_core.ledger import Append, queries
from federation_core.service import AnswerGateRequest, CreateRunRequest, FederationCore
from federation_core.service.requests import EraseRequest
from federation_core.spine.actor import Actor
from federation_core.spine.canonical import canonical
from federation_core.spine.envelope import Head
from federation_core.transparency import (
    SigningKey,
    VerifierKey,
    cosign,
    leaf_hash,
    open_checkpoint,
    parse_note,
    verify_inclusion,
)
from federation_core.transparency.ed25519 import verify

SECRET = py("hide", sensitive=True, with_={"secret": "${input.secret}"})
RISKY = py("risky", with_={"risk": "high"})
FLAGGED = flag("risk", 'context.input has risk && context.input.risk == "high"')


@pytest.fixture(autouse=True)
def _stage() -> None:
    new_stage()


async def flagged_run(fc: FederationCore, **keys: Any) -> str:
    """A run of a plain, a sensitive and a flagged step, which completed."""
    run_id = await begin(fc, py("plain"), SECRET, RISKY, given={"secret": "s3cret"}, **keys)
    [asked] = await open_gates(fc, run_id)
    await approve(fc, asked)
    await until(fc, run_id)
    return run_id


async def test_every_file_of_a_pack_is_what_the_page_says(tmp_path: Path) -> None:
    async with core(tmp_path, FLAGGED, clock=Clock()) as fc:
        run_id = await flagged_run(fc)
        pack = await built(fc, run_id, sensitive=True)
        stored = await fc._parts.ledger.read(queries.bodies, f"run:{run_id}")
        key = fc.evidence._signer.keys.key.verifier
    stream = f"run:{run_id}"
    assert pack.lines(stream) == stored
    assert pack.json("index.json").keys() == {stream}
    check_manifest(pack, run_id)
    check_log(pack, key)
    check_receipt(pack, key)
    check_contents(pack)
    roots = {name.split("/")[0] for name in pack.names}
    assert roots == {
        *("REPORT.md", "events", "index.json", "keys", "log", "manifest.json"),
        *("payloads", "policies", "receipt.dsse.json", "verify.py", "workflow"),
    }
    assert pack.summary.events == len(stored)
    assert pack.summary.run_ids == (run_id,)
    assert pack.summary.redactions == 0


def check_manifest(pack: Opened, run_id: str) -> None:
    manifest = pack.json("manifest.json")
    assert canonical(manifest) == pack.read("manifest.json")
    assert manifest.keys() == {"files", "log", "run_id", "v"}
    assert (manifest["run_id"], manifest["v"]) == (run_id, 1)
    assert manifest["files"].keys() == set(pack.names) - {"manifest.json"}
    for name, told in manifest["files"].items():
        data = pack.read(name)
        assert told == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def check_log(pack: Opened, key: VerifierKey) -> None:
    checkpoint = open_checkpoint(pack.read("log/checkpoint"), key)
    assert checkpoint.size == pack.summary.checkpoint_size
    assert pack.json("manifest.json")["log"] == checkpoint.origin
    index, proofs = pack.json("index.json"), pack.json("log/proofs.json")
    assert canonical(index) == pack.read("index.json")
    assert canonical(proofs) == pack.read("log/proofs.json")
    assert sorted(map(int, proofs)) == sorted(i for of in index.values() for i in of)
    for stream, positions in index.items():
        for position, line in zip(positions, pack.lines(stream), strict=True):
            proof = [b64decode(value) for value in proofs[str(position)]]
            verify_inclusion(leaf_hash(line), position, checkpoint.size, proof, checkpoint.root)


def check_receipt(pack: Opened, key: VerifierKey) -> None:
    envelope = pack.json("receipt.dsse.json")
    assert canonical(envelope) == pack.read("receipt.dsse.json")
    assert envelope["payloadType"] == PAYLOAD_TYPE
    payload = b64decode(envelope["payload"])
    [signature] = envelope["signatures"]
    assert signature["keyid"] == f"{key.name}+{key.key_hash.hex()}"
    assert verify(key.public, pae(PAYLOAD_TYPE, payload), b64decode(signature["sig"]))
    last = json.loads(pack.lines(f"run:{pack.summary.run_ids[0]}")[-1])
    assert last["data"]["workflow_receipt_hash"] == hashlib.sha256(payload).hexdigest()


def check_contents(pack: Opened) -> None:
    """All that is named by its hash has it, and all that events name is there."""
    [run_id] = pack.summary.run_ids
    events = pack.events(f"run:{run_id}")
    payloads = {name[9:-5]: pack.json(name) for name in pack.under("payloads")}
    for digest, payload in payloads.items():
        data = canonical(payload["value"])
        if "salt" in payload:
            data = b"fc/payload/v1\0" + bytes.fromhex(payload["salt"]) + data
        assert hashlib.sha256(data).hexdigest() == digest
    assert payloads.keys() == named_payloads(events)
    receipt = pack.receipt()
    bundles = {name.split("/")[1] for name in pack.under("policies")}
    assert bundles == set(receipt["policy_hashes"])
    for digest in bundles:
        whole = pack.read(f"policies/{digest}/files.json")
        assert hashlib.sha256(whole).hexdigest() == digest
        files = json.loads(whole)["files"]
        assert len(files) == len(pack.under(f"policies/{digest}")) - 1
        for name, told in files.items():
            assert hashlib.sha256(pack.read(f"policies/{digest}/{name}")).hexdigest() == told
    [definition] = pack.under("workflow")
    found = hashlib.sha256(pack.read(definition)).hexdigest()
    assert definition == f"workflow/{found}/definition.json"
    assert found == receipt["definition_hash"]


def named_payloads(events: list[dict[str, Any]]) -> set[str]:
    fields = ("input", "metadata", "output", "error", "input_schema", "subject", "items")
    found = (event["data"].get(f"{field}_hash") for event in events for field in fields)
    return {digest for digest in found if digest}


async def test_the_files_of_the_zip_are_sorted_and_have_no_time_of_their_own(
    tmp_path: Path,
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        pack = await built(fc, run_id)
    assert pack.names == sorted(pack.names)
    for info in pack.zip.infolist():
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.external_attr >> 16 == stat.S_IFREG | 0o644
        assert info.compress_type == 8


async def test_the_same_run_gives_the_same_bytes_whatever_happens_elsewhere(
    tmp_path: Path,
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        before = await built(fc, run_id)
        assert (await built(fc, run_id)).data == before.data
        await until(fc, await start(fc))
        after = await built(fc, run_id)
        public = await fc.evidence.pack(fc.call("auditor"), run_id)
        with public.file as file:
            told = open_pack(file, public.summary)
    assert after.data == before.data
    assert told.data == before.data


async def test_an_attempt_that_is_refused_later_is_in_the_next_pack(tmp_path: Path) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        run_id = await flagged_run(fc)
        before = await built(fc, run_id)
        gate = (await fc.runs.get(fc.call("x"), run_id, gates=True)).gates[0]
        with pytest.raises(Conflict):
            await approve(fc, gate, "late")
        with pytest.raises(NotFound):
            await fc.gates.answer(fc.call("spy", tenant="other"), None, gate.gate_id, _approval())
        after = await built(fc, run_id)
    assert after.summary.pack_hash != before.summary.pack_hash
    assert after.events(f"run:{run_id}")[-1]["type"] == "FC-AUTH-001"
    assert after.receipt() == before.receipt()
    assert "`spy`" in after.report


def _approval() -> AnswerGateRequest:
    return AnswerGateRequest(status="approved")


async def test_payloads_can_be_left_out(tmp_path: Path) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        pack = await built(fc, await flagged_run(fc), payloads=False)
    assert not pack.under("payloads")
    assert "left all values out" in pack.report


async def test_what_sensitive_steps_took_and_gave_is_withheld_unless_asked_for(
    tmp_path: Path,
) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        run_id = await flagged_run(fc)
        without, whole = await built(fc, run_id), await built(fc, run_id, sensitive=True)
    salted = {name for name in whole.under("payloads") if "salt" in whole.json(name)}
    assert len(salted) == 3  # the step's input, its output, and the run's output
    assert set(without.under("payloads")) == set(whole.under("payloads")) - salted
    assert "3 values of sensitive steps are withheld" in without.report
    assert "every value that the events name is there" in whole.report


async def test_an_erased_payload_is_missing_and_the_pack_says_who_erased_it(
    tmp_path: Path,
) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        other = await flagged_run(fc)
        run_id = await start(fc, {"secret": "x"})
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        await until(fc, run_id)
        whole = await built(fc, run_id, sensitive=True)
        assert not whole.under("events/log:default")
        boss = fc.call("boss")
        await fc.erasures.erase(boss, EraseRequest(run_id=other, reason="first"))
        await fc.erasures.erase(boss, EraseRequest(run_id=run_id, reason="a legal demand"))
        await until(fc, await begin(fc, py("third"), version="3.0.0"))
        pack = await built(fc, run_id, sensitive=True)
    erasures = pack.events("log:default")
    assert [event["data"]["stream"] for event in erasures] == [f"run:{other}", f"run:{run_id}"]
    assert not pack.under("payloads")
    erased = set(erasures[-1]["data"]["payload_hashes"])
    assert pack.summary.redactions == len(erased)
    assert named_payloads(pack.events(f"run:{run_id}")) <= erased
    assert f"{len(erased)} values were erased" in pack.report
    assert "`a legal demand`" in pack.report
    assert "`output of step plain`" in pack.report
    assert pack.receipt() == whole.receipt()


async def test_the_log_of_erasures_goes_no_further_than_matters(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("only"))
        later = await start(fc)
        for each in (run_id, later):
            await until(fc, each)
            await fc.erasures.erase(fc.call("boss"), EraseRequest(run_id=each, reason="gone"))
        first, second = await built(fc, run_id), await built(fc, later)
    assert len(first.lines("log:default")) == 1
    assert len(second.lines("log:default")) == 2


async def test_rotated_keys_come_with_the_events_that_rotated_them(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        signer = fc.evidence._signer
        before = await built(fc, run_id)
        old = signer.keys.key.verifier
        await signer.rotate(Actor("boss"), "yearly")
        pack = await built(fc, run_id)
        new = signer.keys.key.verifier
    [position] = pack.json("index.json")["log"]
    history = [json.loads(line) for line in pack.read("keys/history.jsonl").splitlines()]
    assert history == [
        {"from": 0, "key": old.text, "to": position},
        {"from": position + 1, "key": new.text, "to": None},
    ]
    [rotation] = pack.events("log")
    assert rotation["data"]["key"] == new.text
    check_log(pack, new)
    check_receipt(pack, new)
    assert not before.under("events/log")
    assert pack.receipt() == before.receipt()


async def test_a_run_under_way_has_a_pack_without_a_receipt(tmp_path: Path) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        run_id = await begin(fc, RISKY)
        await open_gates(fc, run_id)
        pack = await built(fc, run_id)
    assert "receipt.dsse.json" not in pack.names
    assert "has no receipt yet" in pack.report


async def test_several_runs_share_a_pack(tmp_path: Path) -> None:
    async with core(tmp_path, FLAGGED) as fc:
        first = await flagged_run(fc)
        second = await begin(fc, py("alone"), version="2.0.0")
        await until(fc, second)
        third = await fc.runs.create(fc.call("alice"), CreateRunRequest(workflow_id="outside"))
        ids = (second, first, third.run.run_id, first)
        pack = await built(fc, *ids)
        key = fc.evidence._signer.keys.key.verifier
    assert pack.summary.run_ids == tuple(sorted(set(ids)))
    manifest = pack.json("manifest.json")
    assert manifest.keys() == {"files", "log", "run_id", "run_ids", "v"}
    assert (manifest["run_id"], manifest["run_ids"]) == (None, sorted(set(ids)))
    assert pack.under("receipts") == sorted(f"receipts/{r}.dsse.json" for r in (first, second))
    assert pack.receipt(f"receipts/{second}.dsse.json")["run_id"] == second
    assert len(pack.under("workflow")) == 2
    check_log(pack, key)
    assert "## The 3 runs" in pack.report


async def test_a_pack_shows_no_other_tenant(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await register(fc, workflow(py("only")), tenant="other")
        call = fc.call("bob", tenant="other")
        made = await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))
        run_id = made.run.run_id
        with pytest.raises(NotFound):
            await built(fc, run_id)
        with pytest.raises(NotFound):
            await built(fc, "nowhere")
        with pytest.raises(InvalidInput):
            await built(fc)
        pack = await built(fc, run_id, tenant="other")
    assert {event["tenant"] for event in pack.events(f"run:{run_id}")} == {"other"}


async def test_a_tenant_called_like_a_path_stays_in_its_folder(tmp_path: Path) -> None:
    tenant = "a/../../b"
    async with core(tmp_path, tenant=tenant) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        await fc.erasures.erase(fc.call("boss"), EraseRequest(run_id=run_id, reason="gone"))
        pack = await built(fc, run_id, tenant=tenant)
    assert "events/log:a%2F..%2F..%2Fb.jsonl" in pack.names
    assert f"log:{tenant}" in pack.json("index.json")
    assert all(".." not in name.split("/") for name in pack.names)


async def test_a_pack_waits_for_the_checkpoint_that_covers_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 3)
        with pytest.raises(Conflict) as caught:
            await b.pack("r", sign=False)
        assert caught.value.error_code == "checkpoint_pending"
        assert (await b.pack("r")).summary.events == 15


async def test_of_the_checkpoints_the_first_with_the_most_witnesses_is_taken(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 3)
        first = await b.pack("r")
        await long_run(b.ledger, "s", 1)
        await b.signer.sign()
        await long_run(b.ledger, "t", 1)
        signed = await b.signer.sign()
        assert signed is not None
        assert (await b.pack("r")).data == first.data
        witness = SigningKey.from_seed(b"w" * 32)
        text = parse_note(signed.note.encode()).text
        line = cosign(text, "witness.example", witness, 1_795_435_200).line
        row = (signed.size, signed.root, signed.note, f"{line}\n", 1, signed.signed_at)
        append = Append("", "", Head(), [], rows={"checkpoints": [row]})
        await b.ledger.append(append)
        seen = await b.pack("r")
    assert first.summary.checkpoint_size == 15
    assert seen.summary.checkpoint_size == signed.size
    assert seen.read("log/checkpoint") == signed.note.encode() + f"{line}\n".encode()
    assert "1 witness has cosigned it" in seen.report


async def test_a_key_that_was_rotated_meanwhile_signs_no_receipt(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 1)
        await b.pack("r")
        old = b.signer.keys.key
        await b.signer.rotate(Actor("boss"), "now")
        b.signer.keys.key = old
        with pytest.raises(Conflict) as caught:
            await b.pack("r", sign=False)
        assert caught.value.error_code == "key_rotated"


async def test_a_long_run_has_tiles_instead_of_proofs(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "before", 30)
        await long_run(b.ledger, "r", 350)
        await long_run(b.ledger, "after", 30)
        pack = await b.pack("r")
        root = open_checkpoint(pack.read("log/checkpoint"), b.signer.keys.key.verifier).root
    assert "log/proofs.json" not in pack.names
    assert pack.under("log/tile")
    leaves: dict[int, bytes] = {}
    for name in pack.under("log/tile/0"):
        number = int(name.removeprefix("log/tile/0/")[:3])
        data = pack.read(name)
        leaves |= {number * 256 + i: data[32 * i : 32 * i + 32] for i in range(len(data) // 32)}
    positions = pack.json("index.json")["run:r"]
    assert [leaves[p] for p in positions] == [leaf_hash(line) for line in pack.lines("run:r")]
    assert len(b64encode(root)) == 44


async def test_every_payload_that_events_name_is_stored(tmp_path: Path) -> None:
    """Whatever can happen to a run has happened here."""
    await make_history(tmp_path)
    async with core(tmp_path, audited=False) as fc:
        runs = await fc._parts.ledger.read(run_ids)
        assert len(runs) > 15
        kinds: set[str] = set()
        for run_id, tenant in runs:
            pack = await built(fc, run_id, tenant=tenant, sensitive=True)
            events = pack.events(f"run:{run_id}")
            kinds |= {event["type"] for event in events}
            assert {n[9:-5] for n in pack.under("payloads")} == named_payloads(events)
            assert "every value that the events name is there" in pack.report
    assert len(kinds) == 18
