"""`fedcore gates`: see what waits for people, and answer it."""

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from ..client import ApiError, Client
from ..errors import NotFound
from ..identity import Scope
from .confirming import MIN_REASON, YesFlag, check_reason, confirm
from .gate_answers import Answer, give
from .gate_choice import (
    Choice,
    MineFlag,
    WhereOption,
    WorkflowOption,
    asked,
    choosing,
    pick,
    select,
)
from .gate_filter import Filter
from .groups import Command, noun
from .makers import takes
from .run_report import header, steps
from .session import Session, server
from .tables import age, colored, facts, fixed, folded, moment, table

__all__ = ["app"]

_LOOK_UPS = 100
"""Runs that are asked for the name of their workflow."""

app = noun("See what waits for people, and answer it.")

Json = dict[str, Any]

_GateId = Annotated[str, typer.Argument(metavar="GATE", help="The id of the gate.")]


@app.command("list", cls=Command)
@takes(server())
def list_(
    session: Session,
    mine: MineFlag = False,
    workflow: WorkflowOption = None,
    where: WhereOption = None,
) -> None:
    """List the gates that wait, the oldest first."""
    picks = select(session, Filter(workflow, where), mine=mine)
    gates = [pick.gate for pick in picks]
    if session.out.as_json or not gates:
        session.out.show(gates, "No such gate waits.")
        return
    known = {pick.run["run_id"]: pick.run["workflow_id"] for pick in picks if pick.run}
    columns = [fixed("GATE, RUN"), folded("NAME, WORKFLOW"), folded("ASKED")]
    rows: list[list[Any]] = []
    for gate, workflow_id in zip(gates, _workflows(session.client, gates, known), strict=True):
        rows.append([gate["gate_id"], gate["gate_name"], asked(gate), age(gate["created_at"])])
        rows.append([f" {gate['run_id']}", workflow_id, "", ""])
    session.out.show(gates, table([*columns, fixed("AGE", right=True)], rows))


def _workflows(
    client: Client, gates: Iterable[Json], known: dict[str, str]
) -> Iterator[str | None]:
    """The workflow of each gate's run, for so many runs that nobody has to wait long."""
    left = _LOOK_UPS
    for gate in gates:
        run_id = gate["run_id"]
        if run_id not in known and left:
            left -= 1
            known[run_id] = client.get_run(run_id)["run"]["workflow_id"]
        yield known.get(run_id)


@app.command("show", cls=Command)
@takes(server())
def show(
    session: Session,
    gate_id: _GateId,
    run_id: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="Its run; needed where it waits no more."),
    ] = None,
) -> None:
    """Show a gate, and the run and step that it is about."""
    client = session.client
    run_id = run_id or _waiting(client, gate_id)["run_id"]
    answer = client.get_run(run_id, gates=True, steps=True)
    gate = _only(gate_id, answer["gates"])
    about = [step for step in answer["steps"] if step["step_id"] == gate["step_id"]]
    subject = _subject(client, run_id, about)
    parts = [_facts(gate, about, subject), "", *header(answer["run"]), *steps(about)]
    shown = {"gate": gate, "run": answer["run"], "steps": about, "subject": subject}
    session.out.show(shown, *parts)


@app.command("approve", cls=Command)
@takes(server())
@takes(choosing)
def approve(choice: Choice, session: Session) -> None:
    """Approve gates: those named, or all that wait and fit a filter.

    A filter shows what it found and asks before anything is approved. Exit status 1 where a gate
    was refused; the others are approved all the same.
    """
    _answer(session, choice, approve=True)


@app.command("reject", cls=Command)
@takes(server())
@takes(choosing)
def reject(choice: Choice, session: Session) -> None:
    """Reject gates, and so end their runs; chosen as with approve."""
    _answer(session, choice, approve=False)


@app.command("bypass", cls=Command)
@takes(server(Scope.GATE_BYPASS))
def bypass(
    session: Session,
    gate_id: _GateId,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help=f"Why nobody could be asked, in at least {MIN_REASON} characters.",
        ),
    ],
    yes: YesFlag = False,
) -> None:
    """Emergency: let a run through without its approvers, loudly.

    It needs the scope gate:bypass, and policy may forbid it.
    """
    check_reason(reason)
    waiting = _waiting(session.client, gate_id)
    question = (
        f"Let run {waiting['run_id']} pass gate {waiting['gate_name']} without approval? It "
        "cannot be undone, and stays on record."
    )
    confirm(session.out, question, yes=yes)
    gate = session.client.bypass_gate(waiting["run_id"], gate_id, reason)
    session.out.show(gate, f"Gate {gate_id} is {gate['status']}; the audit trail says so.")


def _answer(session: Session, choice: Choice, *, approve: bool) -> None:
    answer = Answer(approve, choice.reason, choice.given)
    give(session, answer, pick(session, choice, answer.verb))


def _waiting(client: Client, gate_id: str) -> Json:
    found = [gate for gate in client.pending_gates() if gate["gate_id"] == gate_id]
    if not found:
        raise NotFound(
            f"No gate {gate_id} waits; `fedcore gates list` shows those that do.",
            code="gate_not_found",
        )
    return found[0]


def _only(gate_id: str, gates: list[Json]) -> Json:
    for gate in gates:
        if gate["gate_id"] == gate_id:
            return gate
    raise NotFound(f"This run has no gate {gate_id}.", code="gate_not_found")


def _subject(client: Client, run_id: str, about: list[Json]) -> Any:
    """What the step at the gate was asked about: who approves it must be able to see it."""
    if not about or about[0]["input_hash"] is None:
        return None
    try:
        return client.payload(run_id, about[0]["input_hash"])
    except ApiError as e:
        if e.status in (403, 404):
            return e.detail
        raise


def _facts(gate: Json, about: list[Json], subject: Any) -> Table:
    decision = about[0]["decision"] if about else None
    return facts(
        [
            ("Gate", gate["gate_id"]),
            ("Name", gate["gate_name"]),
            ("Status", colored(gate["status"])),
            ("About", gate["description"]),
            ("Step", gate["step_id"]),
            ("Subject", json.dumps(subject, ensure_ascii=False) if subject else None),
            ("Asked", asked(gate)),
            ("Approved", ", ".join(a["actor_id"] for a in gate["approvals"])),
            ("Rejected", gate["rejection_reason"]),
            ("Policy", decision and f"{decision['decision']}: {decision['reason']}"),
            ("Rules", decision and ", ".join(decision["rules_triggered"])),
            ("Since", moment(gate["created_at"])),
            ("Until", moment(gate["expires_at"])),
            ("Answered", moment(gate["resolved_at"])),
            ("Wants", gate["input_schema"] and "an --input that fits its schema (see --json)"),
        ]
    )
