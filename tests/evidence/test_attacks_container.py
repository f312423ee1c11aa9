"""Zips that unpack to elsewhere, to too much, or to different things for different tools."""

import io
import stat
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from tests.evidence.attack_worlds import assert_refused, assert_valid, small
from tests.evidence.pack_forge import raw_zip, repack, unpack

from federation_core.evidence import verify

SPARE = f"objects/{'0' * 64}"


@pytest.fixture
def pack() -> bytes:
    """Of the server, and valid."""
    assert_valid(small().packs["main"], small().trust)
    return small().packs["main"]


def refused(pack: bytes, code: str, file: str | None) -> verify.Verdict:
    return assert_refused(pack, small().trust, code, file)


def beside(pack: bytes, name: str, data: bytes = b"x", **tweaks: Any) -> bytes:
    """The pack and one entry more."""
    return raw_zip([*unpack(pack).items(), (name, data, tweaks)])


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "//server/share", "/"),
        *("../up", "a/../../up", "events/..", "..", "a/./b", "./REPORT.md", "a//b"),
        *("a\\b", "..\\up", "\\\\server\\share"),
        *("C:up", "C:/up", "c:\\up"),
        *("a\tb", "a\x1bb"),
        *("events/", "folder/", ""),
    ],
)
def test_a_path_that_leads_elsewhere(pack: bytes, name: str) -> None:
    refused(beside(pack, name), "UNSAFE_PATH", name)


def test_a_name_that_ends_early_for_other_tools(pack: bytes) -> None:
    refused(beside(pack, "REPORT.md\0.exe"), "UNSAFE_PATH", "REPORT.md")


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK]
)
def test_what_is_no_plain_file(pack: bytes, kind: int) -> None:
    made = beside(pack, SPARE, b"/etc/passwd", external_attr=(kind | 0o777) << 16)
    refused(made, "UNSAFE_PATH", SPARE)


def test_a_link_in_the_place_of_a_file(pack: bytes) -> None:
    entries: list[tuple[str, bytes, Mapping[str, Any]]] = [
        (path, data, {"external_attr": stat.S_IFLNK << 16} if path == "index.json" else {})
        for path, data in unpack(pack).items()
    ]
    refused(raw_zip(entries), "UNSAFE_PATH", "index.json")


@pytest.mark.parametrize("name", ["REPORT.md", "index.json", "manifest.json", "log/checkpoint"])
def test_a_name_that_stands_twice(pack: bytes, name: str) -> None:
    """Whichever of the two a tool unpacks."""
    refused(beside(pack, name), "UNSAFE_PATH", name)
    first = raw_zip([(name, b"x"), *unpack(pack).items()])
    refused(first, "UNSAFE_PATH", name)


@pytest.mark.parametrize("bits", [0x01, 0x40, 0x41])
def test_an_encrypted_file(pack: bytes, bits: int) -> None:
    refused(beside(pack, SPARE, flag_bits=bits), "UNSAFE_PATH", SPARE)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression(pack: bytes, method: int) -> None:
    refused(beside(pack, SPARE, compress_type=method), "UNSAFE_PATH", SPARE)


def test_a_bomb(pack: bytes) -> None:
    refused(beside(pack, SPARE, bytes(3 * 2**20)), "LIMIT_EXCEEDED", SPARE)
    events = "events/run:bomb.jsonl"
    refused(beside(pack, events, bytes(3 * 2**20)), "LIMIT_EXCEEDED", events)


def test_a_file_that_is_too_large(pack: bytes) -> None:
    """By what its header says: it is not unpacked to see."""
    refused(beside(pack, SPARE, file_size=256 * 2**20 + 1), "LIMIT_EXCEEDED", SPARE)


def test_more_bytes_in_all_than_a_pack_may_have(pack: bytes) -> None:
    made = beside(pack, "events/run:x.jsonl", file_size=8 * 2**30)
    refused(made, "LIMIT_EXCEEDED", None)


