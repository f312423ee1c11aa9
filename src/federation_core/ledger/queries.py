"""Reading: each function takes a connection and returns plain values. Tenants are a parameter of
every query that a caller's request leads to."""

import msgspec
from sqlalchemy import Connection, case, func, or_, select

from ..spine.envelope import Head
from ..spine.times import from_rfc3339
from .append import Answer, Payload
from .documents import GateDoc, RunDoc, StepDoc, WorkflowDoc
from .schema import (
    answers,
    events,
    gates,
    meta,
    nodes,
    objects,
    packs,
    payloads,
    runs,
    steps,
    streams,
    workflows,
)

__all__ = [
    "GatesWaiting",
    "answer",
    "bodies",
    "count_events",
    "due_runs",
    "gates_of",
    "gates_waiting",
    "head",
    "last_at",
    "list_runs",
    "newest_workflow",
    "object_text",
    "packs_of",
    "payload_hashes",
    "payloads_of",
    "pending_gates",
    "policy_streams",
    "receipt_hashes",
    "run_of_gate",
    "run_row",
    "runs_ahead",
    "setting",
    "steps_of",
    "stream_tenant",
    "streams_with",
    "workflow_row",
    "workflow_rows",
]

RECEIPTED = (
    "FC-STEP-002",
    "FC-STEP-003",
    "FC-GATE-002",
    "FC-GATE-003",
    "FC-GATE-004",
    "FC-GATE-005",
)
"""Events that carry a receipt."""

_run = msgspec.json.Decoder(RunDoc)
_step = msgspec.json.Decoder(StepDoc)
_gate = msgspec.json.Decoder(GateDoc)
_workflow = msgspec.json.Decoder(WorkflowDoc)


def setting(c: Connection, key: str) -> str | None:
    """A value of the `meta` table."""
    return c.execute(select(meta.c.value).where(meta.c.key == key)).scalar()


def head(c: Connection, stream: str) -> Head:
    row = c.execute(
        select(streams.c.next_seq, streams.c.head).where(streams.c.stream == stream)
    ).first()
    return Head() if row is None else Head(row.next_seq, row.head)


def last_at(c: Connection, stream: str) -> int:
    """When the last event of a stream was, in microseconds; 0 where there is none. An event is
    never older than the one before it, also where a clock was set back."""
    query = select(events.c.body).where(events.c.stream == stream)
    body = c.execute(query.order_by(events.c.seq.desc()).limit(1)).scalar()
    return 0 if body is None else from_rfc3339(msgspec.json.decode(body)["at"])


def stream_tenant(c: Connection, stream: str) -> str | None:
    """Whose stream it is; None where there is none."""
    return c.execute(select(streams.c.tenant).where(streams.c.stream == stream)).scalar()


