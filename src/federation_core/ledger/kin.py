"""Child runs as rows: who has to look when one of them ends, or nobody waits for it any more.

`steps.awaits` names the run that a step waits for, as long as it does; `runs.executes_for` the run
of whose step a run is the execution, until it ends. Both follow from one stream each, so what does
not fit together between them is what a crash has left to be done.
"""

import msgspec
from sqlalchemy import Connection, exists, or_, select

from ..spine.children import MAX_DEPTH, REFUSED, abandoned_child
from ..spine.events import StepFailed
from ..spine.run import FINAL
from ..spine.turn import Turn
from .append import Payload
from .documents import RunDoc, WorkflowDoc
from .queries import newest_workflow, payloads_of, run_row, workflow_row
from .said import Errors
from .schema import runs, steps

__all__ = [
    "Ended",
    "Nursery",
    "ended_child",
    "is_awaited",
    "kin_to_wake",
    "nursery",
    "runs_to_wake",
]


def runs_to_wake(turn: Turn) -> tuple[str, ...]:
    """The runs that have something to do because of this turn: a child that was just born, the
    parent of one that has ended, a child that its parent has given up."""
    run = turn.run
    found: list[str] = []
    if run.parent_step is not None and run.parent_run_id is not None:
        if turn.base.seq == 0:
            found.append(run.run_id)
        if run.is_ended:
            found.append(run.parent_run_id)
    for event in turn.events:
        data = event.data
        if isinstance(data, StepFailed) and data.error_type != REFUSED:
            child = abandoned_child(run, data)
            found.extend([child] if child else [])
    return tuple(found)


def is_awaited(c: Connection, run_id: str) -> bool:
    """Whether a step waits for this child run."""
    return c.execute(select(exists().where(steps.c.awaits == run_id))).scalar_one()


def kin_to_wake(c: Connection, *, limit: int) -> list[str]:
    """Runs that a crash kept from being woken: parents whose child has ended, or was never born,
    and children that nobody waits for. However many runs wait, those that wait for what is still
    under way are not among them."""
    ended = runs.c.status.in_(sorted(FINAL))
    parents = (
        select(steps.c.run_id)
        .select_from(steps.outerjoin(runs, runs.c.run_id == steps.c.awaits))
        .where(steps.c.awaits.is_not(None), or_(runs.c.run_id.is_(None), ended))
        .distinct()
        .limit(limit)
    )
    orphans = (
        select(runs.c.run_id)
        .where(runs.c.executes_for.is_not(None), ~exists().where(steps.c.awaits == runs.c.run_id))
        .limit(limit)
    )
    return [*c.execute(parents).scalars(), *c.execute(orphans).scalars()]


class Ended(msgspec.Struct, frozen=True):
    """How a child run ended, its output where it completed and that was not erased, and what was
    said of why it did not."""

    doc: RunDoc
    output: Payload | None
    errors: Errors


def ended_child(c: Connection, tenant: str, run_id: str) -> Ended | bool:
    """How the run ended; True where it is under way, False where there is none."""
    doc = run_row(c, tenant, run_id)
    if doc is None or doc.status not in FINAL:
        return doc is not None
    named = [digest for digest in (doc.output_hash, doc.error_hash) if digest]
    found = payloads_of(c, f"run:{run_id}", named)
    return Ended(doc, found.get(doc.output_hash or ""), found)


class Nursery(msgspec.Struct, frozen=True):
    """What a child run is born from: the version that is meant (None where it is not registered),
    how deep its parent stands, and values of the parent by hash."""

    workflow: WorkflowDoc | None
    depth: int
    values: dict[str, Payload]


def nursery(
    c: Connection,
    tenant: str,
    parent: str,
    *,
    workflow: str,
    version: str | None,
    hashes: list[str],
) -> Nursery:
    """For a child of the run `parent`; without a `version` the one that was registered last."""
    if version is None:
        doc = newest_workflow(c, tenant, workflow)
    else:
        doc = workflow_row(c, tenant, workflow, version)
    return Nursery(doc, depth_of(c, tenant, parent), payloads_of(c, f"run:{parent}", hashes))


def depth_of(c: Connection, tenant: str, run_id: str) -> int:
    """How many runs stand above this one, each with a step that the one below it executes; no
    more than `MAX_DEPTH` are counted."""
    depth = 0
    while depth < MAX_DEPTH:
        doc = run_row(c, tenant, run_id)
        if doc is None or doc.parent_step is None or doc.parent_run_id is None:
            break
        depth, run_id = depth + 1, doc.parent_run_id
    return depth
