"""Which gates are meant: by id, or all that wait and fit a filter."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import cel
import typer

from ..client import Client
from .output import Output

__all__ = ["Filter", "Found", "Pick"]

Json = dict[str, Any]

_NAMES = ("gate", "input", "run")


class Pick(NamedTuple):
    """A gate, and the run that it stops where the filter looked at it."""

    gate: Json
    run: Json | None


class Found(NamedTuple):
    """What fits, and the gates for which the condition could not be told, with why."""

    picks: list[Pick]
    unclear: list[tuple[Json, str]]


class Filter:
    """`workflow` is an id; `where` a CEL condition over `gate`, `run` and its `input`."""

    def __init__(self, workflow: str | None, where: str | None) -> None:
        """Raises `BadParameter` for a condition that does not compile."""
        self.workflow = workflow
        self._program = None if where is None else _compile(where)

    @property
    def is_open(self) -> bool:
        """Whether every gate fits."""
        return self.workflow is None and self._program is None

    def find(self, client: Client, gates: Iterable[Json], out: Output) -> Found:
        """A gate for which the condition fails is not picked: nothing is guessed."""
        if self.is_open:
            return Found([Pick(gate, None) for gate in gates], [])
        found = Found([], [])
        runs: dict[str, Json] = {}
        with out.progress("Reading runs") as bar:
            for gate in bar.track(list(gates)):
                run_id = gate["run_id"]
                if run_id not in runs:
                    runs[run_id] = client.get_run(run_id)["run"]
                self._sort(gate, runs[run_id], found)
        return found

    def _sort(self, gate: Json, run: Json, found: Found) -> None:
        if self.workflow is not None and run["workflow_id"] != self.workflow:
            return
        fits = self._fits(gate, run)
        if isinstance(fits, str):
            found.unclear.append((gate, fits))
        elif fits:
            found.picks.append(Pick(gate, run))

    def _fits(self, gate: Json, run: Json) -> bool | str:
        """Whether the condition holds, or why that cannot be told."""
        if self._program is None:
            return True
        try:
            value = self._program.execute({"gate": gate, "run": run, "input": run["input_payload"]})
        except Exception as e:  # the evaluator's errors are of many kinds
            return f"there is no key {e}" if isinstance(e, KeyError) else str(e).split("\n")[0]
        return value if isinstance(value, bool) else f"it is {value!r}, not true or false"


def _compile(where: str) -> cel.Program:
    try:
        program = cel.compile(where)
    except Exception as e:
        reason = str(e).split("Syntax error: ")[-1].split(" expecting ")[0].split("\n")[0]
        raise typer.BadParameter(f"it does not parse: {reason}", param_hint="--where") from e
    unknown = sorted(set(program.variables()) - set(_NAMES))
    if unknown:
        raise typer.BadParameter(
            f"there is no {unknown[0]!r}; a condition sees {', '.join(_NAMES)}",
            param_hint="--where",
        )
    return program
