"""Views of what is durable, read from the projections."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from ..errors import Forbidden, NotFound
from ..ledger import Payload, queries
from ..ledger.documents import GateDoc, RunDoc
from ..ledger.said import Errors
from ..spine.envelope import decode
from ..spine.events import RUN_EVENTS
from .log_entries import error_hashes, log_entry
from .views import (
    Gate,
    LogEntry,
    PayloadAnswer,
    Run,
    RunAnswer,
    Step,
    gate_view,
    run_view,
    step_view,
)

__all__ = ["read_gates", "read_logs", "read_payload", "read_run", "read_runs", "require_run"]

_PAGE = 1_000
"""Payloads that are asked for at a time."""


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
        _steps(c, run_id) if steps else [],
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
    events = [decode(body, RUN_EVENTS) for body in found]
    errors = _errors(c, f"run:{run_id}", error_hashes(events))
    return [log_entry(event, errors) for event in events]


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
    stream = f"run:{doc.run_id}"
    values = _values(c, stream, [doc.input_hash, doc.metadata_hash, doc.output_hash])
    errors = _errors(c, stream, [doc.error_hash])
    return run_view(doc, values, errors, _receipts(c, doc.run_id), queries.packs_of(c, doc.run_id))


def _steps(c: Connection, run_id: str) -> list[Step]:
    docs = queries.steps_of(c, run_id)
    errors = _errors(c, f"run:{run_id}", [doc.error_hash for doc in docs])
    return [step_view(doc, errors) for doc in docs]


def _errors(c: Connection, stream: str, hashes: Iterable[str | None]) -> Errors:
    found: dict[str, Payload] = {}
    wanted = [digest for digest in dict.fromkeys(hashes) if digest]
    for begin in range(0, len(wanted), _PAGE):
        found |= queries.payloads_of(c, stream, wanted[begin : begin + _PAGE])
    return found


def _receipts(c: Connection, run_id: str) -> list[str]:
    return queries.receipt_hashes(c, f"run:{run_id}")


def _gates(c: Connection, docs: Iterable[GateDoc]) -> list[Gate]:
    return [
        gate_view(doc, _values(c, f"run:{doc.run_id}", [doc.input_schema_hash])) for doc in docs
    ]


def _values(c: Connection, stream: str, hashes: Iterable[str | None]) -> dict[str, Any]:
    found = queries.payloads_of(c, stream, [h for h in hashes if h])
    return {digest: msgspec.json.decode(payload.value) for digest, payload in found.items()}
