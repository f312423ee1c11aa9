"""Reading what a pack needs, all in the one transaction that it is given."""

from array import array
from collections.abc import Iterable, Iterator

import msgspec
from sqlalchemy import Connection

from ..errors import Conflict, IntegrityError, InvalidInput, NotFound
from ..ledger import queries
from ..ledger.evidence_queries import (
    CheckpointRow,
    checkpoint_over,
    event_rows,
    payload_of,
    stored_payloads,
)
from ..ledger.tree import root_at
from ..spine.canonical import sha256
from ..transparency import open_checkpoint
from .keys import Epoch, epoch_at, epochs_of
from .log_queries import rotations
from .scan import RunScan, StreamScan, checked_rows, scan_run

__all__ = [
    "Erased",
    "Erasures",
    "Payloads",
    "bundle_files",
    "erasures",
    "event_chunks",
    "find_checkpoint",
    "key_epochs",
    "object_chunks",
    "payload_chunks",
    "read_payloads",
    "rotation_scan",
    "run_scans",
]


class Erased(msgspec.Struct, frozen=True):
    """Who erased a payload, when (as the event says it) and why."""

    at: str
    actor: str
    reason: str


Erasures = dict[tuple[str, str], Erased]
"""By stream and hash of the payload."""


class Payloads(msgspec.Struct, frozen=True):
    """The payloads that runs name. `there` says which stream has each one that may be shown;
    `withheld` are those of sensitive steps, `erased` those that the log says were erased, and
    `missing` those of which nothing says why they are not there."""

    there: dict[str, str]
    withheld: frozenset[str]
    erased: dict[str, Erased]
    missing: frozenset[str]

    @property
    def absent(self) -> frozenset[str]:
        """All that are not to be shown, or not there."""
        return self.withheld | self.erased.keys() | self.missing


def run_scans(c: Connection, tenant: str, run_ids: Iterable[str]) -> list[RunScan]:
    """The runs, in order of their ids. Raises `InvalidInput` where none is named, `NotFound` for
    one that is not there or is another tenant's."""
    wanted = sorted(set(run_ids))
    if not wanted:
        raise InvalidInput("Name at least one run; nothing matches.", code="no_runs")
    for run_id in wanted:
        if queries.run_row(c, tenant, run_id) is None:
            raise NotFound(f"There is no run {run_id}.", code="run_not_found")
    return [scan_run(c, run_id) for run_id in wanted]


def key_epochs(c: Connection) -> list[Epoch]:
    """Raises `IntegrityError` where the history of keys does not hold."""
    first = queries.setting(c, "signing_key")
    if first is None:
        raise IntegrityError("The log has no signing key yet, and nothing in it is signed.")
    return epochs_of(first, rotations(c))


def rotation_scan(c: Connection) -> StreamScan | None:
    """The stream `log`, where keys were rotated, up to the last rotation."""
    indexes = [index for index, _ in rotations(c)]
    return _scan_up_to(c, "log", max(indexes)) if indexes else None


class _Erasure(msgspec.Struct):
    class _Data(msgspec.Struct):
        stream: str = ""
        reason: str = ""
        payload_hashes: list[str] = []

    type: str
    at: str
    actor: str
    data: _Data


_erasure = msgspec.json.Decoder(_Erasure)


def erasures(c: Connection, tenant: str, runs: list[RunScan]) -> tuple[Erasures, StreamScan | None]:
    """What was erased of `runs`, and the stream that says so, up to the last event that does; None
    where nothing was."""
    stream, of = f"log:{tenant}", {run.stream for run in runs}
    erased: Erasures = {}
    last: int | None = None
    for row in checked_rows(event_rows(c, stream), stream):
        event = _erasure.decode(row.body)
        if event.type == "FC-DATA-001" and event.data.stream in of:
            last = row.position
            told = Erased(event.at, event.actor, event.data.reason)
            erased.update(((event.data.stream, h), told) for h in event.data.payload_hashes)
    return erased, None if last is None else _scan_up_to(c, stream, last)


