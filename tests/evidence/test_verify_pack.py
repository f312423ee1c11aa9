"""Whole packs: what is valid, each error once, which of several errors is told, and the command.

The packs are made by `pack_forge`, which shares nothing with the server nor with the verifier.
"""

import io
import json
import stat
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.pack_forge import (
    BUNDLE_HASH,
    FLAG,
    Forge,
    Json,
    Key,
    Script,
    canonical,
    consistency_proof,
    digest,
    dsse,
    raw_zip,
    repack,
    unpack,
    workflow_receipt,
)

from federation_core.evidence import verify
from federation_core.evidence.verify import Verdict, verify_pack

STREAM = "run:r1"
EVENTS = f"events/{STREAM}.jsonl"
RECEIPT = "receipt.dsse.json"
WITNESS = Key("witness.example", b"\7" * 32, 4)
DEFINITION: Json = {
    "id": "wf",
    "version": "1.0.0",
    "description": "",
    "input_schema": None,
    "output": 0.5,
    "steps": [
        {"id": "a", "type": "ACT", "needs": [], "when": None, "gate": None, "sensitive": True},
        {
            "id": "g",
            "type": "GATE",
            "needs": ["a"],
            "gate": {"name": "Go?", "approvers": ["bob", "role:fin"], "quorum": 2},
        },
        {"id": "z", "type": "ACT", "needs": ["g"], "when": "input.z", "retry": {"max_attempts": 2}},
    ],
}


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict on the bytes of a pack."""

    def judged(pack: bytes, trust: str | None, **options: Any) -> Verdict:
        file = tmp_path / "pack.zip"
        file.write_bytes(pack)
        return verify_pack(file, trust, **options)

    return judged


Judge = Callable[..., Verdict]


def code(verdict: Verdict) -> str:
    return verdict.error["code"] if verdict.error else verdict.verdict


def client() -> tuple[Forge, Script]:
    """A client's run of two steps, one of them flagged, among the events of others."""
    forge = Forge()
    forge.fill(3)
    run = forge.run("r1").start().step("a")
    run.ask("b", "flag", flags=[FLAG])
    run.ask_people("b")
    forge.fill(2)
    run.answer()
    run.change("running")
    run.ask("b", flags=[FLAG], covered_by=["g1"])
    run.begin("b")
    run.done("b")
    run.complete()
    forge.fill(5)
    return forge, run


def managed() -> tuple[Forge, Script]:
    """A run of `DEFINITION`: a sensitive step, a gate of two people, a retry."""
    forge = Forge()
    run = forge.run("r1", definition=DEFINITION).start()
    run.ask("a")
    run.begin("a")
    run.done("a", "secret")
    run.ask("g")
    run.begin("g")
    run.gate("g1", step_id="g", required_approvers=["bob", "role:fin"], quorum=2)
    run.change("paused")
    run.answer("g1", actor="bob", role=None)
    run.answer("g1", actor="eve", role="fin", given=forge.keep({}))
    run.change("running")
    run.done("g")
    run.ask("z")
    run.begin("z")
    run.failed("z")
    run.retry("z")
    run.step("z")
    run.complete()
    return forge, run


@cache
def _client() -> tuple[Forge, bytes]:
    forge, _ = client()
    return forge, forge.pack()


@cache
def _managed() -> tuple[Forge, bytes]:
    forge, _ = managed()
    return forge, forge.pack()


# what is valid


@pytest.mark.parametrize("tiles", [False, True], ids=["proofs", "tiles"])
def test_a_clients_run(judge: Judge, *, tiles: bool) -> None:
    forge, _ = _client()
    found = judge(forge.pack(tiles=tiles), forge.trust(), run="r1", tenant="acme")
    assert (found.verdict, found.exit_status, found.error) == ("VALID", 0, None)
    assert (found.log, found.run_ids, found.tenant) == (forge.log, ("r1",), "acme")
    assert found.events == len(forge.stream(STREAM))
    assert found.decisions == {"allow": 6, "deny": 0, "flag": 1}
    assert (found.approvals, found.witnesses, found.quorum) == (1, (), 0)
    assert found.payloads == {"present": 6, "erased": 0, "withheld": 0, "missing": 0}
    assert found.checkpoint is not None
    assert found.checkpoint["size"] == len(forge.leaves)
    assert json.loads(json.dumps(found.as_dict()))["run_ids"] == ["r1"]


