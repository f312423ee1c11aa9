"""`fedcore runs`: start, follow and steer runs."""

import math
import time
from itertools import islice
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from ..client import ApiError, Client
from .confirming import YesFlag, confirm
from .errors import REFUSED
from .fan_outs import item_of
from .groups import Command, noun
from .inputs import read_object
from .makers import takes
from .run_report import decisions, gates, header, steps, trail
from .session import Session, server
from .tables import age, colored, fixed, folded, table
from .watching import FINAL, watch

__all__ = ["app"]

app = noun("Start, follow and steer runs.")

_WAIT_S = 30
_CHILDREN = 10
"""Child runs under way that are looked at for gates."""

_Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]

_RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")]
_Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the audit trail.")
]


@app.command("start", cls=Command)
@takes(server())
def start(
    session: Session,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The id of the workflow.")],
    *,
    given: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="The input: JSON, @file, or - for stdin."),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="X.Y.Z", help="Default: the one registered last."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="May be repeated.")
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Wait until it ends or waits for people."
        ),
    ] = None,
    external: Annotated[
        bool, typer.Option("--external", help="A client does the work and reports it.")
    ] = False,
) -> None:
    """Start a run.

    Exit status 1 where the run has failed or was cancelled, which a policy's deny brings about;
    0 also where it is under way, or waits for people.
    """
    more: dict[str, Any] = {"tags": tag or []}
    if version is not None:
        more["workflow_version"] = version
    more["execution"] = "external" if external else "managed"
    deadline = time.monotonic() + (wait or 0)
    client = session.client
    turn = min(wait, _WAIT_S) if wait else None
    run = client.create_run(workflow, read_object(given, "--input"), wait=turn, **more)["run"]
    _show_new(session, _waited(client, run["run_id"], deadline))


@app.command("restart", cls=Command)
@takes(server())
def restart(
    session: Session,
    run_id: _RunId,
    *,
    step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="The first step that is done again.")
    ],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Instead of the old run's; may be repeated."),
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Wait until it ends or waits for people."
        ),
    ] = None,
) -> None:
    """Do a run that failed or was cancelled again, from a step on.

    That is a new run of the same workflow version with the same input. Steps that ended well, and
    do not wait for that one, are carried over with their receipts; all else is decided and done
    anew. Exit status as that of `fedcore runs start`.
    """
    deadline = time.monotonic() + (wait or 0)
    more: dict[str, Any] = {"tags": tag} if tag else {}
    client = session.client
    turn = min(wait, _WAIT_S) if wait else None
    run = client.restart_run(run_id, step, wait=turn, **more)["run"]
    _show_new(session, _waited(client, run["run_id"], deadline))


def _show_new(session: Session, answer: dict[str, Any]) -> None:
    """How a new run stands; exit status 1 where it has ended, and not well."""
    session.out.show(answer, *header(answer["run"]), *gates(answer["gates"]))
    waiting = [gate["gate_id"] for gate in answer["gates"] if gate["status"] == "pending"]
    if waiting:
        session.out.note(f"\nIt waits for people: see `fedcore gates show {waiting[0]}`.")
    if answer["run"]["status"] in ("failed", "cancelled"):
        raise typer.Exit(REFUSED)


def _waited(client: Client, run_id: str, deadline: float) -> dict[str, Any]:
    """The run with its steps and gates, once it ended or paused, at the latest at `deadline`."""
    while True:
        answer = client.get_run(run_id, gates=True, steps=True)
        left = math.ceil(deadline - time.monotonic())
        if left <= 0 or answer["run"]["status"] in {*FINAL, "paused"}:
            return answer
        client.get_run(run_id, wait=min(left, _WAIT_S))


@app.command("list", cls=Command)
@takes(server())
def list_(
    session: Session,
    status: Annotated[_Status | None, typer.Option("--status", help="Only these.")] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="ID", help="Only runs of this workflow.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")
    ] = 20,
) -> None:
    """List runs, the newest first."""
    found = session.client.list_runs(status=status, workflow_id=workflow, limit=min(limit, 100))
    runs = list(islice(found, limit))
    columns = [fixed("RUN"), fixed("STATUS"), folded("WORKFLOW"), fixed("AGE", right=True)]
    rows = [
        [run["run_id"], colored(run["status"]), run["workflow_id"], age(run["created_at"])]
        for run in runs
    ]
    session.out.show(runs, table(columns, rows) if runs else "There are no such runs.")


