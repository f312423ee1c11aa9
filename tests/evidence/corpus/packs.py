"""Packs with one thing wrong, stage by stage."""

import json
import stat
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from tests.evidence.corpus import untrue
from tests.evidence.corpus.cases import HASH, Case, Json, put, variants
from tests.evidence.corpus.fans import FANS, fan_packs
from tests.evidence.corpus.kin import KIN, families
from tests.evidence.corpus.lives import LAWFUL, WORKFLOW
from tests.evidence.corpus.texts import texts
from tests.evidence.corpus.unlawful import STORIES
from tests.evidence.pack_forge import (
    BUNDLE_HASH,
    Forge,
    Key,
    Script,
    b64,
    canonical,
    consistency_proof,
    digest,
    dsse,
    payload_file,
    raw_zip,
    repack,
    sign_note,
    unpack,
)

__all__ = ["GROUPS"]

W1 = Key("witness.one", b"\x11" * 32, 4)
W2 = Key("witness.two", b"\x12" * 32, 4)
W1_AGAIN = Key("witness.one.again", b"\x11" * 32, 4)
OTHER = Key("federation-core/forge", b"\x21" * 32)
STRANGER = Key("federation-core/other", b"\x22" * 32)
_REFUSED = {"attempted": "x", "refusal_code": "x", "reason": "x"}


@cache
def plain() -> tuple[Forge, bytes]:
    """A client's run, and its pack."""
    forge = Forge()
    forge.run("r1").start().step("a").complete()
    return forge, forge.pack()


@cache
def small() -> tuple[Forge, bytes]:
    """The smallest pack."""
    forge = Forge()
    run = forge.run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    return forge, forge.pack()


@cache
def rich() -> tuple[Forge, bytes]:
    """Two runs, one of them with a sensitive step, a rotated key, an erased payload, witnesses."""
    forge = Forge()
    forge.fill(3)
    pointer = f"rhid:file:sha256:{digest(b'thing')}"
    first = forge.run("r1", tags=[pointer]).start()
    first.step("a")
    forge.rotate(b"\x02" * 32)
    first.complete()
    second = forge.run("r2", definition=WORKFLOW, tags=[pointer]).start()
    second.ask("a", "deny")
    second.end("failed")
    salted, data = payload_file(b'"secret"', b"\7" * 32)
    forge.payloads[salted] = data
    forge.objects[digest(b"thing")] = b"thing"
    forge.erase("r1", digest(b'"done"'))
    forge.fill(2)
    return forge, forge.pack(witnesses=[W1, W2])


def _rich_trust(**facts: Any) -> str:
    return rich()[0].trust(W1, W2, **facts)


def lawful() -> Iterator[Case]:
    """Packs in which nothing is wrong."""
    for name, make in (LAWFUL | KIN | FANS).items():
        forge = make().forge
        yield Case(f"life {name}", forge.pack(), forge.trust())
        yield Case(f"life {name} bare", forge.pack(payloads=False), forge.trust())
        yield Case(f"life {name} tiles", forge.pack(tiles=True), forge.trust())
    forge, pack = rich()
    yield Case("rich", pack, _rich_trust())
    yield Case("rich quorum", pack, _rich_trust(quorum=2), run="r1", tenant="acme")
    yield Case("rich r2", pack, _rich_trust(quorum=0), run="r2")
    yield Case("rich tiles", forge.pack(tiles=True), _rich_trust())
    yield Case("rich one run", forge.pack(runs=["r2"]), forge.trust())
    forge = Forge(tenant="a/b")
    forge.erase("r/1", forge.run("r/1").start().complete().input_hash)
    yield Case("slashes", forge.pack(), forge.trust())


def names() -> Iterator[Case]:
    """Long names, of which messages tell the beginning, and names with a colon."""
    long = "".join(f"{number:02}" for number in range(60))
    for run_id, tenant in (("a:b", "a:b"), (":", ":"), ("log", "log"), (long, long)):
        forge = Forge(tenant=tenant)
        run = forge.run(run_id).start().step("a").complete()
        forge.erase(run_id, run.input_hash)
        pack, trust = forge.pack(), forge.trust()
        yield Case(f"{run_id[:4]}", pack, trust)
        yield Case(f"{run_id[:4]} of another", pack, trust, tenant="x")
        files = unpack(pack)
        index = json.loads(files["index.json"])
        for stream, leaves in index.items():
            for what, told in (("more", [*leaves, leaves[-1] + 1]), ("less", leaves[:-1])):
                changed = {"index.json": canonical(index | {stream: told})}
                yield Case(f"{run_id[:4]} {stream[:4]} {what}", repack(pack, changed), trust)
        wrong = forge.tampered(f"log:{tenant}", partial(_typed, long))
        yield Case(f"{run_id[:4]} of another type", wrong.pack(), trust)


def container() -> Iterator[Case]:
    """Stage 1."""
    forge, pack = small()
    trust = forge.trust()
    files = sorted(unpack(pack).items())
    yield Case("no zip", b"PK", trust)
    yield Case("nothing", b"", trust)
    yield Case("text", b"a" * 1000, trust)
    yield Case("empty zip", raw_zip([]), trust)
    yield Case("no trust first", raw_zip([("../x", b"")]), None)
    names = [
        "../x",
        "/x",
        "a/../b",
        "a/./b",
        "a//b",
        "a\\b",
        "C:x",
        "c:/x",
        "1:x",
        "a\x01b",
        "a\x1fb",
    ]
    names += ["x/", ".", "..", "", "é", "a b", "events/../x", "a\nb", "a\x7fb", "xC:y"]
    for name in names:
        yield Case(f"name {name!r}", raw_zip([*files, (name, b"x")]), trust)
    for number, attributes in enumerate(
        (
            {"external_attr": (stat.S_IFLNK | 0o777) << 16},
            {"external_attr": (stat.S_IFDIR | 0o755) << 16},
            {"external_attr": 0o644 << 16},
            {"external_attr": 0},
            {"external_attr": 0x10},
            {"external_attr": (stat.S_IFIFO | 0o644) << 16},
            {"flag_bits": 1},
            {"flag_bits": 0x40},
            {"flag_bits": 0x41},
            {"flag_bits": 0x800},
            {"compress_type": zipfile.ZIP_STORED},
            {"compress_type": zipfile.ZIP_BZIP2},
            {"compress_type": zipfile.ZIP_LZMA},
            {"file_size": 256 * 2**20},
            {"file_size": 256 * 2**20 + 1},
            {"file_size": 8 * 2**30},
            {"file_size": 2**20},
            {"file_size": 2**20 + 1},
            {"file_size": 2**20 + 1, "compress_size": 1048},
            {"file_size": 2**20 + 1, "compress_size": 1049},
            {"file_size": 1_049_000, "compress_size": 1049},
            {"file_size": 1_049_001, "compress_size": 1049},
            {"file_size": 3},
            {"compress_size": 1},
            {"CRC": 1},
        )
    ):
        for name in ("REPORT.md", "events/run:r1.jsonl"):
            entries = [(n, d, attributes) if n == name else (n, d) for n, d in files]
            yield Case(f"{name} attributes {number}", raw_zip(entries), trust)
    yield Case("twice", raw_zip([*files, files[0]]), trust)
    total = 8 * 2**30 - sum(len(data) for _, data in files)
    for more in (0, 1):
        entries = [*files, ("events/x", b"", {"file_size": total + more, "compress_size": 2**31})]
        yield Case(f"8 GiB and {more}", raw_zip(entries), trust)
    behind = {"extra": b"\x99\x99\4\0abcd"}
    told: list[tuple[str, bytes, Json]] = [(n, d, behind) for n, d in files]
    yield Case("more behind names", raw_zip(told), trust)
    large = bytearray(pack)
    large[18:26] = b"\xff" * 8
    yield Case("sizes that are told later", bytes(large), trust)
    for at in (0, 4, 6, 8, 14, 18, 22, 26):
        other = bytearray(pack)
        other[at] ^= 1
        yield Case(f"header changed at {at}", bytes(other), trust)
    yield Case("a header behind the end", _behind_the_end(), trust)
    half = len(pack) // 2
    yield Case("cut", pack[:half], trust)
    yield Case("cut at the end", pack[:-1], trust)
    yield Case("more at the end", pack + b"\0", trust)
    yield Case("more at the start", b"\0" + pack, trust)
    for at in range(0, len(pack), 97):
        yield Case(f"flipped {at}", pack[:at] + bytes([pack[at] ^ 1]) + pack[at + 1 :], trust)