def test_too_many_files(pack: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is lowered: a million files take their time."""
    monkeypatch.setattr(verify, "_MAX_FILES", len(unpack(pack)))
    assert_valid(pack, small().trust)
    refused(beside(pack, SPARE), "LIMIT_EXCEEDED", None)


@pytest.mark.parametrize("size", [0, 5, 101, 2**20])
def test_a_size_that_is_not_the_one_that_is_unpacked(pack: bytes, size: int) -> None:
    made = beside(pack, SPARE, bytes(range(100)), file_size=size)
    refused(made, "UNSAFE_PATH", SPARE)


@pytest.mark.parametrize(
    "at", [6, 8, 14, 18, 22, 26], ids=["flags", "method", "crc", "packed", "size", "name"]
)
def test_a_header_that_tells_something_else_than_the_list(pack: bytes, at: int) -> None:
    """Tools that read a zip from its front believe the one, others the other."""
    changed = pack[:at] + bytes([pack[at] ^ 4]) + pack[at + 1 :]
    refused(changed, "UNSAFE_PATH", "REPORT.md")


def test_a_zip_within_garbage(pack: bytes) -> None:
    refused(b"#!/bin/sh\nexit\n" + pack, "UNSAFE_PATH", "REPORT.md")
    refused(pack + b"\n", "UNSAFE_PATH", None)
    refused(pack + bytes(1000), "UNSAFE_PATH", None)


def test_another_zip_before_the_pack(pack: bytes) -> None:
    """A tool that reads from the front would unpack that one."""
    forged = repack(pack, {"REPORT.md": b"All is well.\n"})
    refused(forged + pack, "UNSAFE_PATH", "REPORT.md")


def test_another_zip_after_the_pack(pack: bytes) -> None:
    refused(pack + raw_zip([("REPORT.md", b"x")]), "UNSAFE_PATH", "REPORT.md")


def test_a_comment_that_could_be_anything(pack: bytes) -> None:
    file = io.BytesIO(pack)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"It is all true."
    refused(file.getvalue(), "UNSAFE_PATH", None)


def test_a_gap_between_two_files(pack: bytes) -> None:
    refused(gapped(pack, "index.json", b"hidden"), "UNSAFE_PATH", "index.json")


def gapped(pack: bytes, name: str, data: bytes) -> bytes:
    """The pack with bytes before a file that no list tells of."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in unpack(pack).items():
            if path == name:
                out.seek(archive.start_dir)
                out.write(data)
                archive.start_dir = out.tell()
            archive.writestr(path, content)
    return out.getvalue()


def test_two_files_that_share_their_bytes(pack: bytes) -> None:
    """A quotient of a bomb: one kernel of data, listed again and again."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in unpack(pack).items():
            archive.writestr(path, content)
        again = zipfile.ZipInfo(SPARE)
        first = archive.infolist()[0]
        for name in ("header_offset", "CRC", "compress_size", "file_size", "external_attr"):
            setattr(again, name, getattr(first, name))
        archive.filelist.append(again)
        archive.NameToInfo[SPARE] = again
    refused(out.getvalue(), "UNSAFE_PATH", SPARE)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", bytes(1000), b"PK\5\6" + bytes(18)])
def test_what_is_no_zip(data: bytes) -> None:
    refused(data, "FILE_MISSING", "manifest.json")


def test_data_that_cannot_be_unpacked(pack: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        info = archive.getinfo("index.json")
    begin = info.header_offset + 30 + len(info.filename)
    changed = pack[:begin] + b"\xff" * info.compress_size + pack[begin + info.compress_size :]
    refused(changed, "FILE_DIGEST", "index.json")


# what is in it, by the manifest


def test_a_file_that_the_manifest_does_not_have(pack: bytes) -> None:
    refused(beside(pack, SPARE), "FILE_EXTRA", SPARE)


@pytest.mark.parametrize(
    "path",
    [
        *("README.txt", "events/log.txt", "objects/abc", "payloads/x.json", "report.md"),
        *(f"workflow/{'0' * 64}/other.json", "receipts/a/b.dsse.json", "keys/private.pem"),
    ],
)
def test_a_file_that_no_pack_has(pack: bytes, path: str) -> None:
    refused(repack(pack, {path: b"x"}), "FILE_EXTRA", path)


def test_each_file_that_was_taken_out(pack: bytes) -> None:
    for path in unpack(pack):
        others = [(p, data) for p, data in sorted(unpack(pack).items()) if p != path]
        refused(raw_zip(others), "FILE_MISSING", path)


@pytest.mark.parametrize("path", ["index.json", "keys/history.jsonl", "log/checkpoint"])
def test_a_file_that_was_taken_out_of_the_manifest_as_well(pack: bytes, path: str) -> None:
    refused(repack(pack, {path: None}), "FILE_MISSING", path)


def test_proofs_that_were_taken_out(pack: bytes) -> None:
    refused(repack(pack, {"log/proofs.json": None}), "FILE_MISSING", "log/proofs.json")


def test_two_files_that_were_exchanged(pack: bytes) -> None:
    files = unpack(pack)
    one, other = "keys/history.jsonl", "index.json"
    files[one], files[other] = files[other], files[one]
    refused(raw_zip(sorted(files.items())), "FILE_DIGEST", "index.json")


def test_a_file_that_is_named_by_another_hash(pack: bytes) -> None:
    refused(repack(pack, {SPARE: b"x"}), "FILE_DIGEST", SPARE)


def test_a_manifest_of_another_version(pack: bytes) -> None:
    refused(repack(pack, {}, about={"v": 2}), "UNKNOWN_VERSION", "manifest.json")