def test_a_managed_run(judge: Judge) -> None:
    forge, pack = _managed()
    found = judge(pack, forge.trust())
    assert found.verdict == "VALID", found.error
    assert found.approvals == 2
    of_a = [e["data"] for e in forge.stream(STREAM) if e["data"].get("step_id") == "a"]
    secret = {data[name] for data in of_a for name in ("input_hash", "output_hash") if name in data}
    secret.add(forge.leaves[-1]["data"]["output_hash"])
    held = judge(repack(pack, {f"payloads/{h}.json": None for h in secret}), forge.trust())
    assert held.verdict == "VALID"
    assert len(secret) == 3
    assert held.payloads["withheld"] == 3


def test_payloads_can_all_be_left_out(judge: Judge) -> None:
    forge, _ = _client()
    found = judge(forge.pack(payloads=False), forge.trust())
    assert (found.verdict, found.payloads["withheld"]) == ("VALID", 6)


def test_salted_payloads(judge: Judge) -> None:
    forge = Forge()
    run = forge.run("r1").start()
    run.ask("a", subject=forge.keep({"secret": 0.5}, salt=b"\5" * 32))
    run.begin("a")
    run.done("a")
    run.complete()
    assert judge(forge.pack(), forge.trust()).verdict == "VALID"


def test_several_runs(judge: Judge) -> None:
    forge = Forge()
    for name in ("r2", "r1"):
        forge.run(name).start().step("a").complete()
    found = judge(forge.pack(), forge.trust(), run="r2")
    assert (found.verdict, found.run_ids) == ("VALID", ("r1", "r2"))
    assert judge(forge.pack(runs=["r2"]), forge.trust()).run_ids == ("r2",)


def test_a_tenant_whose_name_has_a_slash(judge: Judge) -> None:
    forge = Forge(tenant="a/../b")
    run = forge.run("r1").start()
    run.step("a").complete()
    forge.erase("r1", run.input_hash)
    pack = forge.pack()
    path, plain = "events/log:a%2F..%2Fb.jsonl", "events/log:a/../b.jsonl"
    found = judge(pack, forge.trust())
    assert (found.verdict, found.tenant) == ("VALID_WITH_REDACTIONS", "a/../b")
    assert code(judge(repack(pack, {path: None, plain: b""}), forge.trust())) == "UNSAFE_PATH"


def test_what_was_erased_is_said(judge: Judge) -> None:
    forge, run = client()
    forge.erase("r1", run.input_hash)
    found = judge(forge.pack(), forge.trust())
    assert (found.verdict, found.exit_status) == ("VALID_WITH_REDACTIONS", 0)
    assert found.payloads == {"present": 5, "erased": 1, "withheld": 0, "missing": 0}


def test_another_runs_erasure_is_not_this_ones(judge: Judge) -> None:
    forge, run = client()
    forge.erase("r2", run.input_hash)
    found = judge(forge.pack(runs=["r1"]), forge.trust())
    assert (found.verdict, code(found)) == ("INCOMPLETE", "PAYLOAD_MISSING")


def test_another_tenants_erasures_are_not_in_a_pack(judge: Judge) -> None:
    forge, run = client()
    forge.payloads.pop(run.input_hash)
    told = {"payload_hashes": [run.input_hash], "reason": "x", "stream": STREAM}
    forge.emit("log:other", "FC-DATA-001", told, tenant="other")
    forge.tenant = "other"
    found = judge(forge.pack(), forge.trust())
    assert (code(found), found.error and found.error["file"]) == (
        "CHAIN_BROKEN",
        "events/log:other.jsonl",
    )