def _behind_the_end() -> bytes:
    """The second of two files is said to stand ten bytes before the end, where the first ends."""
    size = len(raw_zip([("a", b""), ("b", b"")]))
    packed = size - 10 - 31
    lies = [("a", b"", {"compress_size": packed}), ("b", b"", {"header_offset": size - 10})]
    data = bytearray(raw_zip(lies))
    data[18:22] = packed.to_bytes(4, "little")
    return bytes(data)


def told_lives() -> Iterator[Case]:
    """The last stage: lives that are unlawful and well forged."""
    for name, tell in (STORIES | untrue.STORIES).items():
        forge = tell().forge
        yield Case(f"story {name}", forge.pack(), forge.trust())


def lacking() -> Iterator[Case]:
    """What is not there, and is named by an event of which nobody knows whether it is true."""
    forge = Forge()
    run = forge.run("r1").start()
    for _ in range(2):
        run.decide("run.pause", policy_hash=HASH)
    yield Case("a bundle is lacking", forge.pack(), forge.trust())
    for name, members in (("v", {"v": 3}), ("seq", {"seq": 9}), ("prev", {"prev": HASH})):
        other = forge.copy()
        other.leaves[-1] |= members
        yield Case(f"a bundle is lacking, and {name}", other.pack(), forge.trust())
    forge, pack = small()
    broken = forge.copy()
    broken.leaves[-1] |= {"seq": 9}
    unsigned = repack(broken.pack(), {"receipt.dsse.json": None})
    yield Case("a receipt is lacking, and seq", unsigned, forge.trust())
    late = forge.copy()
    late.emit("run:r1", "FC-AUTH-001", _REFUSED)
    path = "events/run:r1.jsonl"
    bad = late.pack(files_override={"receipt.dsse.json": None})
    bad = repack(bad, {path: unpack(bad)[path][:-2] + b"\n"})
    yield Case("a receipt is lacking, and the end is no JSON", bad, forge.trust())
    true = LAWFUL["open_run"]().forge
    last = true.run("r2")
    last.decide("run.pause")
    pack = true.pack(runs=["r2"])
    path = "events/run:r2.jsonl"
    lines = unpack(pack)[path].splitlines(keepends=True)
    lines[-1] = lines[-1].replace(BUNDLE_HASH.encode(), HASH.encode())
    yield Case("a bundle is named by a lie", repack(pack, {path: b"".join(lines)}), true.trust())
    managed = LAWFUL["failing"]()
    full = managed.forge.pack()
    path = "events/run:r1.jsonl"
    lines = unpack(full)[path].splitlines(keepends=True)
    born = json.loads(lines[0])
    born["data"]["definition_hash"] = HASH
    lines[0] = canonical(born) + b"\n"
    told = repack(full, {path: b"".join(lines)})
    yield Case("a definition is named by a lie", told, managed.forge.trust())


def trust() -> Iterator[Case]:
    """Stage 2."""
    forge, pack = small()
    key = forge.key.vkey
    good = f"log {key}\nissuer {key}\n"
    texts = {
        "none": None,
        "empty": "",
        "no issuer": f"log {key}\n",
        "no log": f"issuer {key}\n",
        "comments": f"# x\n\n  # y\nlog {key} # the log\n\tissuer\t{key}\t#\n",
        "a comment without a space": f"log {key}#x\nissuer {key}\n",
        "crlf": good.replace("\n", "\r\n"),
        "no end": good[:-1],
        "unknown word": good + f"logs {key}\n",
        "three words": good + f"log {key} {key}\n",
        "one word": good + "log\n",
        "quorum one word": good + "quorum\n",
        "quorum 0": good + "quorum 0\n",
        "quorum 1": good + "quorum 1\n",
        "quorum 01": good + "quorum 01\n",
        "quorum -1": good + "quorum -1\n",
        "quorum x": good + "quorum x\n",
        "quorum 999999": good + "quorum 999999\n",
        "quorum 1000000": good + "quorum 1000000\n",
        "quorum 1 1": good + "quorum 1 1\n",
        "quorum twice": good + "quorum 0\nquorum 0\n",
        "quorum twice 1": good + "quorum 1\nquorum 1\n",
        "log twice": good + f"log {key}\n",
        "log and another": good + f"log {OTHER.vkey}\nlog {STRANGER.vkey}\n",
        "another log": f"log {OTHER.vkey}\nissuer {key}\n",
        "a stranger's log": f"log {STRANGER.vkey}\nissuer {key}\n",
        "another issuer": f"log {key}\nissuer {OTHER.vkey}\n",
        "witness": good + f"witness {W1.vkey}\n",
        "two witnesses": good + f"witness {W1.vkey}\nwitness {W2.vkey}\nquorum 1\n",
        "witness is no log": good + f"log {W1.vkey}\n",
        "witness is no issuer": good + f"issuer {W1.vkey}\n",
        "log is no witness": good + f"witness {key}\n",
        "bad key": good + f"log {key[:-4]}\n",
        "a long bad key": good + "log " + "x" * 70 + "\n",
        "line feeds": good.replace("\n", "\x0b"),
    }
    for name, text in texts.items():
        yield Case(name, pack, text)


