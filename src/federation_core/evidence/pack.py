"""The pack as a file: a zip that is the same, byte for byte, whenever the same members are put in.

Every member is read twice: once for its hash, which stands in the manifest, and once for the zip.
So nothing is held but a few facts about each member, however long a run was.
"""

import hashlib
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import msgspec

from ..errors import IntegrityError, TooLarge
from ..spine.canonical import sorted_json

__all__ = ["MANIFEST", "Member", "Progress", "Written", "write_pack"]

MANIFEST = "manifest.json"

MAX_FILES = 1_000_000
MAX_BYTES = 8 * 2**30
"""The verifier reads no more than this."""
MAX_RATIO = 1_000
_RATIO_FROM = 2**20
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = stat.S_IFREG | 0o644

Progress = Callable[[int, int], None]
"""Called with (members read, of how many); each member is read twice."""


class Member(msgspec.Struct, frozen=True):
    """One file of a pack. `chunks` gives its bytes anew, and the same, whenever it is called."""

    path: str
    chunks: Callable[[], Iterator[bytes]]


class Written(msgspec.Struct, frozen=True):
    """A pack that was written: `pack_hash` is SHA-256 of its manifest, in hex."""

    pack_hash: str
    size_bytes: int
    files: int


class _Measured(msgspec.Struct, frozen=True):
    member: Member
    digest: bytes
    size: int
    shrinks_too_far: bool


def write_pack(
    members: Iterable[Member],
    about: dict[str, Any],
    out: BinaryIO,
    progress: Progress | None = None,
) -> Written:
    """Write `members` and their manifest to `out`, from where it stands; it must be seekable.

    `about` is what the manifest says besides `files`. Raises `TooLarge` for more than the verifier
    would read, `IntegrityError` where a member was not the same when it was read again.
    """
    told = progress or _nobody
    ordered = sorted(members, key=lambda member: member.path)
    if len(ordered) >= MAX_FILES:
        raise TooLarge(f"The pack would have {len(ordered)} files; choose fewer runs.")
    measured: list[_Measured] = []
    for member in ordered:
        measured.append(_measure(member))
        told(len(measured), 2 * len(ordered))
    if sum(m.size for m in measured) > MAX_BYTES:
        raise TooLarge("The pack would be larger than 8 GiB; choose fewer runs, or no payloads.")
    manifest = _measure(Member(MANIFEST, lambda: _manifest(measured, about)))
    begin = out.tell()
    with ZipFile(out, "w") as archive:
        whole = sorted([*measured, manifest], key=lambda m: m.member.path)
        for done, item in enumerate(whole):
            _put(archive, item)
            told(len(ordered) + min(done + 1, len(ordered)), 2 * len(ordered))
    return Written(manifest.digest.hex(), out.tell() - begin, len(whole))


def _nobody(_done: int, _of: int) -> None:
    pass


def _measure(member: Member) -> _Measured:
    digest, size = hashlib.sha256(), 0
    for chunk in member.chunks():
        digest.update(chunk)
        size += len(chunk)
    return _Measured(member, digest.digest(), size, _shrinks_too_far(member, size))


def _shrinks_too_far(member: Member, size: int) -> bool:
    """Whether the member, deflated, would look like a bomb to the verifier."""
    if size <= _RATIO_FROM:
        return False
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = sum(len(compressor.compress(chunk)) for chunk in member.chunks())
    return size > (packed + len(compressor.flush())) * MAX_RATIO // 2


def _manifest(measured: list[_Measured], about: dict[str, Any]) -> Iterator[bytes]:
    """The RFC 8785 form, file by file: `files` is the first key of all."""
    yield b'{"files":{'
    for number, m in enumerate(measured):
        value = sorted_json({"sha256": m.digest.hex(), "size": m.size})
        comma = b"," if number else b""
        yield b"%b%b:%b" % (comma, sorted_json(m.member.path), value)
    yield b"}," + sorted_json(about)[1:]


def _put(archive: ZipFile, item: _Measured) -> None:
    info = ZipInfo(item.member.path, _TIME)
    info.create_system = 3  # the one whose files have a mode
    info.external_attr = _MODE << 16
    info.compress_type = ZIP_STORED if item.shrinks_too_far else ZIP_DEFLATED
    info.file_size = item.size
    digest = hashlib.sha256()
    with archive.open(info, "w") as file:
        for chunk in item.member.chunks():
            digest.update(chunk)
            file.write(chunk)
    if digest.digest() != item.digest:
        raise IntegrityError(f"{item.member.path} was not the same when it was read again.")