def test_rotated_keys(judge: Judge) -> None:
    forge = Forge()
    first = forge.key
    forge.run("r1").start().step("a").complete()
    size = len(forge.leaves)
    forge.fill(2)
    before = forge.pack(size=size)
    forge.rotate(b"\2" * 32)
    forge.fill(1)
    assert judge(before, forge.trust()).verdict == "VALID"
    rotated = forge.pack()
    assert judge(rotated, forge.trust()).verdict == "VALID"
    assert code(judge(forge.pack(signer=first), forge.trust())) == "KEY_EPOCH"
    assert code(judge(rotated, before_rotation(forge, first))) == "UNKNOWN_KEY"
    forge.run("r2").start().step("a").complete()
    events = forge.stream("run:r2")
    old = dsse(canonical(workflow_receipt(events)), first)
    late = forge.pack(runs=["r2"], files_override={RECEIPT: old})
    assert code(judge(late, forge.trust())) == "RECEIPT_SIGNATURE"


def before_rotation(forge: Forge, first: Key) -> str:
    return f"log {first.vkey}\nissuer {first.vkey}\nissuer {forge.key.vkey}\n"


def test_witnesses(judge: Judge) -> None:
    forge, plain = _client()
    pack = forge.pack(witnesses=[WITNESS])
    assert judge(pack, forge.trust(WITNESS, quorum=1)).witnesses == (WITNESS.name,)
    assert judge(pack, forge.trust()).witnesses == ()
    assert code(judge(plain, forge.trust(WITNESS, quorum=1))) == "QUORUM"
    alias = Key("another.name", b"\7" * 32, 4)
    both = forge.pack(witnesses=[WITNESS, alias])
    assert code(judge(both, forge.trust(WITNESS, alias, quorum=2))) == "QUORUM"


# what was seen before


@pytest.mark.parametrize("ahead", [False, True], ids=["the pack is newer", "the pack is older"])
def test_history_was_only_added_to(judge: Judge, *, ahead: bool) -> None:
    forge, _ = client()
    last = max(i for i, event in enumerate(forge.leaves) if event["stream"] == STREAM) + 1
    small, large = (last, len(forge.leaves)) if ahead else (4, len(forge.leaves))
    size, other = (small, large) if ahead else (large, small)
    pack, seen = forge.pack(size=size), forge.checkpoint(other)
    hashes = [b64encode(h).decode() for h in consistency_proof(forge.tree(), small, large)]
    proof = json.dumps({"hashes": hashes}, indent=1).encode()
    trust = forge.trust()
    assert judge(pack, trust, seen=seen, consistency=proof).verdict == "VALID"
    assert judge(pack, trust, seen=forge.checkpoint(size)).verdict == "VALID"
    unproved = judge(pack, trust, seen=seen)
    assert (unproved.verdict, unproved.exit_status) == ("INCOMPLETE", 4)
    bad = proof.replace(b'"hashes": [\n  "', b'"hashes": [\n  "AA', 1)
    assert code(judge(pack, trust, seen=seen, consistency=bad)) == "PROOF_SHAPE"
    forked = forge.tampered("policy:other", lambda e: [*e[:-1], e[-1] | {"actor": "x"}])
    for lie in (forked.checkpoint(other), forked.checkpoint(size)):
        forked_pack = judge(pack, trust, seen=lie, consistency=proof)
        expected = "VALID" if lie in (seen, forge.checkpoint(size)) else "INCONSISTENT"
        assert code(forked_pack) == expected
    assert code(judge(pack, trust, seen=b"x")) == "NOTE_MALFORMED"


# each error once


def _edit(change: Callable[[list[Json]], list[Json]], *, key: bool = True) -> bytes:
    """The client's pack with changed events, by somebody who has the key, or has not."""
    forge, pack = _client()
    return forge.tampered(STREAM, change).pack(keep=None if key else pack)


def _at(seq: int, **data: Any) -> Callable[[list[Json]], list[Json]]:
    def change(events: list[Json]) -> list[Json]:
        events[seq]["data"].update(data)
        return events

    return change


def _drop(seq: int, name: str) -> Callable[[list[Json]], list[Json]]:
    def change(events: list[Json]) -> list[Json]:
        del events[seq]["data"][name]
        return events

    return change


def _seq(kind: str, nth: int = 0) -> int:
    forge, _ = _client()
    return [int(e["seq"]) for e in forge.stream(STREAM) if e["type"] == kind][nth]


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The client's pack with changed lines, and a manifest that fits."""
    _, pack = _client()
    lines = unpack(pack)[EVENTS].splitlines(keepends=True)
    return repack(pack, {EVENTS: b"".join(change(lines))})