_FILE_CHANGES: dict[str, dict[str, bytes | None]] = {
    "no report": {"REPORT.md": None},
    "another report": {"REPORT.md": b"x"},
    "no verifier": {"verify.py": None},
    "a file too many": {"x.txt": b""},
    "a file too many in a folder": {"objects/x": b""},
    "a second verifier": {"verify.pyc": b""},
    "an object": {f"objects/{digest(b'x')}": b"x"},
    "an object of another hash": {f"objects/{digest(b'x')}": b"y"},
    "a payload too many": {f"payloads/{payload_file(b'1')[0]}.json": payload_file(b"1")[1]},
    "a bundle too many": {f"policies/{HASH}/x": b"x"},
    "a bundle's list too many": {
        f"policies/{digest(b'{}')}/files.json": b"{}",
    },
    "a bundle's list of another hash": {f"policies/{HASH}/files.json": b"{}"},
    "a definition too many": {f"workflow/{digest(b'{}')}/definition.json": b"{}"},
    "a definition of another hash": {f"workflow/{HASH}/definition.json": b"{}"},
    "no bundle": {
        f"policies/{BUNDLE_HASH}/{name}": None
        for name in ("files.json", "bundle.yaml", "policies.cedar")
    },
    "no list of the bundle": {f"policies/{BUNDLE_HASH}/files.json": None},
    "no text of the bundle": {f"policies/{BUNDLE_HASH}/bundle.yaml": None},
    "another text of the bundle": {f"policies/{BUNDLE_HASH}/bundle.yaml": b"x"},
    "another text in the bundle": {f"policies/{BUNDLE_HASH}/more.cedar": b"x"},
    "no receipt": {"receipt.dsse.json": None},
    "receipts of several": {"receipts/r1.dsse.json": b"{}"},
    "a receipt as a folder": {"receipt.dsse.json/x": b"{}"},
    "no index": {"index.json": None},
    "no history": {"keys/history.jsonl": None},
    "no checkpoint": {"log/checkpoint": None},
    "no proofs": {"log/proofs.json": None},
    "no events": {"events/run:r1.jsonl": None},
    "empty events": {"events/run:r1.jsonl": b""},
    "events of the log": {"events/log.jsonl": b""},
    "events of another run": {"events/run:r2.jsonl": b""},
    "no manifest": {"manifest.json": None},
    "proofs and a tile": {"log/tile/0/000.p/4": b"x" * 128},
}


def files() -> Iterator[Case]:
    """Stage 3."""
    forge, pack = small()
    trust = forge.trust()
    for name, changes in _FILE_CHANGES.items():
        yield Case(name, repack(pack, changes), trust)
    here = unpack(pack)
    for path, data in here.items():
        kept = {n: d for n, d in here.items() if n != path}
        yield Case(f"lost {path}", raw_zip(sorted(kept.items())), trust)
        for what, other in (("longer", data + b" "), ("other", b"!" + data[1:])):
            yield Case(f"{what} {path}", raw_zip(sorted((kept | {path: other}).items())), trust)
    yield Case("surplus", raw_zip(sorted((here | {"x.txt": b""}).items())), trust)
    both = {n: d for n, d in here.items() if n != "REPORT.md"} | {"objects/x": b""}
    yield Case("surplus and lost", raw_zip(sorted(both.items())), trust)
    manifest = json.loads(here["manifest.json"])
    report = manifest["files"]["REPORT.md"]
    for what, other in variants(manifest | {"files": {"REPORT.md": report}}):
        told = other
        if isinstance(other, dict) and isinstance(other.get("files"), dict):
            told = other | {"files": manifest["files"] | other["files"]}
        yield Case(f"manifest {what}", repack(pack, {"manifest.json": canonical(told)}), trust)
    for what, about in (
        ("several", {"run_id": None, "run_ids": ["r1"]}),
        ("none", {"run_id": None, "run_ids": []}),
        ("two", {"run_id": None, "run_ids": ["r1", "r2"]}),
        ("unsorted", {"run_id": None, "run_ids": ["r2", "r1"]}),
        ("repeated", {"run_id": None, "run_ids": ["r1", "r1"]}),
        ("one and several", {"run_id": "r1", "run_ids": ["r1"]}),
        ("several, no list", {"run_id": None, "run_ids": {"r1": 1}}),
        ("another run", {"run_id": "r2"}),
        ("another log", {"log": "x"}),
        ("version 2", {"v": 2}),
    ):
        yield Case(f"manifest {what}", repack(pack, {}, about=about), trust)
    spaced = json.dumps(manifest).encode()
    for what, raw in (("spaced", spaced), ("no JSON", b"{"), ("no UTF-8", b"\xff"), ("empty", b"")):
        yield Case(f"manifest {what}", repack(pack, {"manifest.json": raw}), trust)
    listed = put(manifest)
    listed["files"]["manifest.json"] = report
    itself = {"manifest.json": canonical(listed)}
    yield Case("manifest of itself", repack(pack, itself), trust)
    for run, tenant in (("r1", "acme"), ("r2", None), (None, "other"), ("x" * 90, None), ("", "")):
        yield Case(f"about {str(run)[:9]} {tenant}", pack, trust, run=run, tenant=tenant)
    forge, pack = rich()
    for path in unpack(pack):
        yield Case(f"rich without {path}", repack(pack, {path: None}), _rich_trust())


def _note(forge: Forge, text: str, *keys: Key) -> bytes:
    return sign_note(text, *keys or (forge.key,))


