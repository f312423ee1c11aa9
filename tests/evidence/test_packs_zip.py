"""The zip of a pack: the same bytes for the same members, never more than the verifier reads."""

import hashlib
import io
import json
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import IntegrityError, TooLarge
from federation_core.evidence.pack import MANIFEST, Member, Written, write_pack
from federation_core.spine.canonical import canonical

ABOUT = {"log": "federation-core/x", "run_id": "r", "v": 1}


def fixed(path: str, *chunks: bytes) -> Member:
    return Member(path, lambda: iter(chunks))


def packed(*members: Member) -> tuple[bytes, Written]:
    out = io.BytesIO()
    written = write_pack(members, ABOUT, out)
    return out.getvalue(), written


@given(
    st.dictionaries(st.from_regex(r"[a-z0-9./:%-]{1,20}", fullmatch=True), st.binary(), max_size=8),
    st.randoms(),
)
def test_the_order_of_members_and_their_chunks_do_not_matter(
    files: dict[str, bytes], chance: random.Random
) -> None:
    files.pop(MANIFEST, None)
    one, written = packed(*(fixed(path, data) for path, data in files.items()))
    names = list(files)
    chance.shuffle(names)
    cut = [fixed(n, files[n][:3], files[n][3:]) for n in names]
    assert packed(*cut) == (one, written)
    with ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist() == sorted([*files, MANIFEST])
        assert {name: archive.read(name) for name in files} == files
        manifest = archive.read(MANIFEST)
    assert canonical(json.loads(manifest)) == manifest
    assert hashlib.sha256(manifest).hexdigest() == written.pack_hash
    assert (written.files, written.size_bytes) == (len(files) + 1, len(one))


def test_the_bytes_are_these() -> None:
    """They change with nothing but the members: not with the day, the machine or the user."""
    data, written = packed(fixed("b", b"two"), fixed("a", b"one"))
    with ZipFile(io.BytesIO(data)) as archive:
        assert json.loads(archive.read(MANIFEST)) == {
            "files": {
                "a": {"sha256": hashlib.sha256(b"one").hexdigest(), "size": 3},
                "b": {"sha256": hashlib.sha256(b"two").hexdigest(), "size": 3},
            },
            **ABOUT,
        }
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == stat.S_IFREG | 0o644
            assert (info.create_system, info.compress_type) == (3, ZIP_DEFLATED)
            assert (info.extra, info.comment, info.flag_bits) == (b"", b"", 0)
    assert written.pack_hash == ("0dc3c41e8a983dd4fc4b9c1a3138273a417f1c06b6cdb5d8b739d9d56b17edd9")


def test_it_is_written_where_the_file_stands(tmp_path: Path) -> None:
    alone, _ = packed(fixed("a", b"one"))
    with (tmp_path / "x").open("w+b") as out:
        out.write(b"before")
        written = write_pack([fixed("a", b"one")], ABOUT, out)
        assert out.tell() == 6 + written.size_bytes == 6 + len(alone)


def test_what_shrinks_like_a_bomb_is_stored_as_it_is() -> None:
    """A client who sends eight megabytes of one letter must not make a pack that is refused."""
    bomb = fixed("payloads/bomb.json", *[b"a" * 65536] * 48)
    plain = fixed("payloads/plain.json", os.urandom(2 * 2**20))
    text = fixed("events/x.jsonl", b"".join(b'{"seq":%d}\n' % n for n in range(150_000)))
    data, _ = packed(bomb, plain, text)
    with ZipFile(io.BytesIO(data)) as archive:
        kinds = {i.filename: i.compress_type for i in archive.infolist()}
        for info in archive.infolist():
            assert info.file_size <= 2**20 or info.file_size <= 1_000 * info.compress_size
        assert archive.testzip() is None
    assert kinds["payloads/bomb.json"] == ZIP_STORED
    assert {kinds[n] for n in ("payloads/plain.json", "events/x.jsonl")} == {ZIP_DEFLATED}


def test_a_member_that_changes_while_it_is_written_is_found() -> None:
    times: list[int] = []

    def chunks() -> Iterator[bytes]:
        times.append(1)
        yield b"%d" % len(times)

    with pytest.raises(IntegrityError, match="x was not the same"):
        packed(Member("x", chunks))


def test_more_files_than_the_verifier_reads_are_refused() -> None:
    with pytest.raises(TooLarge, match="fewer runs"):
        write_pack([fixed("x", b"")] * 1_000_000, ABOUT, io.BytesIO())


def test_progress_is_told_twice_for_each_member() -> None:
    told: list[tuple[int, int]] = []
    members = [fixed("a", b""), fixed("z", b"")]
    write_pack(members, ABOUT, io.BytesIO(), lambda done, of: told.append((done, of)))
    assert told[0] == (1, 4)
    assert told[-1] == (4, 4)
    assert told == sorted(told)
