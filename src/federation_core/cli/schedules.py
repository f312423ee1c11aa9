"""`fedcore schedule`: runs at the ticks of a cron expression."""

from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from .groups import Command, noun
from .inputs import read_object
from .makers import takes
from .session import Session, server
from .tables import colored, facts, fixed, folded, moment, table

__all__ = ["app"]

app = noun("Start runs at set times.")

_ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The id of the schedule.")]


@app.command("add", cls=Command)
@takes(server())
def add(
    session: Session,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The id of the workflow.")],
    cron: Annotated[
        str,
        typer.Argument(
            metavar="CRON", help="Minute, hour, day of the month, month, day of the week."
        ),
    ],
    *,
    schedule_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id; default one that is made.")
    ] = None,
    timezone: Annotated[
        str,
        typer.Option("--timezone", metavar="ZONE", help="A zone such as Europe/Berlin."),
    ] = "UTC",
    given: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="The input: JSON, @file, or - for stdin."),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="X.Y.Z", help="Default: the one registered last, then."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="May be repeated.")
    ] = None,
    catch_up: Annotated[
        Literal["all", "latest", "none"],
        typer.Option("--catch-up", help="Which missed ticks get a run when the server is back."),
    ] = "all",
) -> None:
    """Add a schedule; its runs act as you.

    For example, at six from Monday to Friday, by the clocks of Berlin:

    fedcore schedule add report "0 6 * * 1-5" --timezone Europe/Berlin
    """
    more: dict[str, Any] = {"timezone": timezone, "catch_up": catch_up, "tags": tag or []}
    if schedule_id is not None:
        more["schedule_id"] = schedule_id
    if version is not None:
        more["workflow_version"] = version
    added = session.client.add_schedule(workflow, cron, read_object(given, "--input"), **more)
    said = f"Schedule {added['schedule_id']} ticks first at {moment(added['next_at'])}."
    session.out.show(added, said)


@app.command("list", cls=Command)
@takes(server())
def list_(session: Session) -> None:
    """List the schedules."""
    found = session.client.schedules()
    columns = [
        folded("SCHEDULE"),
        folded("WORKFLOW"),
        folded("CRON"),
        fixed("STATUS"),
        fixed("NEXT"),
    ]
    rows = [
        [
            s["schedule_id"],
            s["workflow_id"],
            s["cron"],
            colored(s["status"]),
            moment(s["next_at"]),
        ]
        for s in found
    ]
    session.out.show(found, table(columns, rows) if rows else "There are no schedules.")


@app.command("show", cls=Command)
@takes(server())
def show(session: Session, schedule_id: _ScheduleId) -> None:
    """Show a schedule, and what became of its newest ticks."""
    answer = session.client.schedule(schedule_id)
    session.out.show(answer, *_parts(answer["schedule"], answer["ticks"]))


def _parts(schedule: dict[str, Any], ticks: list[dict[str, Any]]) -> list[RenderableType]:
    version = schedule["workflow_version"]
    pairs = [
        ("Schedule", schedule["schedule_id"]),
        ("Status", colored(schedule["status"])),
        ("Workflow", schedule["workflow_id"] + (f" {version}" if version else "")),
        ("Cron", f"{schedule['cron']} ({schedule['timezone']})"),
        ("Next", moment(schedule["next_at"])),
        ("Catches up", schedule["catch_up"]),
        ("Acts as", schedule["actor_id"]),
        ("Added", moment(schedule["added_at"])),
        ("Tags", ", ".join(schedule["tags"])),
    ]
    parts: list[RenderableType] = [facts(pairs)]
    if ticks:
        columns = [fixed("TICK"), fixed("OUTCOME"), folded("RUN OR REASON")]
        rows = [[moment(t["at"]), colored(t["outcome"]), _told(t)] for t in ticks]
        parts += ["", table(columns, rows)]
    return parts


def _told(tick: dict[str, Any]) -> Text | str | None:
    skipped = tick["skipped_from"]
    more = f"passed over from {moment(skipped)}" if skipped else None
    told = [text for text in (tick["run_id"], tick["reason"], more) if text]
    return "; ".join(told) or None


@app.command("pause", cls=Command)
@takes(server())
def pause(session: Session, schedule_id: _ScheduleId) -> None:
    """Hold a schedule.

    The ticks until it is resumed have no runs, whatever it catches up.
    """
    schedule = session.client.pause_schedule(schedule_id)
    session.out.show(schedule, f"Schedule {schedule_id} is paused.")


@app.command("resume", cls=Command)
@takes(server())
def resume(session: Session, schedule_id: _ScheduleId) -> None:
    """Let a schedule go on, with the first tick from now."""
    schedule = session.client.resume_schedule(schedule_id)
    said = f"Schedule {schedule_id} ticks next at {moment(schedule['next_at'])}."
    session.out.show(schedule, said)


@app.command("remove", cls=Command)
@takes(server())
def remove(session: Session, schedule_id: _ScheduleId) -> None:
    """Remove a schedule; its runs stay."""
    schedule = session.client.remove_schedule(schedule_id)
    session.out.show(schedule, f"Schedule {schedule_id} was removed.")
