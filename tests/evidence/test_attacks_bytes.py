"""A bit is flipped in each byte: of every member of a pack, and of the zip around them.

`REPORT.md` is for people and `verify.py` is a copy of what the auditor has from elsewhere: nothing
is verified from them, so whoever makes the manifest anew can write into them what they like. That
is true of these two alone. The pack is the smallest that the server makes, with short texts in
these two, so that every byte gets its turn; signatures are remembered, for most are the same.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.evidence.attack_worlds import assert_valid, small
from tests.evidence.pack_forge import digest, raw_zip, repack, unpack

from federation_core.evidence import verify

MANIFEST = "manifest.json"
PARTS = 8
"""Tests that can run beside one another."""


@pytest.fixture(autouse=True)
def _remember_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verify_signature", cache(verify.verify_signature))
    monkeypatch.setattr(verify, "_decode_point", cache(verify._decode_point))


def flipped(data: bytes, at: int) -> bytes:
    """Another bit for each byte, so that all eight come up."""
    return data[:at] + bytes([data[at] ^ 1 << (at * 5 + 3) % 8]) + data[at + 1 :]


def flips(part: int) -> Iterator[tuple[str, bytes, int]]:
    """(member, what it holds now, line of the change)"""
    number = 0
    for path, data in sorted(unpack(small().packs["main"]).items()):
        for at in range(len(data)):
            number += 1
            if number % PARTS == part:
                yield path, flipped(data, at), data.count(b"\n", 0, at) + 1


class Slate:
    """The pack, its files stored as they are, so that a file can be changed in place."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        entries = [(p, d, {"compress_type": zipfile.ZIP_STORED}) for p, d in sorted(files.items())]
        self.pack = raw_zip(entries)
        self._places: dict[str, tuple[int, int, int]] = {}
        with zipfile.ZipFile(io.BytesIO(self.pack)) as archive:
            listed = archive.start_dir
            for info in archive.infolist():
                name = len(info.filename)
                header = info.header_offset
                self._places[info.filename] = (header + 30 + name, header + 14, listed + 16)
                listed += 46 + name

    def put(self, *changes: tuple[str, bytes]) -> bytes:
        """The pack with other bytes in some files, no more and no fewer than there were."""
        pack = bytearray(self.pack)
        for path, data in changes:
            assert len(data) == len(self.files[path])
            begin, *sums = self._places[path]
            pack[begin : begin + len(data)] = data
            for at in sums:
                pack[at : at + 4] = zlib.crc32(data).to_bytes(4, "little")
        return bytes(pack)

    def list(self, path: str, data: bytes) -> bytes:
        """The same with a manifest that fits."""
        old, new = (b'"sha256":"%b"' % digest(d).encode() for d in (self.files[path], data))
        return self.put((path, data), (MANIFEST, self.files[MANIFEST].replace(old, new)))