def notes() -> Iterator[Case]:
    """Stages 4 and 5: what `log/checkpoint` can be."""
    forge, pack = small()
    trust = forge.trust(W1, W2, W1_AGAIN)
    good = unpack(pack)["log/checkpoint"]
    size = len(forge.leaves)
    root = b64(forge.tree().range(0, size))
    origin = forge.log

    def case(name: str, note: bytes, quorum: int | None = None, text: str | None = None) -> Case:
        told = text or (trust if quorum is None else trust + f"quorum {quorum}\n")
        return Case(name, repack(pack, {"log/checkpoint": note}), told)

    for name, text in {
        "extension": f"{origin}\n{size}\n{root}\nmore\n",
        "two lines": f"{origin}\n{size}\n",
        "no origin": f"\n{size}\n{root}\n",
        "another origin": f"x\n{size}\n{root}\n",
        "a long origin": f"{'x' * 99}\n{size}\n{root}\n",
        "another size": f"{origin}\n{size + 1}\n{root}\n",
        "a smaller size": f"{origin}\n{size - 1}\n{root}\n",
        "size 0": f"{origin}\n0\n{root}\n",
        "size 0n": f"{origin}\n0{size}\n{root}\n",
        "size -n": f"{origin}\n-{size}\n{root}\n",
        "size x": f"{origin}\nx\n{root}\n",
        "a long size": f"{origin}\n{'9' * 40}\n{root}\n",
        "the largest size": f"{origin}\n{2**63 - 1}\n{root}\n",
        "too large a size": f"{origin}\n{2**63}\n{root}\n",
        "arabic": f"{origin}\n٤\n{root}\n",
        "another root": f"{origin}\n{size}\n{b64(bytes(32))}\n",
        "a short root": f"{origin}\n{size}\n{b64(bytes(31))}\n",
        "no root": f"{origin}\n{size}\n\n",
        "no base64": f"{origin}\n{size}\n!!!\n",
        "loose base64": f"{origin}\n{size}\n{root[:-2]}9=\n",
    }.items():
        yield case(name, _note(forge, text))
    text = f"{origin}\n{size}\n{root}\n"
    lines = {
        "signed by another": OTHER.line(text),
        "signed by a stranger": STRANGER.line(text),
        "signed twice": forge.key.line(text) * 2,
        "signed and another": forge.key.line(text) + OTHER.line(text),
        "another and signed": OTHER.line(text) + forge.key.line(text),
        "nobody signed": "",
        "an empty line": "\n",
        "a line of nothing": "— x \n",
        "a line without a name": f"—  {b64(bytes(68))}\n",
        "a line with two spaces": f"—  x {b64(bytes(68))}\n" + forge.key.line(text),
        "a line with a space at its end": f"— x {b64(bytes(68))} \n" + forge.key.line(text),
        "a line of four": f"— x {b64(bytes(68))} y\n",
        "another dash": f"- x {b64(bytes(68))}\n",
        "four bytes": f"— x {b64(bytes(4))}\n" + forge.key.line(text),
        "five bytes": f"— x {b64(bytes(5))}\n" + forge.key.line(text),
        "a name with a plus": f"— x+y {b64(bytes(68))}\n" + forge.key.line(text),
        "a name with a tab": f"— x\ty {b64(bytes(68))}\n" + forge.key.line(text),
        "no base64 in a line": "— x !!!\n" + forge.key.line(text),
        "a long bad line": "x" * 99 + "\n",
        "100 lines": f"— x {b64(bytes(68))}\n" * 99 + forge.key.line(text),
        "101 lines": f"— x {b64(bytes(68))}\n" * 100 + forge.key.line(text),
        "signed something else": forge.key.line(text + "x"),
        "a broken signature": _line(forge.key, bytes(64)),
        "a short signature": _line(forge.key, forge.key.sign(text.encode())[:-1]),
        "a long signature": _line(forge.key, forge.key.sign(text.encode()) + b"\0"),
        "no signature": _line(forge.key, b"x"),
        "witness": forge.key.line(text) + W1.line(text),
        "witnesses": forge.key.line(text) + W1.line(text) + W2.line(text),
        "one witness under two names": forge.key.line(text) + W1.line(text) + W1_AGAIN.line(text),
        "witness twice": forge.key.line(text) + W1.line(text) * 2,
        "witness first": W1.line(text) + forge.key.line(text),
        "witness of something else": forge.key.line(text) + W1.line(text + "x"),
        "witness at 0": forge.key.line(text) + W1.line(text, 0),
        "witness at the end of time": forge.key.line(text) + W1.line(text, 2**63 - 1),
        "witness after the end of time": forge.key.line(text) + W1.line(text, 2**63),
        "witness too short": forge.key.line(text) + _line(W1, bytes(71)),
        "witness too long": forge.key.line(text) + W1.line(text)[:-1] + "AAAA\n",
        "witness as a log": forge.key.line(text) + _line(W1, W1.sign(text.encode())),
        "only a witness": W1.line(text),
    }
    for name, line in lines.items():
        for quorum in (None, 2) if "witness" in name else (None,):
            yield case(f"{name} {quorum or ''}", (text + "\n" + line).encode(), quorum)
    for name, note in {
        "not UTF-8": good + b"\xff",
        "no end": good[:-1],
        "another end": good + b"\n",
        "no blank line": good.replace(b"\n\n", b"\n"),
        "two blank lines": good.replace(b"\n\n", b"\n\n\n"),
        "a tab": good.replace(b"forge\n", b"forge\t\n", 1),
        "a carriage return": good.replace(b"\n\n", b"\r\n\n"),
        "too long": good + b"x" * 1_000_000,
        "just too long": b"x" * (1_000_001 - len(good)) + good,
        "as long as can be": b"x" * (1_000_000 - len(good)) + good,
        "empty": b"",
    }.items():
        yield case(name, note)
    both = f"log {forge.key.vkey}\nlog {OTHER.vkey}\nissuer {forge.key.vkey}\n"
    yield case("two keys", (text + "\n" + lines["signed and another"]).encode(), text=both)
    yield case("the other key", (text + "\n" + OTHER.line(text)).encode(), text=both)
    yield case("the other first", (text + "\n" + lines["another and signed"]).encode(), text=both)
    stranger = f"log {STRANGER.vkey}\nlog {forge.key.vkey}\nissuer {forge.key.vkey}\n"
    foreign = text.replace(origin, STRANGER.name)
    yield case("another trusted log", sign_note(foreign, STRANGER), text=stranger)
    mine = f"log {STRANGER.vkey}\nissuer {forge.key.vkey}\n"
    yield case("origin of none", good, text=mine)


def _line(key: Key, signature: bytes) -> str:
    return f"— {key.name} {b64(key.key_hash + signature)}\n"


def events() -> Iterator[Case]:
    """Stages 6 and 7: the lines of the events of a pack whose tree fits them or does not."""
    forge, pack = small()
    path = "events/run:r1.jsonl"
    data = unpack(pack)[path]
    lines = data.splitlines(keepends=True)
    for name, told in {
        "no newline": data[:-1],
        "another newline": data + b"\n",
        "crlf": data.replace(b"\n", b"\r\n"),
        "the last left out": b"".join(lines[:-1]),
        "the first left out": b"".join(lines[1:]),
        "the second left out": lines[0] + b"".join(lines[2:]),
        "two swapped": lines[1] + lines[0] + b"".join(lines[2:]),
        "the last twice": data + lines[-1],
        "the first twice": lines[0] + data,
        "spaced": data.replace(b":", b": ", 1),
        "no JSON": b"{" + data,
        "no UTF-8": data.replace(b"acme", b"acm\xff", 1),
        "version 2": data.replace(b'"v":1', b'"v":2', 1),
        "version 2 later": lines[0] + data[len(lines[0]) :].replace(b'"v":1', b'"v":2', 1),
        "version 2 and no JSON": data.replace(b'"v":1', b'"v":2', 1) + b"{\n",
        "an actor changed": data.replace(b'"actor":"starter"', b'"actor":"starteX"', 1),
        "a later actor changed": lines[0]
        + lines[1].replace(b"starter", b"starteX")
        + lines[2]
        + lines[3],
    }.items():
        yield Case(name, repack(pack, {path: told}), forge.trust())

    def edited(name: str, forge: Forge = forge, run: str = "r1", **members: Any) -> Iterator[Case]:
        count = len(forge.stream(f"run:{run}")) - ("type" in members)
        for at in range(count):
            for relink in (False,) if members.keys() & {"seq", "prev"} else (True, False):

                def edit(told: list[Json], at: int = at) -> list[Json]:
                    return [*told[:at], told[at] | members, *told[at + 1 :]]

                other = forge.tampered(f"run:{run}", edit, relink=relink)
                title = f"{name} {at} {'relinked' if relink else ''}"
                yield Case(title, other.pack(), forge.trust())
                if relink:
                    yield Case(f"{title} kept", other.pack(keep=pack), forge.trust())

    yield from edited("actor", actor="x")
    yield from edited("tenant", tenant="x")
    yield from edited("log", log="x")
    yield from edited("seq 7", seq=7)
    yield from edited("seq 0", seq=0)
    yield from edited("seq -1", seq=-1)
    yield from edited("at before", at="2026-11-23T11:59:59.999999Z")
    yield from edited("at after", at="2026-11-23T13:00:00.000000Z")
    yield from edited("prev", prev=HASH)
    yield from edited("type", type="FC-RUN-009")
    yield from edited("v", v=3)
    yield from edited("data", data={"A": 1})


