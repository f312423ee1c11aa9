"""Views of what is durable, read from the projections."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from ..errors import Forbidden, NotFound
from ..ledger import queries
from ..ledger.documents import GateDoc, RunDoc
from ..spine.envelope import decode
from ..spine.events import RUN_EVENTS
from .log_entries import log_entry
from .views import Gate, LogEntry, PayloadAnswer, Run, RunAnswer, gate_view, run_view

__all__ = ["read_gates", "read_logs", "read_payload", "read_run", "read_runs", "require_run"]


def require_run(c: Connection, tenant: str, run_id: str) -> RunDoc:
    """The run's row. Raises `NotFound` where `tenant` has no such run."""
    doc = queries.run_row(c, tenant, run_id)
    if doc is None:
        raise NotFound(f"There is no run {run_id}.", code="run_not_found")
    return doc


def read_run(
    c: Connection, tenant: str, run_id: str, *, logs: bool, gates: bool, steps: bool
) -> RunAnswer:
    """One run whole; the lists that were not asked for are empty."""
    doc = require_run(c, tenant, run_id)
    return RunAnswer(
        _run(c, doc),
        read_logs(c, tenant, run_id, event_type=None, limit=None, offset=0) if logs else [],
        _gates(c, queries.gates_of(c, run_id)) if gates else [],
        queries.steps_of(c, run_id) if steps else [],
    )


def read_runs(
    c: Connection,
    tenant: str,
    *,
    status: str | None,
    workflow_id: str | None,
    before: str | None,
    limit: int,
) -> list[Run]:
    docs = queries.list_runs(
        c, tenant, status=status, workflow_id=workflow_id, before=before, limit=limit
    )
    return [_run(c, doc) for doc in docs]


def read_logs(
    c: Connection,
    tenant: str,
    run_id: str,
    *,
    event_type: str | None,
    limit: int | None,
    offset: int,
    first: int = 0,
) -> list[LogEntry]:
    """Log entries in order, from sequence number `first` on."""
    require_run(c, tenant, run_id)
    found = queries.bodies(
        c, f"run:{run_id}", first=first, type_=event_type, limit=limit, offset=offset
    )
    return [log_entry(decode(body, RUN_EVENTS)) for body in found]


def read_payload(c: Connection, tenant: str, run_id: str, digest: str) -> PayloadAnswer:
    """One value of a run by its hash."""
    require_run(c, tenant, run_id)
    found = queries.payloads_of(c, f"run:{run_id}", [digest]).get(digest)
    if found is None:
        raise NotFound(f"The run holds no value {digest}.", code="payload_not_found")
    if found.salt is not None:
        raise Forbidden("The value belongs to a sensitive step.", code="payload_sensitive")
    return PayloadAnswer(digest, msgspec.json.decode(found.value))


def read_gates(c: Connection, tenant: str, *, limit: int) -> list[Gate]:
    """Gates of `tenant` that wait for people, oldest first."""
    return _gates(c, queries.pending_gates(c, tenant, limit=limit))


def _run(c: Connection, doc: RunDoc) -> Run:
    hashes = [doc.input_hash, doc.metadata_hash, doc.output_hash, doc.error_hash]
    values = _values(c, f"run:{doc.run_id}", hashes)
    return run_view(doc, values, _receipts(c, doc.run_id), queries.packs_of(c, doc.run_id))


def _receipts(c: Connection, run_id: str) -> list[str]:
    return queries.receipt_hashes(c, f"run:{run_id}")


def _gates(c: Connection, docs: Iterable[GateDoc]) -> list[Gate]:
    return [
        gate_view(doc, _values(c, f"run:{doc.run_id}", [doc.input_schema_hash])) for doc in docs
    ]


def _values(c: Connection, stream: str, hashes: Iterable[str | None]) -> dict[str, Any]:
    found = queries.payloads_of(c, stream, [h for h in hashes if h])
    return {digest: msgspec.json.decode(payload.value) for digest, payload in found.items()}