def _scan_up_to(c: Connection, stream: str, position: int) -> StreamScan:
    scan = StreamScan(stream, array("q"))
    for row in checked_rows(event_rows(c, stream), stream):
        scan.take(row)
        if row.position >= position:
            break
    return scan


def read_payloads(
    c: Connection, runs: list[RunScan], erased: Erasures, *, sensitive: bool
) -> Payloads:
    """Which of the payloads that `runs` name are there, and of the others why not."""
    there: dict[str, str] = {}
    withheld: set[str] = set()
    for run in runs:
        for digest, salted in stored_payloads(c, run.stream):
            if digest in run.payloads:
                if salted and not sensitive:
                    withheld.add(digest)
                else:
                    there[digest] = run.stream
    told: dict[str, Erased] = {}
    missing: set[str] = set()
    for run in runs:
        for digest in sorted(run.payloads - there.keys() - withheld):
            if (erasure := erased.get((run.stream, digest))) is not None:
                told[digest] = erasure
            else:
                missing.add(digest)
    return Payloads(there, frozenset(withheld), told, frozenset(missing))


def payload_chunks(c: Connection, stream: str, digest: str) -> Iterator[bytes]:
    """`{"salt"?, "value"}`; the stored value is in its RFC 8785 form already."""
    found = payload_of(c, stream, digest)
    if found is None:
        raise IntegrityError(f"The payload {digest} has gone while it was read.")
    salt = b"" if found.salt is None else b'"salt":"%b",' % found.salt.encode()
    yield b'{%b"value":%b}' % (salt, found.value)


def event_chunks(c: Connection, stream: str, count: int) -> Iterator[bytes]:
    """The exact bytes of the first `count` events of a stream, a newline after each."""
    part: list[bytes] = []
    for row in event_rows(c, stream, end=count):
        part.append(row.body)
        if len(part) == 64:
            yield b"\n".join([*part, b""])
            part.clear()
    yield b"\n".join([*part, b""])


def object_chunks(c: Connection, digest: str) -> Iterator[bytes]:
    """The text of this hash. Raises `IntegrityError` where it is not there, or is another."""
    text = queries.object_text(c, digest)
    if text is None or sha256(text.encode()) != digest:
        what = "is missing" if text is None else "was changed"
        raise IntegrityError(f"The stored text {digest} {what}.")
    yield text.encode()


def bundle_files(c: Connection, digest: str) -> dict[str, bytes]:
    """The files of a policy bundle by name, and `files.json`, the bytes that `digest` is the hash
    of. Raises `IntegrityError` where a bundle that decided cannot be shown."""
    whole = b"".join(object_chunks(c, digest))
    names: dict[str, str] = msgspec.json.decode(whole)["files"]
    files = {name: b"".join(object_chunks(c, file)) for name, file in names.items()}
    return {"files.json": whole, **files}


def find_checkpoint(c: Connection, index: int, epochs: list[Epoch]) -> CheckpointRow:
    """The checkpoint of a pack whose last leaf is `index`. Raises `Conflict` where none covers it
    yet, `IntegrityError` where it is not this log's, or not over what is stored."""
    row = checkpoint_over(c, index)
    if row is None:
        raise Conflict(
            "No signed checkpoint covers the newest of these events yet; one is signed about once "
            "a second, so ask again.",
            code="checkpoint_pending",
        )
    signed = open_checkpoint(row.note, epoch_at(epochs, row.size).key)
    root = root_at(c, row.size)
    if (signed.size, signed.root, row.root) != (row.size, root, root.hex()):
        raise IntegrityError(
            f"The log is not what the checkpoint over {row.size} events was signed over; run "
            "`fedcore ledger verify` to see where it is wrong.",
            code="log_changed",
        )
    return row