def index() -> Iterator[Case]:
    """Stage 8: where the leaves are said to be."""
    forge, pack = small()
    trust = forge.trust()
    for what, told in variants({"run:r1": [0, 1, 2, 3]}):
        yield Case(f"index {what}", repack(pack, {"index.json": canonical(told)}), trust)
    for what, told in {
        "log": {"run:r1": [0, 1, 2, 3], "log": [1]},
        "another run": {"run:r1": [0, 1, 2, 3], "run:r2": [1]},
        "a long name": {"run:r1": [0, 1, 2, 3], "x" * 90: [1]},
        "longer": {"run:r1": [0, 1, 2, 3, 4]},
        "shorter": {"run:r1": [0, 1, 2]},
        "shifted": {"run:r1": [1, 2, 3, 4]},
        "gap": {"run:r1": [0, 1, 2, 4]},
        "twice": {"run:r1": [0, 1, 1, 3]},
        "swapped": {"run:r1": [0, 2, 1, 3]},
        "negative": {"run:r1": [-1, 0, 1, 2]},
        "true": {"run:r1": [0, True, 2, 3]},
        "no list": {"run:r1": {"0": 1}},
        "empty": {},
    }.items():
        yield Case(f"index {what}", repack(pack, {"index.json": canonical(told)}), trust)
        more = {"index.json": canonical(told), "events/run:r2.jsonl": b"", "events/log.jsonl": b""}
        yield Case(f"index {what} and events", repack(pack, more), trust)
    for what, raw in (("spaced", b'{ "run:r1":[0,1,2,3]}'), ("no JSON", b"{"), ("list", b"[]")):
        yield Case(f"index {what}", repack(pack, {"index.json": raw}), trust)
    for stream in ("run:r9", "workflow:r1", "log:", "log:x", "log", "policy:r1", "r1", "x:r1"):
        name = f"events/{stream}.jsonl"
        told = {"run:r1": [0, 1, 2, 3], stream: [0]}
        body = unpack(pack)["events/run:r1.jsonl"].splitlines(keepends=True)[0]
        other = repack(pack, {"index.json": canonical(told), name: body})
        yield Case(f"stream {stream}", other, trust)
        alone = repack(pack, {name: body})
        yield Case(f"stream {stream} alone", alone, trust)


@cache
def big() -> Forge:
    """A log of three levels of tiles, its run at both ends."""
    forge = Forge()
    run = forge.run("r1").start()
    forge.fill(300)
    run.step("a")
    forge.fill(250)
    run.complete()
    return forge


def tree() -> Iterator[Case]:
    """Stage 8: proofs and tiles."""
    forge, pack = small()
    trust = forge.trust()
    proofs = json.loads(unpack(pack)["log/proofs.json"])
    for what, told in variants({"0": proofs["0"]}):
        whole = proofs | told if isinstance(told, dict) else told
        yield Case(f"proofs {what}", repack(pack, {"log/proofs.json": canonical(whole)}), trust)
    for what, told in {
        "one left out": {k: v for k, v in proofs.items() if k != "2"},
        "one too many": proofs | {"4": []},
        "two too many": proofs | {"44": [], "9": []},
        "01": proofs | {"01": []},
        "x": proofs | {"x": []},
        "-1": proofs | {"-1": []},
        "the first out, and a bad one": {"1": proofs["1"], "2": proofs["2"][::-1]},
        "a large number": proofs | {"9" * 19: []},
        "too large a number": proofs | {"9" * 20: []},
        "swapped": proofs | {"0": proofs["1"], "1": proofs["0"]},
        "shorter": proofs | {"0": proofs["0"][:-1]},
        "longer": proofs | {"0": proofs["0"] * 2},
        "turned": proofs | {"0": proofs["0"][::-1]},
        "not base64": proofs | {"0": ["!", "!"]},
        "31 bytes": proofs | {"0": [b64(bytes(31)), b64(bytes(32))]},
        "33 bytes": proofs | {"0": [b64(bytes(33)), b64(bytes(32))]},
        "empty": {},
    }.items():
        yield Case(f"proofs {what}", repack(pack, {"log/proofs.json": canonical(told)}), trust)
    for what, raw in (("spaced", b"{ }"), ("no JSON", b"{"), ("a list", b"[]")):
        yield Case(f"proofs {what}", repack(pack, {"log/proofs.json": raw}), trust)
    for size in (255, 256, 257, 258, 511, 512, 513):
        forge = _of_size(size)
        yield Case(f"tiles of {size}", forge.pack(tiles=True), forge.trust())
        yield Case(f"proofs of {size}", forge.pack(tiles=False), forge.trust())
    for size in (256, 257, 512, 513):
        forge = _of_size(size)
        yield from _tiles(f"tiles of {size}", forge)
    yield Case("tiles of many", big().pack(tiles=True), big().trust())
    yield from _tiles("tiles of many", big())
    for size in (257, 513, 600, 3_000):
        forge = _begun(size)
        full = forge.pack(tiles=True)
        path = max(path for path in unpack(full) if path.startswith("log/tile/0/"))
        for told in (full, repack(full, {path: None})):
            yield Case(f"begun in {size}, {len(unpack(told))} files", told, forge.trust())


@cache
def _of_size(size: int) -> Forge:
    """A log of so many leaves; the run begins with the first, and ends with the last."""
    forge = Forge()
    run = forge.run("r1")
    forge.fill(size - 4)
    run.decide("run.cancel")
    run.end("cancelled")
    return forge


@cache
def _begun(size: int) -> Forge:
    """A log of so many leaves, which begins with a run."""
    forge = Forge()
    run = forge.run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    forge.fill(size - 4)
    return forge


def _tiles(name: str, forge: Forge) -> Iterator[Case]:
    pack, trust = forge.pack(tiles=True), forge.trust()
    paths = [path for path in unpack(pack) if path.startswith("log/tile/")]
    for path in paths:
        data = unpack(pack)[path]
        yield Case(f"{name}: no {path}", repack(pack, {path: None}), trust)
        for what, told in {
            "first": bytes(32) + data[32:],
            "last": data[:-32] + bytes(32),
            "longer": data + bytes(32),
            "shorter": data[:-32],
            "by a byte": data[:-1],
            "empty": b"",
        }.items():
            yield Case(f"{name}: {path} {what}", repack(pack, {path: told}), trust)
    data = bytes(32)
    for path in (
        "log/tile/0/000",
        "log/tile/0/000.p/1",
        "log/tile/0/000.p/256",
        "log/tile/0/001.p/1",
        "log/tile/0/003",
        "log/tile/1/000.p/1",
        "log/tile/1/000.p/3",
        "log/tile/1/001.p/1",
        "log/tile/2/000.p/1",
        "log/tile/2/000",
        "log/tile/0/x000/000.p/4",
        "log/tile/0/x001/000",
        "log/tile/64/000",
        "log/tile/100/000",
        "log/tile/0/0000",
    ):
        if path not in paths:
            width = int(path.partition(".p/")[2] or 256)
            yield Case(f"{name}: + {path}", repack(pack, {path: data * width}), trust)