def _without(*paths: str) -> bytes:
    _, pack = _client()
    return repack(pack, dict.fromkeys(paths))


def _with(path: str, data: bytes) -> bytes:
    return repack(_client()[1], {path: data})


def _raw(path: str, data: bytes) -> bytes:
    """Changed behind the manifest's back."""
    return raw_zip(sorted((unpack(_client()[1]) | {path: data}).items()))


def _entry(name: str, data: bytes = b"", **tweaks: Any) -> bytes:
    return raw_zip([*sorted(unpack(_client()[1]).items()), (name, data, tweaks)])


def _text(path: str) -> bytes:
    return unpack(_client()[1])[path]


def _json(path: str, change: Callable[[Any], Any]) -> bytes:
    return _with(path, canonical(change(json.loads(_text(path)))))


def _bomb() -> bytes:
    return _entry("events/x.jsonl", bytes(2 << 20), compress_size=1 << 10)


def _payload(path_of: str = "") -> str:
    names = sorted(p for p in unpack(_client()[1]) if p.startswith("payloads/"))
    return path_of or names[0]


def _bad_tile() -> bytes:
    pack = _client()[0].pack(tiles=True)
    path = next(p for p in unpack(pack) if p.startswith("log/tile/"))
    return repack(pack, {path: unpack(pack)[path][:-1] + b"\0"})