@app.command("show", cls=Command)
@takes(server())
def show(
    session: Session,
    run_id: _RunId,
    logs: Annotated[bool, typer.Option("--logs", help="The audit trail too.")] = False,
) -> None:
    """Show a run: its steps, and what policy decided.

    With --logs also the audit trail, which tells the run's whole life in order.
    """
    client, out = session.client, session.out
    answer = client.get_run(run_id, logs=logs, gates=True, steps=True)
    decided = list(client.all_logs(run_id, event_type="FC-POLICY-001"))
    sizes = {}
    if any(item_of(step["step_id"]) for step in answer["steps"]):
        fanned = client.all_logs(run_id, event_type="FC-STEP-007")
        sizes = {entry["step_id"]: entry["details"]["items"] for entry in fanned}
    parts = header(answer["run"], _pause(client, answer["run"]))
    parts += [*steps(answer["steps"], sizes), *decisions(decided, sizes), *gates(answer["gates"])]
    if logs:
        parts += trail(answer["logs"], wide=out.is_wide)
    parts += [] if out.as_json else _waiting(client, answer)
    out.show(answer | {"decisions": decided}, *parts)


def _pause(client: Client, run: dict[str, Any]) -> dict[str, Any] | None:
    """The entry of the pause that a run is in, where an operator asked for it."""
    if run["status"] != "paused":
        return None
    *_, last = client.all_logs(run["run_id"], event_type="FC-RUN-002")
    return dict(last) if last["details"].get("hold") else None


def _waiting(client: Client, answer: dict[str, Any]) -> list[Text]:
    """Where people are waited for: at gates of the run, or of the child runs that execute its
    steps."""
    waiting = [(gate["gate_id"], "It") for gate in answer["gates"] if gate["status"] == "pending"]
    children = [s for s in answer["steps"] if s["child_run_id"] and s["status"] == "running"]
    for step in children[:_CHILDREN]:
        run_id = step["child_run_id"]
        try:
            gates_of = client.get_run(run_id, gates=True)["gates"]
        except ApiError as e:
            if e.status != 404:
                raise
            continue  # it is about to be born
        what = f"Run {run_id} (step {step['step_id']})"
        waiting += [(g["gate_id"], what) for g in gates_of if g["status"] == "pending"]
    return [
        Text(f"\n{what} waits for people: see `fedcore gates show {gate_id}`.")
        for gate_id, what in waiting
    ]


@app.command("watch", cls=Command)
@takes(server())
def watch_(session: Session, run_id: _RunId) -> None:
    """Follow a run until it ends, live.

    With --json each entry of the audit trail on a line of its own. Exit status 1 where the run
    failed or was cancelled. Ctrl-C leaves the run alone.
    """
    if watch(session.client, run_id, session.out) != "completed":
        raise typer.Exit(REFUSED)


@app.command("cancel", cls=Command)
@takes(server())
def cancel(session: Session, run_id: _RunId, reason: _Reason = None, yes: YesFlag = False) -> None:
    """Cancel a run for good."""
    confirm(session.out, f"Cancel run {run_id}? It cannot be undone.", yes=yes)
    _change(session, run_id, "cancelled", reason)


@app.command("pause", cls=Command)
@takes(server())
def pause(session: Session, run_id: _RunId, reason: _Reason = None) -> None:
    """Hold a run before its next step."""
    _change(session, run_id, "paused", reason)


@app.command("resume", cls=Command)
@takes(server())
def resume(session: Session, run_id: _RunId, reason: _Reason = None) -> None:
    """Let a run go on that somebody paused.

    A run that waits at a gate goes on through the gate alone: see `fedcore gates`.
    """
    _change(session, run_id, "running", reason)


def _change(session: Session, run_id: str, status: str, reason: str | None) -> None:
    more = {} if reason is None else {"reason": reason}
    run = session.client.change_status(run_id, status, **more)["run"]
    said = Text.assemble(f"Run {run_id} is ", colored(run["status"]), ".")
    session.out.show(run, said)