def keys() -> Iterator[Case]:
    """Stage 4 again: epochs and rotations."""
    forge, pack = rich()
    trust = _rich_trust()
    data = unpack(pack)["keys/history.jsonl"]
    epochs = [json.loads(line) for line in data.splitlines()]

    def case(name: str, told: list[Any], trust: str = trust) -> Case:
        raw = b"".join(canonical(epoch) + b"\n" for epoch in told)
        return Case(f"history {name}", repack(pack, {"keys/history.jsonl": raw}), trust)

    for what, told in variants(epochs):
        if isinstance(told, list):
            yield case(what, told)
    for what, raw in {
        "no newline": data[:-1],
        "a blank line": data + b"\n",
        "spaced": data.replace(b":", b": ", 1),
        "nothing": b"",
        "one newline": b"\n",
        "no JSON": b"{\n",
    }.items():
        yield Case(f"history {what}", repack(pack, {"keys/history.jsonl": raw}), trust)
    other, third = OTHER.vkey, STRANGER.vkey
    yield case("another first", [epochs[0] | {"key": other}, *epochs[1:]])
    yield case("a stranger first", [epochs[0] | {"key": third}, *epochs[1:]])
    yield case("the second first", [epochs[0] | {"key": epochs[1]["key"]}, *epochs[1:]])
    yield case("one epoch", epochs[:1])
    yield case("one epoch without an end", [epochs[0] | {"to": None}])
    yield case("turned", epochs[::-1])
    last = Key(forge.log, b"\x02" * 32)
    first = Key(forge.log, b"\x01" * 32)
    at = epochs[0]["to"]
    for size, signer in (
        (None, first),
        (None, last),
        (at - 1, first),
        (at, first),
        (at + 1, first),
        (at, last),
        (at + 1, last),
        (at - 1, last),
    ):
        which = "old" if signer is first else "new"
        told = _short(forge, size)
        signed = told.pack(size=size, signer=signer, runs=["r1"])
        yield Case(f"{which} key at {size}", signed, trust)
    text_first = forge.checkpoint()
    both = text_first + first.line(text_first.decode().partition("\n\n")[0] + "\n").encode()
    yield Case("both keys", repack(pack, {"log/checkpoint": both}), trust)
    lines = both.decode().splitlines(keepends=True)
    turned = "".join([*lines[:4], lines[5], lines[4]]).encode()
    yield Case("both keys turned", repack(pack, {"log/checkpoint": turned}), trust)
    yield Case("old key is not trusted", pack, _without(trust, first))
    yield Case("new key is not trusted", pack, _without(trust, last))
    rotation = next(e for e in forge.leaves if e["type"] == "FC-KEY-001")
    for what, told in variants(rotation["data"]):
        yield _edited_log(f"rotation {what}", "log", told, forge, trust)
    swapped = rotation["data"] | {
        "key_signature": rotation["data"]["previous_signature"],
        "previous_signature": rotation["data"]["key_signature"],
    }
    yield _edited_log("rotation swapped", "log", swapped, forge, trust)
    for what, member in (("another key", OTHER.vkey), ("a stranger", STRANGER.vkey)):
        for name in ("key", "previous_key"):
            told = rotation["data"] | {name: member}
            yield _edited_log(f"rotation to {what} {name}", "log", told, forge, trust)
    yield from _rotated_again(trust)
    erasure = next(e for e in forge.leaves if e["type"] == "FC-DATA-001")
    for what, told in variants(erasure["data"]):
        yield _edited_log(f"erasure {what}", "log:acme", told, forge, trust)
    for stream, kind in (("log", "FC-DATA-001"), ("log:acme", "FC-KEY-001"), ("log", "x" * 30)):
        told = forge.tampered(stream, partial(_typed, kind))
        yield Case(f"{kind} in {stream}", told.pack(witnesses=[W1, W2]), trust)
    for stream in ("log", "log:acme"):
        told = forge.tampered(stream, lambda e: [e[0] | {"tenant": "x"}])
        yield Case(f"{stream} of another tenant", told.pack(witnesses=[W1, W2]), trust)


def _rotated_again(trust: str) -> Iterator[Case]:
    forge = Forge()
    forge.rotate(b"\x02" * 32)
    forge.rotate(b"\x03" * 32)
    run = forge.run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    yield Case("rotated twice", forge.pack(), forge.trust())
    turned = forge.tampered("log", lambda e: e[::-1])
    yield Case("rotated twice, turned", turned.pack(), forge.trust())
    skipped = forge.tampered("log", lambda e: e[1:])
    yield Case("rotated twice, the first lost", skipped.pack(), forge.trust())
    other = Forge()
    one = other.run("r1")
    one.decide("run.cancel")
    one.end("cancelled")
    receipt = unpack(other.pack())["receipt.dsse.json"]
    other.rotate(b"\x02" * 32)
    yield Case(
        "rotated at the end",
        other.pack(files_override={"receipt.dsse.json": receipt}),
        other.trust(),
    )
    early = Forge()
    first = early.key
    one = early.run("r1")
    one.decide("run.cancel")
    early.rotate(b"\x02" * 32)
    one.end("cancelled")
    payload = canonical_receipt(early)
    old = early.pack(files_override={"receipt.dsse.json": dsse(payload, first)})
    yield Case("a receipt of the old key", old, early.trust())
    late, pack = _refused_later()
    yield Case("refused after its key was rotated", pack, late.trust())
    fewer = json.loads(unpack(pack)["index.json"])
    fewer["run:r1"] = fewer["run:r1"][:3]
    less = repack(pack, {"index.json": canonical(fewer)})
    yield Case("refused after its key was rotated, too few leaves", less, late.trust())
    for to in (3, 4):
        ends = [late.epochs[0] | {"to": to}, late.epochs[1]]
        other = late.tampered("log", partial(_typed, "FC-DATA-001"))
        receipt = unpack(pack)["receipt.dsse.json"]
        raw = {"keys/history.jsonl": b"".join(canonical(e) + b"\n" for e in ends)}
        told = other.pack(files_override={"receipt.dsse.json": receipt} | raw)
        yield Case(f"its key is said to have ended at {to}", told, late.trust())
    for to in (3, 4):
        forge, pack = small()
        two: list[Json] = [
            {"from": 0, "key": forge.key.vkey, "to": to},
            {"from": to + 1, "key": OTHER.vkey, "to": None},
        ]
        changes = {"keys/history.jsonl": b"".join(canonical(e) + b"\n" for e in two)}
        told = repack(pack, {"index.json": b"[]"} | changes)
        yield Case(f"an epoch is said to end at {to}, and no index", told, forge.trust())
    forge = Forge()
    one = forge.run("r1")
    one.decide("run.cancel")
    one.end("cancelled")
    forge.tenant = "other"
    for _ in range(2):
        forge.erase("r1", HASH)
    yield Case("erasures of another tenant", forge.pack(), forge.trust())
    forge.leaves[-1] |= {"seq": 9}
    yield Case("erasures of another tenant, and a gap", forge.pack(), forge.trust())