_CASES: dict[str, tuple[Callable[[], bytes], str, str | None]] = {
    # 1 the container
    "a path upwards": (lambda: _entry("../x"), "UNSAFE_PATH", "../x"),
    "an absolute path": (lambda: _entry("/x"), "UNSAFE_PATH", "/x"),
    "a path of a drive": (lambda: _entry("C:x"), "UNSAFE_PATH", "C:x"),
    "a backslash": (lambda: _entry("a\\x"), "UNSAFE_PATH", "a\\x"),
    "a folder": (lambda: _entry("objects/"), "UNSAFE_PATH", "objects/"),
    "a dot": (lambda: _entry("./x"), "UNSAFE_PATH", "./x"),
    "a link": (
        lambda: _entry("x", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16),
        "UNSAFE_PATH",
        "x",
    ),
    "a file twice": (lambda: _entry("REPORT.md", b"x"), "UNSAFE_PATH", "REPORT.md"),
    "an encrypted file": (lambda: _entry("x", flag_bits=1), "UNSAFE_PATH", "x"),
    "another way of packing": (
        lambda: _entry("x", b"x", compress_type=zipfile.ZIP_LZMA),
        "UNSAFE_PATH",
        "x",
    ),
    "a large file": (
        lambda: _entry("objects/x", file_size=2**28 + 1, compress_size=2**28),
        "LIMIT_EXCEEDED",
        "objects/x",
    ),
    "a large pack": (
        lambda: _entry("events/x", file_size=2**33, compress_size=2**32 - 2),
        "LIMIT_EXCEEDED",
        None,
    ),
    "a bomb": (_bomb, "LIMIT_EXCEEDED", "events/x.jsonl"),
    # 3 files
    "no zip": (lambda: b"PK", "FILE_MISSING", "manifest.json"),
    "an empty zip": (lambda: raw_zip([]), "FILE_MISSING", "manifest.json"),
    "a file is missing": (lambda: _raw_without("REPORT.md"), "FILE_MISSING", "REPORT.md"),
    "the events are missing": (lambda: _without(EVENTS), "FILE_MISSING", EVENTS),
    "the checkpoint is missing": (
        lambda: _without("log/checkpoint"),
        "FILE_MISSING",
        "log/checkpoint",
    ),
    "the proofs are missing": (
        lambda: _without("log/proofs.json"),
        "FILE_MISSING",
        "log/proofs.json",
    ),
    "the receipt is missing": (lambda: _without(RECEIPT), "FILE_MISSING", RECEIPT),
    "a bundle is missing": (
        lambda: _without(f"policies/{BUNDLE_HASH}/files.json"),
        "FILE_MISSING",
        f"policies/{BUNDLE_HASH}/files.json",
    ),
    "a text of a bundle is missing": (
        lambda: _without(f"policies/{BUNDLE_HASH}/bundle.yaml"),
        "FILE_MISSING",
        f"policies/{BUNDLE_HASH}/bundle.yaml",
    ),
    "no events at all": (lambda: _with(EVENTS, b""), "FILE_MISSING", EVENTS),
    "a file too many": (lambda: _entry("x", b"x"), "FILE_EXTRA", "x"),
    "a file of no kind": (lambda: _with("x", b"x"), "FILE_EXTRA", "x"),
    "another run's events": (
        lambda: _with("events/run:r2.jsonl", b""),
        "FILE_EXTRA",
        "events/run:r2.jsonl",
    ),
    "another stream's events": (
        lambda: _with("events/policy:r1.jsonl", b""),
        "FILE_EXTRA",
        "events/policy:r1.jsonl",
    ),
    "another run's receipt": (
        lambda: _with("receipts/r1.dsse.json", b""),
        "FILE_EXTRA",
        "receipts/r1.dsse.json",
    ),
    "a payload of nothing": (
        lambda: _with(f"payloads/{digest(b'1')}.json", b'{"value":1}'),
        "FILE_EXTRA",
        f"payloads/{digest(b'1')}.json",
    ),
    "a text more in a bundle": (
        lambda: _with(f"policies/{BUNDLE_HASH}/x.cedar", b""),
        "FILE_EXTRA",
        f"policies/{BUNDLE_HASH}/x.cedar",
    ),
    "proofs and tiles": (lambda: _with("log/tile/0/000.p/1", b"x"), "FILE_EXTRA", None),
    "a changed file": (lambda: _raw("REPORT.md", b"x"), "FILE_DIGEST", "REPORT.md"),
    "changed events": (lambda: _raw(EVENTS, b"x"), "FILE_DIGEST", EVENTS),
    "an object of another hash": (
        lambda: _with(f"objects/{'0' * 64}", b""),
        "FILE_DIGEST",
        f"objects/{'0' * 64}",
    ),
    "a bundle's changed text": (
        lambda: _with(f"policies/{BUNDLE_HASH}/bundle.yaml", b"x"),
        "FILE_DIGEST",
        f"policies/{BUNDLE_HASH}/bundle.yaml",
    ),
    # 4 the note
    "no note": (lambda: _with("log/checkpoint", b"x"), "NOTE_MALFORMED", "log/checkpoint"),
    "another log": (
        lambda: repack(_client()[1], {}, about={"log": "x"}),
        "ORIGIN",
        "log/checkpoint",
    ),
    "another log's key": (
        lambda: _client()[0].pack(signer=Key("federation-core/forge", b"\3" * 32)),
        "UNKNOWN_KEY",
        "log/checkpoint",
    ),
    "a changed checkpoint": (
        lambda: _with("log/checkpoint", _text("log/checkpoint").replace(b"\n", b"\n1", 1)),
        "BAD_SIGNATURE",
        "log/checkpoint",
    ),
    "a key's epoch that was made up": (
        lambda: _with("keys/history.jsonl", _text("keys/history.jsonl").replace(b":0", b":1")),
        "KEY_EPOCH",
        "keys/history.jsonl",
    ),
    # 6 events
    "no JSON": (lambda: _lines(lambda e: [*e[:2], b"x\n", *e[3:]]), "NOT_JSON", EVENTS),
    "an empty line": (lambda: _lines(lambda e: [*e, b"\n"]), "NOT_JSON", EVENTS),
    "no newline at the end": (
        lambda: _lines(lambda e: [*e[:-1], e[-1][:-1]]),
        "NOT_CANONICAL",
        EVENTS,
    ),
    "a space": (
        lambda: _lines(lambda e: [e[0].replace(b",", b", "), *e[1:]]),
        "NOT_CANONICAL",
        EVENTS,
    ),
    "another version": (
        lambda: _edit(lambda e: [*e[:-1], e[-1] | {"v": 2}]),
        "UNKNOWN_VERSION",
        EVENTS,
    ),
    "a pack of another version": (
        lambda: repack(_client()[1], {}, about={"v": 2}),
        "UNKNOWN_VERSION",
        "manifest.json",
    ),
    "a manifest that is none": (
        lambda: _with("manifest.json", b"{}"),
        "NOT_CANONICAL",
        "manifest.json",
    ),
    # 7 chains
    "an event was taken out": (lambda: _lines(lambda e: e[:3] + e[4:]), "CHAIN_GAP", EVENTS),
    "an event stands twice": (lambda: _lines(lambda e: e[:3] + e[2:]), "CHAIN_FORK", EVENTS),
    "an event was changed": (
        lambda: _lines(lambda e: [e[0], e[1].replace(b"base", b"bass"), *e[2:]]),
        "CHAIN_BROKEN",
        EVENTS,
    ),
    # 8 the tree
    "the last event was changed": (
        lambda: _lines(lambda e: [*e[:-1], e[-1].replace(b"12:", b"13:", 1)]),
        "ROOT_MISMATCH",
        EVENTS,
    ),
    "a history written anew": (
        lambda: _edit(_at(1, reason="x"), key=False),
        "ROOT_MISMATCH",
        EVENTS,
    ),
    "another leaf's number": (
        lambda: _json("index.json", lambda i: {STREAM: [0, *i[STREAM][1:]]}),
        "PROOF_SHAPE",
        "log/proofs.json",
    ),
    "a leaf beyond the tree": (
        lambda: _json("index.json", lambda i: {STREAM: [*i[STREAM][:-1], 99]}),
        "INDEX_RANGE",
        "index.json",
    ),
    "a leaf too few": (
        lambda: _json("index.json", lambda i: {STREAM: i[STREAM][:-1]}),
        "INDEX_RANGE",
        "index.json",
    ),
    "a shorter proof": (
        lambda: _json("log/proofs.json", lambda p: {k: v[:-1] for k, v in p.items()}),
        "PROOF_SHAPE",
        EVENTS,
    ),
    "a proof too many": (
        lambda: _json("log/proofs.json", lambda p: p | {"0": p["3"]}),
        "PROOF_SHAPE",
        "log/proofs.json",
    ),
    "a changed tile": (_bad_tile, "ROOT_MISMATCH", None),
    # 9 receipts
    "a forged receipt": (
        lambda: _with(RECEIPT, dsse(b"{}", Key("x", b"\3" * 32))),
        "RECEIPT_SIGNATURE",
        RECEIPT,
    ),
    "a receipt of another type": (
        lambda: _with(RECEIPT, dsse(b"{}", _client()[0].key, kind="text/plain")),
        "RECEIPT_TYPE",
        RECEIPT,
    ),
    "a receipt of something else": (
        lambda: _with(RECEIPT, dsse(b"{}", _client()[0].key)),
        "RECEIPT_MISMATCH",
        RECEIPT,
    ),
    "a changed step receipt": (
        lambda: _edit(_receipt(_seq("FC-STEP-002"), status="failed")),
        "RECEIPT_MISMATCH",
        EVENTS,
    ),
    # 10 payloads
    "a changed payload": (
        lambda: _with(_payload(), b'{"value":{"order":8}}'),
        "PAYLOAD_MISMATCH",
        None,
    ),
    # 11 the life
    "an unknown member": (
        lambda: _edit(_at(3, unknown=1)),
        "ILLEGAL_TRANSITION",
        EVENTS,
    ),
    "a step with another input": (
        lambda: _edit(_at(_seq("FC-STEP-001"), input_hash="1" * 64)),
        "STEP_WITHOUT_ALLOW",
        EVENTS,
    ),
    "a flag that nobody answered": (
        lambda: _edit(_drop(_seq("FC-POLICY-001", 5), "covered_by")),
        "MISSING_APPROVAL",
        EVENTS,
    ),
    "an approver by no role": (
        lambda: _edit(_at(_seq("FC-GATE-002"), role="ops")),
        "MISSING_APPROVAL",
        EVENTS,
    ),
    "a gate that asks others": (
        lambda: _edit(_at(_seq("FC-GATE-001"), required_approvers=["role:ops"])),
        "MISSING_APPROVAL",
        EVENTS,
    ),
}


