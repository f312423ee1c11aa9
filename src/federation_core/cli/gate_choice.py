"""Which gates a command is about: those named, or those that a filter finds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from .confirming import YesFlag
from .errors import REFUSED
from .gate_filter import Filter, Pick
from .inputs import read_object
from .session import Session
from .tables import fixed, folded, table

__all__ = [
    "Choice",
    "GateRef",
    "MineFlag",
    "WhereOption",
    "WorkflowOption",
    "asked",
    "choosing",
    "pick",
    "select",
]

Json = dict[str, Any]
GateRef = tuple[str, str | None]
"""A gate's id, and its run's where that is known."""

_SHOWN = 10
_PAGE = 1_000
"""How many gates a server tells of at a time."""

MineFlag = Annotated[bool, typer.Option("--mine", help="Only gates that ask the actor.")]
WorkflowOption = Annotated[
    str | None, typer.Option("--workflow", metavar="ID", help="Only gates of this workflow.")
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        "--filter",
        metavar="CEL",
        help="Only gates for which this holds: CEL over gate, run and input (the run's), such as "
        "'input.amount_cents < 100000'.",
    ),
]


class Choice(NamedTuple):
    """Which gates, and what goes with the answer: a reason, and the input that a gate asks for."""

    named: tuple[str, ...]
    mine: bool
    filter: Filter
    yes: bool
    reason: str | None
    given: Json | None


@contextmanager
def choosing(
    *,
    gate: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GATE]...", help="Ids of gates; none with a filter."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every gate that waits.")] = False,
    mine: MineFlag = False,
    workflow: WorkflowOption = None,
    where: WhereOption = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why; it goes into the audit trail."),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="What the gate asks for: JSON, @file, or -."),
    ] = None,
    yes: YesFlag = False,
) -> Iterator[Choice]:
    """The options of the commands that answer gates. Raises `BadParameter` where they name none,
    or contradict each other."""
    chosen = Filter(workflow, where)
    by_filter = every or mine or not chosen.is_open
    if not gate and not by_filter:
        raise typer.BadParameter("name gates, or choose by --all, --mine, --workflow or --where")
    if gate and by_filter:
        raise typer.BadParameter("name gates or choose them, not both")
    named = tuple(dict.fromkeys(gate or ()))
    yield Choice(named, mine, chosen, yes, reason, read_object(given, "--input"))


def pick(session: Session, choice: Choice, verb: str) -> list[GateRef]:
    """The gates to `verb`. Asks first where a filter found them; raises `Exit` where they are not
    to be answered after all."""
    if choice.named:
        return [(gate_id, None) for gate_id in choice.named]
    picks = select(session, choice.filter, mine=choice.mine)
    if picks and not choice.yes:
        _confirm(session, picks, verb)
    return [(found.gate["gate_id"], found.gate["run_id"]) for found in picks]


def select(session: Session, chosen: Filter, *, mine: bool) -> list[Pick]:
    """The gates that wait and fit; a note tells of those for which that could not be told."""
    if mine and session.actor is None:
        raise typer.BadParameter("the token does not say who you are; give --actor")
    gates = session.client.pending_gates(session.actor if mine else None)
    if len(gates) == _PAGE:
        session.out.warn(f"These are the {_PAGE} oldest; there may be more.")
    found = chosen.find(session.client, gates, session.out)
    if found.unclear:
        gate, why = found.unclear[0]
        session.out.warn(
            f"The condition cannot be told for {len(found.unclear)} gates, which are left out; "
            f"for {gate['gate_id']}: {why}."
        )
    return found.picks


def asked(gate: Json) -> str:
    """Who is asked, and how many have agreed of how many."""
    who = ", ".join(gate["required_approvers"]) or "anyone"
    return f"{who} ({len(gate['approvals'])} of {gate['quorum']})"


def _confirm(session: Session, picks: list[Pick], verb: str) -> None:
    out = session.out
    if out.as_json or not sys.stdin.isatty():
        raise typer.BadParameter(
            f"nobody can be asked here whether to {verb} what fits ({len(picks)}); add --yes"
        )
    rows = [[p.gate["gate_id"], p.gate["gate_name"], asked(p.gate)] for p in picks[:_SHOWN]]
    out.aside.print(table([fixed("GATE"), folded("NAME"), folded("ASKED")], rows))
    if len(picks) > _SHOWN:
        out.note(f"and {len(picks) - _SHOWN} more")
    what = "this gate" if len(picks) == 1 else f"these {len(picks)} gates"
    if not typer.confirm(f"{verb.capitalize()} {what}?", err=True):
        out.note("Nothing was done.")
        raise typer.Exit(REFUSED)