def _refused_later() -> tuple[Forge, bytes]:
    """A run whose key was rotated after its end, and before an attempt that was refused."""
    forge = Forge()
    first = forge.key
    run = forge.run("r1")
    run.decide("run.cancel")
    run.end("cancelled")
    forge.rotate(b"\x02" * 32)
    run.emit("FC-AUTH-001", _REFUSED)
    receipt = dsse(canonical_receipt(forge), first)
    return forge, forge.pack(files_override={"receipt.dsse.json": receipt})


def canonical_receipt(forge: Forge) -> bytes:
    envelope = json.loads(unpack(forge.pack())["receipt.dsse.json"])
    return b64decode(envelope["payload"])


def _short(forge: Forge, size: int | None) -> Forge:
    other = forge.copy()
    if size is not None:
        other.leaves = other.leaves[:size]
    return other


def _without(trust: str, key: Key) -> str:
    return "".join(line for line in trust.splitlines(keepends=True) if key.vkey not in line)


def _typed(kind: str, events: list[Json]) -> list[Json]:
    return [events[0] | {"type": kind}]


def _edited_log(name: str, stream: str, data: Any, forge: Forge, trust: str) -> Case:
    told = data if isinstance(data, dict) else {"x": 1}
    other = forge.tampered(stream, lambda e: [e[0] | {"data": told}])
    return Case(name, other.pack(witnesses=[W1, W2]), trust)


def receipts() -> Iterator[Case]:
    """Stage 9."""
    forge, pack = small()
    trust = forge.trust()
    envelope = json.loads(unpack(pack)["receipt.dsse.json"])
    for what, told in variants(envelope):
        raw = canonical(told)
        yield Case(f"envelope {what}", repack(pack, {"receipt.dsse.json": raw}), trust)
    payload = canonical_receipt(forge)
    receipt = json.loads(payload)
    twice = put(envelope, signatures=envelope["signatures"] * 2)
    for what, raw in {
        "signed twice": canonical(twice),
        "by another": dsse(payload, OTHER),
        "by both": dsse(payload, OTHER, forge.key),
        "by nobody": dsse(payload),
        "of another kind": dsse(payload, forge.key, kind="x"),
        "spaced": dsse(json.dumps(receipt).encode(), forge.key),
        "empty": dsse(b"", forge.key),
        "no JSON": b"{",
        "loose base64": canonical(put(envelope, payload=envelope["payload"] + "\n")),
    }.items():
        yield Case(f"envelope {what}", repack(pack, {"receipt.dsse.json": raw}), trust)
    both = trust + f"issuer {OTHER.vkey}\n"
    for what, keys in (("other", (OTHER,)), ("own", (forge.key,)), ("two", (forge.key, OTHER))):
        raw = dsse(payload, *keys)
        yield Case(f"trusted {what}", repack(pack, {"receipt.dsse.json": raw}), both)
        raw = dsse(payload, *keys[::-1])
        yield Case(f"trusted {what} turned", repack(pack, {"receipt.dsse.json": raw}), both)
    broken = put(json.loads(dsse(payload, forge.key, OTHER)))
    broken["signatures"][1]["sig"] = broken["signatures"][0]["sig"]
    raw = canonical(broken)
    yield Case("one of two is broken", repack(pack, {"receipt.dsse.json": raw}), both)
    yield Case("one of two is unknown", repack(pack, {"receipt.dsse.json": raw}), trust)
    for name, value in receipt.items():
        for other in (None, 1, "x", [], [HASH], HASH):
            if other != value:
                raw = dsse(canonical(receipt | {name: other}), forge.key)
                title = f"receipt {name} = {json.dumps(other)[:8]}"
                yield Case(title, repack(pack, {"receipt.dsse.json": raw}), trust)
    run = LAWFUL["open_run"]()
    forged = run.forge.pack(files_override={"receipt.dsse.json": dsse(payload, forge.key)})
    yield Case("a receipt of an open run", forged, run.forge.trust())
    for run_id in ("r1", "r2"):
        path = f"receipts/{run_id}.dsse.json"
        yield Case(f"no receipt of {run_id}", repack(rich()[1], {path: None}), _rich_trust())
    extra = repack(rich()[1], {"receipt.dsse.json": b"{}"})
    yield Case("a receipt of one among several", extra, _rich_trust())
    one, two = (unpack(rich()[1])[f"receipts/{r}.dsse.json"] for r in ("r1", "r2"))
    swap = {"receipts/r1.dsse.json": two, "receipts/r2.dsse.json": one}
    yield Case("receipts swapped", repack(rich()[1], swap), _rich_trust())
    unended = Forge()
    unended.run("r1").start()
    unended.run("r2").start().complete()
    yield Case("one of two has not ended", unended.pack(), unended.trust())
    foreign = Forge()
    foreign.run("r1").start().complete()
    foreign.tenant = "other"
    foreign.run("r2").start().complete()
    yield Case("runs of two tenants", foreign.pack(runs=["r1", "r2"]), foreign.trust())
    managed = LAWFUL["failing"]()
    full = managed.forge.pack()
    path = next(p for p in unpack(full) if p.startswith("workflow/"))
    trust = managed.forge.trust()
    yield Case("no definition", repack(full, {path: None}), trust)
    yield Case("another definition", repack(full, {path: b"{}"}), trust)
    for raw in (b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"x": 0.5}', b"null"):
        forged = _defined(managed, raw)
        yield Case(f"a definition that is {raw[:9]!r}", forged, trust)
    spaced = json.dumps(json.loads(unpack(full)[path]), indent=1).encode() + b"\n"
    yield Case("a definition that is spaced", _defined(managed, spaced), trust)


def _defined(run: Script, raw: bytes) -> bytes:
    """The pack of a managed run that names other bytes as its definition."""
    named = digest(raw)
    other = run.forge.tampered(run.stream, _definition(named))
    other.definitions = {named: raw}
    return other.pack()


def _definition(named: str) -> Any:
    def edit(events: list[Json]) -> list[Json]:
        return [put(events[0], data=events[0]["data"] | {"definition_hash": named}), *events[1:]]

    return edit