def _raw_without(path: str) -> bytes:
    files = unpack(_client()[1])
    del files[path]
    return raw_zip(sorted(files.items()))


def _receipt(seq: int, **facts: Any) -> Callable[[list[Json]], list[Json]]:
    def change(events: list[Json]) -> list[Json]:
        events[seq]["data"]["receipt"].update(facts)
        return events

    return change


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_each_error(judge: Judge, case: tuple[Callable[[], bytes], str, str | None]) -> None:
    make, expected, file = case
    found = judge(make(), _client()[0].trust())
    assert found.error is not None
    assert (found.error["code"], found.verdict, found.exit_status) == (expected, "INVALID", 1)
    assert file is None or found.error["file"] == file
    assert found.error["message"].endswith(".")


def test_the_file_and_the_line_are_told(judge: Judge) -> None:
    found = judge(_lines(lambda e: [*e[:4], b"x\n", *e[5:]]), _client()[0].trust())
    assert found.error is not None
    assert (found.error["file"], found.error["line"]) == (EVENTS, 5)


def test_a_managed_run_without_its_definition(judge: Judge) -> None:
    forge, pack = _managed()
    path = next(p for p in unpack(pack) if p.startswith("workflow/"))
    found = judge(repack(pack, {path: None}), forge.trust())
    assert found.error is not None
    assert (found.error["code"], found.error["file"]) == ("FILE_MISSING", path)
    assert code(judge(repack(pack, {path: b"{}"}), forge.trust())) == "FILE_DIGEST"


