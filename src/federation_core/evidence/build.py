"""Making a pack: what is in it, and under which checkpoint."""

from array import array
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import Any, BinaryIO

import msgspec
from sqlalchemy import Connection

from ..errors import Conflict
from ..ledger import queries
from ..ledger.evidence_queries import CheckpointRow
from ..ledger.tree import nodes, tile_hashes
from ..spine.canonical import ZERO_HASH
from ..transparency import SigningKey, VerifierKey, inclusion_proof, verify_inclusion
from .keys import Epoch
from .pack import Member, Progress, write_pack
from .proof_files import index_chunks, proof_members
from .receipts import envelope
from .report import report_chunks
from .report_facts import ReportFacts
from .scan import RunScan, StreamScan
from .sources import (
    Payloads,
    bundle_files,
    erasures,
    event_chunks,
    find_checkpoint,
    key_epochs,
    object_chunks,
    payload_chunks,
    read_payloads,
    rotation_scan,
    run_scans,
)

__all__ = ["PackRequest", "PackSigner", "PackSummary", "build_pack", "events_path"]


class PackRequest(msgspec.Struct, frozen=True):
    """A pack of these runs of `tenant`; `sensitive` puts in what sensitive steps took and gave."""

    run_ids: tuple[str, ...]
    tenant: str
    payloads: bool = True
    sensitive: bool = False


class PackSigner(msgspec.Struct, frozen=True):
    """The key of the log, which signs the receipts."""

    key: SigningKey
    vkey: VerifierKey


class PackSummary(msgspec.Struct, frozen=True):
    """`pack_hash` is SHA-256 of the manifest; `checkpoint_size` is of how many leaves;
    `redactions` counts the payloads that the log says were erased."""

    pack_hash: str
    run_ids: tuple[str, ...]
    events: int
    size_bytes: int
    checkpoint_size: int
    redactions: int


class _Found(msgspec.Struct, frozen=True):
    """All that is known before the first byte is written."""

    runs: list[RunScan]
    others: list[StreamScan]
    epochs: list[Epoch]
    checkpoint: CheckpointRow
    payloads: Payloads

    @property
    def streams(self) -> list[StreamScan]:
        return [*self.runs, *self.others]


def build_pack(
    connection: Connection,
    request: PackRequest,
    signer: PackSigner,
    out: BinaryIO,
    progress: Progress | None = None,
) -> PackSummary:
    """Write the pack of `request` to `out`, a seekable file, from where it stands.

    `connection` is in a transaction that sees one state of the ledger. The same runs give the same
    bytes until something about them changes. Raises `InvalidInput` or `NotFound` for runs that
    cannot be packed, `TooLarge`, `Conflict` (`checkpoint_pending`, `key_rotated`: ask again), and
    `IntegrityError` where the ledger is not what was signed: nothing that does not hold is signed.
    """
    found = _find(connection, request, signer)
    log = queries.setting(connection, "log") or ""
    facts = ReportFacts(
        log=log,
        runs=found.runs,
        payloads=found.payloads,
        shown=request.payloads,
        sensitive=request.payloads and request.sensitive,
        checkpoint_size=found.checkpoint.size,
        witnesses=found.checkpoint.witnesses,
    )
    members = [
        Member("REPORT.md", partial(report_chunks, connection, facts)),
        Member("verify.py", _verifier),
        *_log_members(connection, found),
        *_run_members(connection, found, signer),
        *(_payload_members(connection, found.payloads) if request.payloads else ()),
    ]
    written = write_pack(members, _about(log, found.runs), out, progress)
    return PackSummary(
        pack_hash=written.pack_hash,
        run_ids=tuple(run.run_id for run in found.runs),
        events=sum(len(scan.positions) for scan in found.streams),
        size_bytes=written.size_bytes,
        checkpoint_size=found.checkpoint.size,
        redactions=len(found.payloads.erased),
    )


def events_path(stream: str) -> str:
    """Where the events of a stream stand. A tenant may be called `a/../b`; no folder is meant."""
    return f"events/{stream.replace('/', '%2F')}.jsonl"


def _about(log: str, runs: list[RunScan]) -> dict[str, Any]:
    if len(runs) == 1:
        return {"log": log, "run_id": runs[0].run_id, "v": 1}
    return {"log": log, "run_id": None, "run_ids": [run.run_id for run in runs], "v": 1}


def _find(c: Connection, request: PackRequest, signer: PackSigner) -> _Found:
    runs = run_scans(c, request.tenant, request.run_ids)
    epochs = key_epochs(c)
    if signer.vkey != epochs[-1].key:
        raise Conflict("The log's key was rotated meanwhile; ask again.", code="key_rotated")
    erased, erasure_scan = erasures(c, request.tenant, runs)
    others = [scan for scan in (rotation_scan(c), erasure_scan) if scan is not None]
    last = max(scan.positions[-1] for scan in [*runs, *others])
    checkpoint = find_checkpoint(c, last, epochs)
    payloads = read_payloads(c, runs, erased, sensitive=request.sensitive)
    found = _Found(runs, others, epochs, checkpoint, payloads)
    _check_in_tree(c, found)
    return found


def _check_in_tree(c: Connection, found: _Found) -> None:
    """The last event of each stream is under the signed root; the chain links the others to it."""
    size = found.checkpoint.size
    root, node = bytes.fromhex(found.checkpoint.root), nodes(c, size)
    for scan in found.streams:
        index = scan.positions[-1]
        proof = inclusion_proof(index, size, node)
        verify_inclusion(bytes.fromhex(scan.head), index, size, proof, root)


def _log_members(c: Connection, found: _Found) -> Iterator[Member]:
    for scan in found.streams:
        count = len(scan.positions)
        yield Member(events_path(scan.stream), partial(event_chunks, c, scan.stream, count))
    positions = {scan.stream: scan.positions for scan in found.streams}
    yield Member("index.json", partial(index_chunks, positions))
    yield _fixed("keys/history.jsonl", b"".join(epoch.line for epoch in found.epochs))
    yield _fixed("log/checkpoint", found.checkpoint.note)
    size = found.checkpoint.size
    indexes = array("q", sorted(i for scan in found.streams for i in scan.positions))
    yield from proof_members(indexes, size, nodes(c, size), partial(tile_hashes, c))


def _run_members(c: Connection, found: _Found, signer: PackSigner) -> Iterator[Member]:
    several = len(found.runs) > 1
    for run in found.runs:
        if run.receipt is not None:
            name = f"receipts/{run.run_id}.dsse.json" if several else "receipt.dsse.json"
            yield _fixed(name, envelope(run.receipt, signer.key, signer.vkey.name))
    for digest in sorted({h for run in found.runs for h in run.policies} - {ZERO_HASH}):
        for name, text in bundle_files(c, digest).items():
            yield _fixed(f"policies/{digest}/{name}", text)
    for digest in sorted({run.definition_hash for run in found.runs if run.definition_hash}):
        yield Member(f"workflow/{digest}/definition.json", partial(object_chunks, c, digest))


def _payload_members(c: Connection, payloads: Payloads) -> Iterator[Member]:
    for digest, stream in payloads.there.items():
        yield Member(f"payloads/{digest}.json", partial(payload_chunks, c, stream, digest))


def _fixed(path: str, data: bytes) -> Member:
    return Member(path, lambda: iter((data,)))


def _verifier() -> Iterator[bytes]:
    yield files(__package__).joinpath("verify.py").read_bytes()
