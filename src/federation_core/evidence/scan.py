"""One walk through a run's stored events: what its pack needs to know of them, and no more.

On the way each event is checked against its hash and its chain, for what is signed here is believed
elsewhere.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection

from ..errors import IntegrityError
from ..ledger.evidence_queries import EventRow, event_rows
from ..spine.canonical import ZERO_HASH, sha256, sorted_json
from ..spine.envelope import leaf_hash

__all__ = ["PAYLOAD_FIELDS", "RunScan", "StreamScan", "checked_rows", "scan_run"]

PAYLOAD_FIELDS = (
    "input_hash",
    "metadata_hash",
    "output_hash",
    "error_hash",
    "input_schema_hash",
    "subject_hash",
    "items_hash",
)
"""Where the data of a run's event names a payload."""

_RECEIPTED = frozenset({"FC-STEP-002", "FC-STEP-003"} | {f"FC-GATE-00{n}" for n in (2, 3, 4, 5)})


class _Tightened(msgspec.Struct):
    policy_hash: str


class _Data(msgspec.Struct):
    input_hash: str | None = None
    metadata_hash: str | None = None
    output_hash: str | None = None
    error_hash: str | None = None
    input_schema_hash: str | None = None
    subject_hash: str | None = None
    items_hash: str | None = None
    policy_hash: str | None = None
    tightened: _Tightened | None = None
    receipt_hash: str | None = None
    workflow_receipt_hash: str | None = None
    workflow_id: str | None = None
    workflow_version: str | None = None
    definition_hash: str | None = None
    new_status: str | None = None


class _Wire(msgspec.Struct):
    seq: int
    prev: str
    type: str
    tenant: str
    data: _Data


_wire = msgspec.json.Decoder(_Wire)


class StreamScan(msgspec.Struct):
    """The events of a stream that go into a pack: the leaf index of each, in order, and the hash of
    the last."""

    stream: str
    positions: "array[int]"
    head: str = ZERO_HASH

    def take(self, row: EventRow) -> None:
        self.positions.append(row.position)
        self.head = row.hash


class RunScan(StreamScan, kw_only=True):
    """`payloads` are the hashes that the run's events name, `policies` the bundles that decided, in
    order of appearance; `receipt` is the workflow receipt, None while the run is under way."""

    run_id: str
    payloads: set[str] = set()
    policies: dict[str, None] = {}
    definition_hash: str | None = None
    receipt: dict[str, Any] | None = None


def checked_rows(rows: Iterable[EventRow], stream: str) -> Iterator[EventRow]:
    """The rows, each found to be what its hash says and to follow the one before it. Raises
    `IntegrityError` that names the first which does not."""
    seq, head = 0, ZERO_HASH
    for row in rows:
        try:
            wire = _wire.decode(row.body)
        except msgspec.MsgspecError as e:
            raise _wrong(row, stream, "its bytes are not an event") from e
        if leaf_hash(row.body) != row.hash:
            raise _wrong(row, stream, "its bytes do not have the hash that is stored")
        if (wire.seq, row.seq, wire.prev) != (seq, seq, head):
            raise _wrong(row, stream, "it does not follow the event before it")
        seq, head = seq + 1, row.hash
        yield row


def _wrong(row: EventRow, stream: str, why: str) -> IntegrityError:
    detail = f"Event {row.seq} of {stream} is not what was written: {why}."
    return IntegrityError(detail, stream=stream, seq=row.seq, position=row.position)


def scan_run(c: Connection, run_id: str) -> RunScan:
    """Walk through a run. Raises `IntegrityError` where its events or its receipt do not hold."""
    stream = f"run:{run_id}"
    scan = RunScan(stream, array("q"), run_id=run_id)
    facts = _Facts(scan)
    for row in checked_rows(event_rows(c, stream), stream):
        facts.take(row, _wire.decode(row.body))
        scan.take(row)
    return scan


class _Facts:
    """What accumulates on the way."""

    def __init__(self, scan: RunScan) -> None:
        self.scan = scan
        self.chain: list[str] = []
        self.born: dict[str, Any] = {}

    def take(self, row: EventRow, wire: _Wire) -> None:
        scan, data = self.scan, wire.data
        if wire.seq == 0:
            scan.definition_hash = data.definition_hash
            self.born = {
                "definition_hash": data.definition_hash,
                "first_event_hash": row.hash,
                "run_id": scan.run_id,
                "tenant": wire.tenant,
                "v": 1,
                "workflow_id": data.workflow_id,
                "workflow_version": data.workflow_version,
            }
        if wire.type == "FC-RUN-003":
            scan.receipt = self._receipt(row, wire)
        scan.payloads.update(h for f in PAYLOAD_FIELDS if (h := getattr(data, f)))
        for digest in (data.policy_hash, data.tightened and data.tightened.policy_hash):
            if digest:
                scan.policies[digest] = None
        if wire.type in _RECEIPTED and data.receipt_hash:
            self.chain.append(data.receipt_hash)

    def _receipt(self, row: EventRow, wire: _Wire) -> dict[str, Any]:
        """Over every event before the one that ends the run, which holds its hash."""
        receipt = self.born | {
            "event_count": wire.seq,
            "last_event_hash": wire.prev,
            "outcome": wire.data.new_status,
            "policy_hashes": list(self.scan.policies),
            "receipt_chain": self.chain,
        }
        if sha256(sorted_json(receipt)) != wire.data.workflow_receipt_hash:
            raise _wrong(row, self.scan.stream, "its receipt tells something else")
        return receipt