def bodies(
    c: Connection,
    stream: str,
    *,
    first: int = 0,
    type_: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[bytes]:
    """Event bytes of a stream in order, from `seq` `first` on, all types or one."""
    query = select(events.c.body).where(events.c.stream == stream, events.c.seq >= first)
    if type_ is not None:
        query = query.where(events.c.type == type_)
    query = query.order_by(events.c.seq).offset(offset)
    if limit is not None:
        query = query.limit(limit)
    return [body.encode() for body in c.execute(query).scalars()]


def count_events(c: Connection) -> int:
    return c.execute(select(func.count()).select_from(events)).scalar_one()


def payloads_of(c: Connection, stream: str, hashes: list[str]) -> dict[str, Payload]:
    """Payloads of a stream by hash; those that were erased are missing."""
    if not hashes:
        return {}
    query = select(payloads.c.hash, payloads.c.salt, payloads.c.value).where(
        payloads.c.stream == stream, payloads.c.hash.in_(hashes)
    )
    return {r.hash: Payload(r.hash, r.value.encode(), r.salt) for r in c.execute(query)}


def object_text(c: Connection, digest: str) -> str | None:
    return c.execute(select(objects.c.body).where(objects.c.hash == digest)).scalar()


def payload_hashes(c: Connection, stream: str) -> list[str]:
    """Every payload of a stream that was not erased."""
    query = select(payloads.c.hash).where(payloads.c.stream == stream).order_by(payloads.c.hash)
    return list(c.execute(query).scalars().all())


def streams_with(c: Connection, tenant: str, digest: str) -> list[str]:
    """The streams of a tenant that have this payload."""
    query = (
        select(payloads.c.stream)
        .join(streams, streams.c.stream == payloads.c.stream)
        .where(payloads.c.hash == digest, streams.c.tenant == tenant)
        .order_by(payloads.c.stream)
    )
    return list(c.execute(query).scalars())


def packs_of(c: Connection, run_id: str) -> list[str]:
    """Hashes of the evidence packs that were made of a run, the newest first."""
    query = select(packs.c.hash).where(packs.c.run_id == run_id)
    return list(c.execute(query.order_by(packs.c.made_at.desc(), packs.c.hash)).scalars())


class _Receipted(msgspec.Struct):
    class _Data(msgspec.Struct):
        receipt_hash: str

    data: _Data


_receipted = msgspec.json.Decoder(_Receipted)


class _Registered(msgspec.Struct):
    class _Data(msgspec.Struct):
        version: str

    data: _Data


_registered = msgspec.json.Decoder(_Registered)


def receipt_hashes(c: Connection, stream: str) -> list[str]:
    """The chain of receipts in a run's stream, in order."""
    query = (
        select(events.c.body)
        .where(events.c.stream == stream, events.c.type.in_(RECEIPTED))
        .order_by(events.c.seq)
    )
    return [_receipted.decode(body).data.receipt_hash for body in c.execute(query).scalars()]


def policy_streams(c: Connection) -> list[tuple[str, str]]:
    """(stream, tenant) of every tenant that ever activated a bundle."""
    query = select(streams.c.stream, streams.c.tenant).where(streams.c.stream.like("policy:%"))
    return [(row.stream, row.tenant) for row in c.execute(query)]


def run_row(c: Connection, tenant: str, run_id: str) -> RunDoc | None:
    query = select(runs.c.doc).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
    doc = c.execute(query).scalar()
    return None if doc is None else _run.decode(doc)


def list_runs(
    c: Connection,
    tenant: str,
    *,
    status: str | None,
    workflow_id: str | None,
    before: str | None,
    limit: int,
) -> list[RunDoc]:
    """Newest first (run ids are ordered by time); `before` is the last id of the page before."""
    query = select(runs.c.doc).where(runs.c.tenant == tenant)
    if status is not None:
        query = query.where(runs.c.status == status)
    if workflow_id is not None:
        query = query.where(runs.c.workflow_id == workflow_id)
    if before is not None:
        query = query.where(runs.c.run_id < before)
    query = query.order_by(runs.c.run_id.desc()).limit(limit)
    return [_run.decode(doc) for doc in c.execute(query).scalars()]


def steps_of(c: Connection, run_id: str) -> list[StepDoc]:
    query = select(steps.c.doc).where(steps.c.run_id == run_id).order_by(steps.c.step_index)
    return [_step.decode(doc) for doc in c.execute(query).scalars()]


def gates_of(c: Connection, run_id: str) -> list[GateDoc]:
    query = select(gates.c.doc).where(gates.c.run_id == run_id).order_by(gates.c.gate_id)
    return [_gate.decode(doc) for doc in c.execute(query).scalars()]


def pending_gates(c: Connection, tenant: str, *, limit: int) -> list[GateDoc]:
    """Gates that wait for people, oldest first; those of ended runs wait for nobody."""
    query = (
        select(gates.c.doc)
        .join(runs, runs.c.run_id == gates.c.run_id)
        .where(
            gates.c.tenant == tenant,
            gates.c.status == "pending",
            runs.c.status.in_(("pending", "running", "paused")),
        )
        .order_by(gates.c.gate_id)
        .limit(limit)
    )
    return [_gate.decode(doc) for doc in c.execute(query).scalars()]


class GatesWaiting(msgspec.Struct, frozen=True):
    """How many gates wait for people, how many of them because a step is in doubt, and since when
    the longest of either kind (RFC 3339)."""

    pending: int = 0
    in_doubt: int = 0
    oldest: str | None = None
    oldest_in_doubt: str | None = None


def gates_waiting(c: Connection) -> GatesWaiting:
    """Of all tenants together. It looks into each tenant's index in turn, and so never reads the
    gates that are closed."""
    found = GatesWaiting()
    tenant = c.execute(select(func.min(gates.c.tenant))).scalar()
    while tenant is not None:
        found = _with_tenant(c, tenant, found)
        following = select(func.min(gates.c.tenant)).where(gates.c.tenant > tenant)
        tenant = c.execute(following).scalar()
    return found


_DOUBT = '%"gate_type":"in_doubt"%'
"""In a gate's row these quotes can only be its own: those inside its texts are escaped."""


def _with_tenant(c: Connection, tenant: str, found: GatesWaiting) -> GatesWaiting:
    doubt = case((gates.c.doc.like(_DOUBT), 1), else_=0)
    query = (
        select(doubt, func.count(), func.min(gates.c.gate_id))
        .join(runs, runs.c.run_id == gates.c.run_id)
        .where(
            gates.c.tenant == tenant,
            gates.c.status == "pending",
            runs.c.status.in_(("pending", "running", "paused")),
        )
        .group_by(doubt)
    )
    for is_doubt, count, first in c.execute(query):
        doc = c.execute(select(gates.c.doc).where(gates.c.gate_id == first)).scalar_one()
        asked = _gate.decode(doc).created_at
        oldest = min(asked, found.oldest or asked)
        found = msgspec.structs.replace(found, pending=found.pending + count, oldest=oldest)
        if is_doubt:
            oldest = min(asked, found.oldest_in_doubt or asked)
            found = msgspec.structs.replace(
                found, in_doubt=found.in_doubt + count, oldest_in_doubt=oldest
            )
    return found


def run_of_gate(c: Connection, gate_id: str) -> tuple[str, str] | None:
    """(run id, tenant) of a gate, whoever's it is."""
    row = c.execute(
        select(gates.c.run_id, gates.c.tenant).where(gates.c.gate_id == gate_id)
    ).first()
    return None if row is None else (row.run_id, row.tenant)


def due_runs(
    c: Connection, now: int, *, limit: int, node: str | None = None
) -> list[tuple[str, int]]:
    """Run ids to wake, with when they were due (microseconds), the longest due first. To `node`,
    where there are several, those of other nodes that live are not."""
    query = (
        select(runs.c.run_id, runs.c.wake_at)
        .where(runs.c.wake_at.is_not(None), runs.c.wake_at <= now)
        .order_by(runs.c.wake_at)
        .limit(limit)
    )
    if node is not None:
        others = select(nodes.c.node).where(nodes.c.fenced == 0, nodes.c.node != node)
        query = query.where(or_(runs.c.node.is_(None), runs.c.node.not_in(others)))
    return [(row.run_id, row.wake_at) for row in c.execute(query)]


def runs_ahead(c: Connection, now: int) -> list[str]:
    """Runs to wake whose last event is later than `now`: the clock was set back since, so when they
    are due by their own time says nothing. Looks at every run that has something to do later."""
    query = select(runs.c.run_id, runs.c.doc).where(runs.c.wake_at > now)
    return [
        run_id
        for run_id, doc in c.execute(query)
        if from_rfc3339(_run.decode(doc).updated_at) > now
    ]


def workflow_row(c: Connection, tenant: str, workflow_id: str, version: str) -> WorkflowDoc | None:
    query = select(workflows.c.doc).where(
        workflows.c.tenant == tenant,
        workflows.c.workflow_id == workflow_id,
        workflows.c.version == version,
    )
    doc = c.execute(query).scalar()
    return None if doc is None else _workflow.decode(doc)


def newest_workflow(c: Connection, tenant: str, workflow_id: str) -> WorkflowDoc | None:
    """The version that was registered last, whatever the clock said then."""
    query = (
        select(events.c.body)
        .where(events.c.stream == f"workflow:{tenant}/{workflow_id}", events.c.type == "FC-WF-001")
        .order_by(events.c.seq.desc())
        .limit(1)
    )
    body = c.execute(query).scalar()
    if body is None:
        return None
    return workflow_row(c, tenant, workflow_id, _registered.decode(body).data.version)


def workflow_rows(c: Connection, tenant: str) -> list[WorkflowDoc]:
    query = (
        select(workflows.c.doc)
        .where(workflows.c.tenant == tenant)
        .order_by(workflows.c.workflow_id, workflows.c.registered_at)
    )
    return [_workflow.decode(doc) for doc in c.execute(query).scalars()]


def answer(c: Connection, tenant: str, key: str) -> Answer | None:
    row = c.execute(select(answers).where(answers.c.tenant == tenant, answers.c.key == key)).first()
    if row is None:
        return None
    return Answer(
        row.tenant, row.key, row.request_hash, row.status, row.body.encode(), row.answered_at
    )
