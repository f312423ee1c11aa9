"""From the state of a run to the rows that change with it: the same function whether the events
are new or read again, so that rebuilt rows come out equal."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..spine.actions import next_actions
from ..spine.canonical import canonical
from ..spine.children import awaited_child
from ..spine.envelope import Event
from ..spine.run import Run
from ..spine.steps import Running
from ..spine.times import to_rfc3339
from ..spine.turn import Turn
from .append import Answer, Append, Payload
from .documents import WorkflowDoc, gate_doc, run_doc, step_doc
from .kin import runs_to_wake

__all__ = ["append_of", "rows_of", "wake_at", "workflow_row"]

_encode = msgspec.json.encode


def wake_at(run: Run) -> int | None:
    """When the engine has to look at the run again, in microseconds: at once (the time of its last
    event) while it has something to do, at its next timer, or None where it waits for people."""
    following = next_actions(run, run.last_at, executing=frozenset())
    return run.last_at if following.actions else following.wake_at


def rows_of(
    run: Run, steps: Iterable[str], gates: Iterable[str]
) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the run itself, and of those of its steps and gates that are named."""
    run_id, tenant = run.run_id, run.tenant
    run_row = (
        run_id,
        tenant,
        run.workflow_id,
        run.status,
        wake_at(run),
        _encode(run_doc(run)).decode(),
        _node_of(run),
        run.parent_run_id if run.parent_step and not run.is_ended else None,
    )
    step_rows = [
        (
            run_id,
            step.index,
            _encode(step_doc(run, step)).decode(),
            awaited_child(run, step.step_id),
        )
        for step in (run.steps[s] for s in steps if s in run.steps)
    ]
    gate_rows = [
        (gate.gate_id, run_id, tenant, gate.status, _encode(gate_doc(run, gate)).decode())
        for gate in (run.gates[g] for g in gates if g in run.gates)
    ]
    return {"runs": [run_row], "steps": step_rows, "gates": gate_rows}


def _node_of(run: Run) -> str | None:
    """A node that executes a step of the run; where there are several, the first."""
    states = (run.steps[step_id].state for step_id in run.in_flight)
    return next((s.node for s in states if isinstance(s, Running) and s.node), None)


def workflow_row(event: Event) -> tuple[str, str, str, str, str]:
    """Row of a registered version, from its `FC-WF-001`."""
    data, at = event.data, to_rfc3339(event.at)
    doc = WorkflowDoc(
        workflow_id=data["workflow_id"],
        version=data["version"],
        definition_hash=data["definition_hash"],
        artifact_hashes={a["name"]: a["sha256"] for a in data["artifacts"]},
        registered_at=at,
    )
    return (event.tenant, doc.workflow_id, doc.version, at, _encode(doc).decode())


def append_of(turn: Turn, payloads: list[Payload], answer: Answer | None = None) -> Append:
    """What the ledger is to store of a turn. A new run's steps are all written with its birth."""
    run = turn.run
    steps = run.steps if turn.base.seq == 0 else turn.touched_steps
    made = [Payload(digest, canonical(value)) for digest, value in turn.values.items()]
    return Append(
        stream=run.stream,
        tenant=run.tenant,
        base=turn.base,
        events=turn.events,
        payloads=payloads + made,
        rows=rows_of(run, steps, turn.touched_gates),
        answer=answer,
        wakes=runs_to_wake(turn),
    )
