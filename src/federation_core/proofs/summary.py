"""The campaign in a few lines on a terminal."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from .result import Result, Trial

__all__ = ["conclude", "introduce"]

_SHOWN = 10


def introduce(console: Console, url: str, *, own: bool) -> None:
    """Where it is played."""
    whose = "a server of its own, with fresh data" if own else "a server that was running already"
    _print(console, ("PT-004 workflow orchestration", "bold"), f" on {url}, {whose}")


def conclude(console: Console, result: Result, report: Path, seconds: float) -> None:
    """A line for each test, one for the changed copies, and the verdict."""
    for trial in result.trials:
        _print(console, f"  {trial.case.letter} ", _mark(trial.held), f" {_told(trial)}")
    _packs(console, result)
    changed = [t for t in result.tamperings if t.wanted]
    if changed:
        mark = _mark(all(t.held for t in result.tamperings))
        refused = sum(t.held for t in changed)
        told = f" {refused} of {len(changed)} changed copies of the record refused"
        _print(console, "  ! ", mark, told)
    for line in result.failures[:_SHOWN]:
        _print(console, (f"    {line}", "red"))
    verdict = ("PROVED", "bold green") if result.held else ("NOT PROVED", "bold red")
    _print(console, verdict, f" in {seconds:.1f} s. Report: {report}")


def _packs(console: Console, result: Result) -> None:
    """The evidence packs, and the forged ones."""
    if result.packs is None:
        return
    found = [t.transcript.pack for t in result.trials if t.transcript and t.transcript.pack]
    verdicts = [pack.verdict or {} for pack in found]
    valid = sum(v.get("verdict") == "VALID" for v in verdicts)
    witnesses = min((len(v.get("witnesses", ())) for v in verdicts), default=0)
    forged = [a for a in result.packs.attacks if not a.is_control]
    refused = sum(a.held for a in forged)
    told = (
        f" {valid} of {len(found)} evidence packs VALID, witnesses: {witnesses}; "
        f"{refused} of {len(forged)} forged ones refused"
    )
    _print(console, "  E ", _mark(valid == len(found) and result.packs.held), told)


def _told(trial: Trial) -> str:
    t = trial.transcript
    if t is None:
        return f"{trial.case.name} did not come to its end"
    seen = " → ".join(s.status.upper() for s in t.sightings)
    refused = sum(a.is_refused for a in t.attacks)
    return (
        f"{trial.case.name:<12} {seen}; effects outside: {len(t.effects)}; "
        f"attacks refused: {refused} of {len(t.attacks)}"
    )


def _mark(held: bool) -> tuple[str, str]:
    return ("✓", "green") if held else ("✗", "red")


def _print(console: Console, *parts: str | tuple[str, str]) -> None:
    console.print(Text.assemble(*parts), soft_wrap=True)