class Judge:
    """Writes packs to one file, and asks the verifier."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "pack.zip"
        self._file = self._path.open("wb", buffering=0)

    def __call__(self, pack: bytes) -> verify.Verdict:
        self._file.seek(0)
        self._file.write(pack)
        if self._file.tell() != self._path.stat().st_size:
            self._file.truncate()
        return verify.verify_pack(self._path, small().trust)

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    with Judge(tmp_path) as judge:
        yield judge


@pytest.fixture
def slate() -> Slate:
    return Slate(unpack(small().packs["main"]))


def test_untouched_it_is_valid(slate: Slate) -> None:
    found = assert_valid(slate.pack, small().trust)
    assert found == assert_valid(small().packs["main"], small().trust)
    for path, data in slate.files.items():
        assert slate.put((path, data)) == slate.pack
        if path != MANIFEST:
            assert slate.list(path, data) == slate.pack
    for path in ("REPORT.md", "verify.py"):
        changed = repack(small().packs["main"], {path: b"anything"})
        assert assert_valid(changed, small().trust) == found


@pytest.mark.parametrize("part", range(PARTS))
def test_each_byte_of_each_member_is_what_the_manifest_lists(
    part: int, judge: Judge, slate: Slate
) -> None:
    tried = 0
    for path, data, _ in flips(part):
        if path == MANIFEST:
            continue
        error = judge(slate.put((path, data))).error
        assert error is not None, (path, data)
        assert (error["code"], error["file"]) == ("FILE_DIGEST", path), (error, data)
        tried += 1
    assert tried > 5_000 // PARTS


EVENT_CODES = {"NOT_JSON", "NOT_CANONICAL", "UNKNOWN_VERSION"} | {
    *("CHAIN_GAP", "CHAIN_FORK", "CHAIN_BROKEN", "ROOT_MISMATCH")
}
CODES = {
    "events": EVENT_CODES,
    "index.json": {"NOT_JSON", "NOT_CANONICAL", "INDEX_RANGE", "PROOF_SHAPE", "ROOT_MISMATCH"},
    "keys": {"NOT_JSON", "NOT_CANONICAL", "KEY_EPOCH"},
    "log/checkpoint": {"NOTE_MALFORMED", "ORIGIN", "UNKNOWN_KEY", "BAD_SIGNATURE"},
    "log/proofs.json": {"NOT_JSON", "NOT_CANONICAL", "PROOF_SHAPE", "ROOT_MISMATCH"},
    "manifest.json": {
        *("NOT_JSON", "NOT_CANONICAL", "UNKNOWN_VERSION", "ORIGIN", "KEY_EPOCH"),
        *("FILE_MISSING", "FILE_EXTRA", "FILE_DIGEST"),
    },
    "payloads": {"PAYLOAD_MISMATCH"},
    "policies": {"FILE_DIGEST"},
    "receipt.dsse.json": {
        *("NOT_JSON", "NOT_CANONICAL", "RECEIPT_SIGNATURE", "RECEIPT_TYPE"),
    },
}
"""What a change is found as where the manifest fits it."""


@pytest.mark.parametrize("part", range(PARTS))
def test_each_byte_of_each_member_matters_whatever_the_manifest_says(
    part: int, judge: Judge, slate: Slate
) -> None:
    """A changed event is named by its line or, where it still has the form of an event, by the
    next, which does not link to it."""
    original = judge(slate.pack)
    for path, data, line in flips(part):
        found = judge(slate.put((path, data)) if path == MANIFEST else slate.list(path, data))
        if path in ("REPORT.md", "verify.py"):
            assert found == original
            continue
        assert found.verdict == "INVALID", (path, data)
        [kind] = [kind for kind in CODES if path.startswith(kind)]
        assert found.error is not None
        assert found.error["code"] in CODES[kind], (found.error, path, data)
        if kind == "events":
            broken = found.error["code"] == "CHAIN_BROKEN" and found.error["line"] == line + 1
            assert found.error["file"] == path
            assert found.error["line"] == line or broken, (found.error, data)


@pytest.mark.parametrize("part", range(PARTS))
def test_each_byte_of_the_zip_changes_nothing_or_is_found(part: int, judge: Judge) -> None:
    """Times, modes and other such facts of a zip are not of the pack. Whatever else is changed, the
    verdict is never that all is well with something else than was packed."""
    pack = small().packs["main"]
    original = judge(pack)
    for at in range(part, len(pack), PARTS):
        found = judge(flipped(pack, at))
        assert found == original or found.verdict == "INVALID", at


@pytest.mark.parametrize("part", range(PARTS))
def test_a_pack_that_is_cut_off_anywhere_is_refused(part: int, judge: Judge) -> None:
    pack = small().packs["main"]
    for end in range(part * 7, len(pack), PARTS * 7):
        found = judge(pack[:end])
        assert found.verdict == "INVALID", end
        assert found.error is not None
        assert found.error["code"] == "FILE_MISSING"