def test_what_it_must_be_about(judge: Judge) -> None:
    forge, pack = _client()
    assert code(judge(pack, forge.trust(), run="r2")) == "ORIGIN"
    assert code(judge(pack, forge.trust(), tenant="other")) == "ORIGIN"


@pytest.mark.parametrize("trust", [None, "", "log x\n"], ids=["none", "empty", "broken"])
def test_nothing_is_verified_without_trust(judge: Judge, trust: str | None) -> None:
    found = judge(_client()[1], trust)
    assert (found.verdict, found.exit_status, code(found)) == ("UNTRUSTED", 3, "NO_TRUST")
    assert found.events == 0


def test_an_unsafe_pack_is_refused_before_trust_is_looked_at(judge: Judge) -> None:
    assert code(judge(_entry("../x"), None)) == "UNSAFE_PATH"
    assert code(judge(b"", None)) == "NO_TRUST"


# which error is told


def test_the_first_stage_that_has_an_error_is_told(judge: Judge) -> None:
    """One more thing is wrong each time, of an earlier stage."""
    forge, pack = _client()
    trust = forge.trust(WITNESS)
    path = _payload()
    changes: list[tuple[str, bytes, str]] = [
        (path, b'{"value":0}', "PAYLOAD_MISMATCH"),
        (RECEIPT, dsse(b"{}", forge.key), "RECEIPT_MISMATCH"),
        ("log/proofs.json", canonical({}), "PROOF_SHAPE"),
        (EVENTS, unpack(_lines(lambda e: e[:3] + e[4:]))[EVENTS], "CHAIN_GAP"),
        (EVENTS, unpack(_lines(lambda e: [*e[:3], *e[4:], b"x\n"]))[EVENTS], "NOT_JSON"),
        ("log/checkpoint", b"x", "NOTE_MALFORMED"),
        ("x", b"x", "FILE_EXTRA"),
    ]
    done: dict[str, bytes | None] = {}
    for changed, data, expected in changes:
        done[changed] = data
        assert code(judge(repack(pack, done), trust)) == expected
        if expected == "NOT_JSON":
            assert code(judge(repack(pack, done), forge.trust(WITNESS, quorum=1))) == "QUORUM"


# what is not there yet


def test_a_run_that_has_not_ended(judge: Judge) -> None:
    forge = Forge()
    run = forge.run("r1").start()
    run.ask("a")
    found = judge(forge.pack(), forge.trust())
    assert (found.verdict, found.exit_status, code(found)) == ("INCOMPLETE", 4, "FILE_MISSING")
    told = forge.pack(files_override={RECEIPT: dsse(b"{}", forge.key)})
    assert code(judge(told, forge.trust())) == "RECEIPT_MISMATCH"