def payloads() -> Iterator[Case]:
    """Stage 10, and what belongs to nothing."""
    forge, pack = plain()
    trust = forge.trust()
    here = [path for path in unpack(pack) if path.startswith("payloads/")]
    for path in here:
        yield Case(f"without {path}", repack(pack, {path: None}), trust)
        yield Case(f"another {path}", repack(pack, {path: b'{"value":0}'}), trust)
    yield Case("without any", repack(pack, dict.fromkeys(here)), trust)
    yield Case("only one", repack(pack, dict.fromkeys(here[1:])), trust)
    salt = b"\7" * 32
    named, data = payload_file(b'"x"', salt)
    plain_named, plain_data = payload_file(b'"x"')
    for what, raw in {
        "salted": data,
        "upper salt": data.replace(b"07", b"0A", 1),
        "short salt": data.replace(b"07", b"", 1),
        "long salt": data.replace(b"07", b"0707", 1),
        "no salt": data.replace(b'"salt":', b'"SALT":'),
        "no value": data.replace(b'"value":', b'"VALUE":'),
        "open": data[:-1],
        "more": data + b"\n",
        "high": data.replace(b"07", b"\xff\xff", 1),
        "plain in its place": plain_data,
    }.items():
        yield Case(f"salted {what}", repack(pack, {f"payloads/{named}.json": raw}), trust)
        path = f"payloads/{plain_named}.json"
        yield Case(f"plain {what}", repack(pack, {path: raw}), trust)
    for name in ("sensitive", "managed"):
        run = LAWFUL[name]()
        full = run.forge.pack()
        for path in unpack(full):
            if path.startswith("payloads/"):
                yield Case(f"{name} {path[9:17]}", repack(full, {path: None}), run.forge.trust())
    run = _erased("r1")
    yield Case("erased of another run", run.forge.pack(), run.forge.trust())
    forge = Forge()
    one = forge.run("r1").start()
    forge.erase("r1", one.input_hash)
    forge.erase("r1", digest(b"{}"))
    yield Case("erased twice, not ended", forge.pack(), forge.trust())
    one.complete()
    yield Case("erased, and ended later", forge.pack(), forge.trust())
    forge = Forge()
    one = forge.run("r1").start().complete()
    forge.erase("r1", one.input_hash)
    forge.erase("r1", digest(b"{}"))
    yield Case("erased twice", forge.pack(), forge.trust())
    unnamed = forge.copy()
    unnamed.erase("r1", digest(b"{}"), HASH)
    yield Case("erased what nothing names", unnamed.pack(), unnamed.trust())
    kept = forge.copy()
    kept.keep({})
    yield Case("erased and there", kept.pack(), kept.trust())
    both = Forge()
    for run_id in ("r1", "r2"):
        named = both.run(run_id).start().complete().input_hash
    both.erase("r1", named)
    yield Case("erased of one of two runs", both.pack(), both.trust())
    both.keep({"order": 7})
    yield Case("erased of one of two runs, and there", both.pack(), both.trust())
    yield Case("erased of its run, and there", both.pack(runs=["r1"]), both.trust())
    own = both.copy()
    own.erase("r1", digest(canonical({"done": "r1"})))
    own.keep({"done": "r1"})
    yield Case("erased of the first run alone, and there", own.pack(), own.trust())
    both.erase("r2", named)
    both.keep({"order": 7})
    yield Case("erased of both runs, and there", both.pack(), both.trust())
    bundle = canonical({"files": {"a.cedar": digest(b"x")}})
    for what, listed in variants({"files": {"a.cedar": digest(b"x")}}):
        raw = canonical(listed)
        yield _bundled(f"bundle {what}", raw, {"a.cedar": b"x"})
    yield _bundled("bundle whole", bundle, {"a.cedar": b"x"})
    yield _bundled("bundle more", bundle, {"a.cedar": b"x", "b.cedar": b"x"})
    yield _bundled("bundle less", bundle, {})
    yield _bundled("bundle other", bundle, {"a.cedar": b"y"})
    yield _bundled("bundle spaced", b'{"files": {}}', {})
    yield _bundled("bundle empty", b'{"files":{}}', {})


def _bundled(name: str, raw: bytes, texts: dict[str, bytes]) -> Case:
    forge = Forge()
    run = forge.run("r1")
    named = digest(raw)
    run.decide("run.cancel", policy_hash=named)
    run.end("cancelled")
    files = {f"policies/{named}/{path}": data for path, data in texts.items()}
    files[f"policies/{named}/files.json"] = raw
    return Case(name, forge.pack(files_override=files), forge.trust())


def _erased(run_id: str) -> Script:
    forge = Forge()
    run = forge.run("r1").start()
    forge.payloads.pop(run.input_hash)
    forge.erase("r2", run.input_hash)
    run.complete()
    return run


def seen() -> Iterator[Case]:
    """A checkpoint that was seen before."""
    forge, pack = plain()
    trust = forge.trust()
    size, tree = len(forge.leaves), forge.tree()
    more = forge.copy()
    more.fill(3)
    late = more.tree()
    for old in range(1, size):
        proof = [b64(node) for node in consistency_proof(tree, old, size)]
        note, raw = forge.checkpoint(old), json.dumps({"hashes": proof}).encode()
        yield Case(f"seen {old}", pack, trust, seen=note, consistency=raw)
        yield Case(f"seen {old} alone", pack, trust, seen=note)
        bad = json.dumps({"hashes": [b64(bytes(32)) for _ in proof]}).encode()
        yield Case(f"seen {old} broken", pack, trust, seen=note, consistency=bad)
        short = json.dumps({"hashes": proof[:-1]}).encode()
        yield Case(f"seen {old} short", pack, trust, seen=note, consistency=short)
        yield Case(f"seen {old} raw", pack, trust, consistency=raw)
    after = [b64(node) for node in consistency_proof(late, size, size + 3)]
    raw = json.dumps({"hashes": after}).encode()
    yield Case("seen later", pack, trust, seen=more.checkpoint(), consistency=raw)
    yield Case("seen later alone", pack, trust, seen=more.checkpoint())
    yield Case("seen the same", pack, trust, seen=forge.checkpoint())
    yield Case("seen the same, proved", pack, trust, seen=forge.checkpoint(), consistency=b"{}")
    other = forge.tampered("run:r1", lambda e: [e[0] | {"actor": "x"}, *e[1:]])
    yield Case("seen another history", pack, trust, seen=other.checkpoint())
    same = json.dumps({"hashes": [b64(n) for n in consistency_proof(tree, 5, size)]}).encode()
    yield Case("seen another", pack, trust, seen=other.checkpoint(5), consistency=same)
    empty = sign_note(f"{forge.log}\n0\n{b64(bytes(32))}\n", forge.key)
    yield Case("seen nothing yet", pack, trust, seen=empty)
    yield Case("seen nothing yet, proved", pack, trust, seen=empty, consistency=b"x")
    for what, raw in {
        "no JSON": b"{",
        "no UTF-8": b"\xff",
        "a list": b"[]",
        "no hashes": b"{}",
        "more": json.dumps({"more": 1, "hashes": [], "x": 0.5}).encode(),
        "deep": b"[" * 100_000,
        "no list": b'{"hashes":{}}',
        "numbers": b'{"hashes":[1]}',
    }.items():
        yield Case(f"proof {what}", pack, trust, seen=forge.checkpoint(3), consistency=raw)
    stranger = sign_note(f"{STRANGER.name}\n3\n{b64(bytes(32))}\n", STRANGER)
    yield Case("seen of a stranger", pack, trust, seen=stranger)
    both = trust + f"log {STRANGER.vkey}\n"
    yield Case("seen of another log", pack, both, seen=stranger)
    yield Case("seen no note", pack, trust, seen=b"x")
    lost = repack(pack, {"log/checkpoint": None})
    yield Case("seen, and no checkpoint", lost, trust, seen=forge.checkpoint(3))
    yield Case("seen by another key", pack, trust, seen=sign_note("x\n", OTHER))


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    maker.__name__: maker
    for maker in (
        lawful,
        container,
        trust,
        files,
        notes,
        events,
        index,
        tree,
        keys,
        receipts,
        payloads,
        seen,
        lacking,
        told_lives,
        names,
        texts,
        fan_packs,
        families,
    )
}
