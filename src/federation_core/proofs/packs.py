"""What an auditor fetches: the trust file, a checkpoint while the runs are under way, and the
evidence pack of each run."""

from collections.abc import Iterable

import msgspec

from ..client import Client
from .packing import Pack, read_checkpoint, unpacked
from .transcript import Transcript

__all__ = ["Fetched", "fetch"]


class Fetched(msgspec.Struct, frozen=True):
    """`trust` is the text of the trust file, `seen` the checkpoint that was fetched before the
    last of the runs."""

    trust: str
    seen: str

    @property
    def seen_size(self) -> int:
        return read_checkpoint(self.seen)[1]


def fetch(
    auditor: Client, seen: str, played: Iterable[Transcript]
) -> tuple[Fetched, list[Transcript]]:
    """The trust file, and the transcripts with their packs. Raises what the client raises."""
    fetched = Fetched(auditor.trust(), seen)
    return fetched, [_with_pack(auditor, fetched.seen_size, t) for t in played]


def _with_pack(auditor: Client, seen: int, t: Transcript) -> Transcript:
    with auditor.evidence(t.run_id) as download:
        told, data = download.etag, b"".join(download.chunks)
    pack = Pack(data=data, files=unpacked(data), told=told)
    small, large = sorted((seen, pack.checkpoint[1]))
    if small != large:
        proof = auditor.consistency(small, large)
        pack = msgspec.structs.replace(pack, consistency=proof)
    return msgspec.structs.replace(t, pack=pack, log=pack.log)