def test_a_payload_that_is_missing_among_others(judge: Judge) -> None:
    found = judge(_without(_payload()), _client()[0].trust())
    assert (found.verdict, code(found)) == ("INCOMPLETE", "PAYLOAD_MISSING")
    assert found.payloads["missing"] == 1


# whatever is in a file


def test_no_changed_byte_is_overlooked(judge: Judge) -> None:
    """Of the whole file: either it is refused, or the same files come out of it."""
    forge, pack = _client()
    trust, whole = forge.trust(), unpack(pack)
    for at in range(0, len(pack), 41):
        changed = pack[:at] + bytes([pack[at] ^ (1 << at % 8)]) + pack[at + 1 :]
        found = judge(changed, trust)
        if found.verdict == "VALID":
            assert unpack(changed) == whole


def test_no_pack_that_was_cut_off_is_valid(judge: Judge) -> None:
    forge, pack = _client()
    for end in range(0, len(pack), 101):
        assert judge(pack[:end], forge.trust()).verdict == "INVALID"


@pytest.mark.parametrize("value", ["null", "[]", "{}", "0", '"x"', "[[]]", '{"a":[0]}'])
def test_any_file_may_be_any_json(judge: Judge, value: str) -> None:
    forge, pack = _managed()
    kept = {"REPORT.md", "verify.py"}
    for path in unpack(pack).keys() - kept:
        found = judge(repack(pack, {path: value.encode()}), forge.trust())
        assert found.verdict == "INVALID", path


# progress, and the command


def test_progress_is_told(judge: Judge) -> None:
    forge, pack = _client()
    told: list[tuple[int, int]] = []
    judge(pack, forge.trust(), progress=lambda done, of: told.append((done, of)))
    count = len(forge.stream(STREAM))
    assert told == [(count, count)]


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-W", "error", str(verify.__file__), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_file_runs_by_itself(tmp_path: Path) -> None:
    forge, pack = _client()
    (tmp_path / "pack.zip").write_bytes(pack)
    (tmp_path / "trust").write_text("\ufeff" + forge.trust(), encoding="utf-8")
    done = _run(tmp_path, "pack.zip", "--trust", "trust", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["verdict"] == "VALID"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    forge, pack = _client()
    (tmp_path / "pack.zip").write_bytes(pack)
    (tmp_path / "bad.zip").write_bytes(_lines(lambda e: e[:3] + e[4:]))
    (tmp_path / "trust").write_text(forge.trust())
    (tmp_path / "seen").write_bytes(forge.checkpoint(4))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["pack.zip", "--trust", "trust"], 0, "VALID\n"),
        (["pack.zip"], 3, "UNTRUSTED\n  NO_TRUST"),
        (["bad.zip", "--trust", "trust"], 1, "INVALID\n  CHAIN_GAP in events/run:r1.jsonl, line 4"),
        (["pack.zip", "--trust", "trust", "--seen", "seen"], 4, "INCOMPLETE\n"),
        (["none.zip", "--trust", "trust"], 2, ""),
        (["pack.zip", "--trust", "none"], 2, ""),
        ([".", "--trust", "trust"], 2, ""),
    ],
    ids=["valid", "untrusted", "invalid", "incomplete", "no pack", "no trust file", "a folder"],
)
def test_exit_statuses(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    options: list[str],
    status: int,
    told: str,
) -> None:
    monkeypatch.chdir(files)
    assert verify.main(options) == status
    out = capsys.readouterr()
    assert out.out.startswith(told)
    if status == 2:
        assert out.out == ""
        assert "cannot be read" in out.err
    elif status != 3:
        assert "witnesses:  0" in out.out


def test_a_command_that_cannot_be_understood(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["pack", "--consistency", "x"], ["pack", "--tru"], ["pack", "more"]):
        with pytest.raises(SystemExit) as caught:
            verify.main(options)
        assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_pack_does_not_steer_the_terminal(judge: Judge) -> None:
    evil = repack(_client()[1], {}, about={"log": "\x1b[2J\u202e"})
    told = verify._told(judge(evil, _client()[0].trust()))
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    bar = verify._Bar()
    bar(1, 100)
    assert err.getvalue() == ""
    bar(5_000, 10_000)
    assert "5,000 of 10,000 events" in err.getvalue()
    bar.close()
    assert err.getvalue().endswith("\r")
