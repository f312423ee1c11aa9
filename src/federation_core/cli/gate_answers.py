"""Answering gates, one or a thousand."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import typer
from rich.console import RenderableType

from ..client import ApiError, Client
from ..errors import FederationError, InvalidInput, NotFound, OperatorError
from .errors import status_of
from .gate_choice import GateRef
from .session import Session
from .tables import colored, fixed, folded, table

__all__ = ["Answer", "give"]

Json = dict[str, Any]
_SHOWN = 20


class Answer(NamedTuple):
    """What is said to each gate; `given` is the input that a gate may ask for."""

    approve: bool
    reason: str | None
    given: Json | None

    @property
    def verb(self) -> str:
        return "approve" if self.approve else "reject"


def give(session: Session, answer: Answer, gates: Sequence[GateRef]) -> None:
    """Answer each gate, tell how that went, and exit with a status where one was refused.

    A refusal of one gate leaves the others alone; a server that is gone ends it. Where only one
    gate is answered its refusal is raised.
    """
    answered: list[Json] = []
    refused: list[tuple[str, FederationError]] = []
    runs = _Runs(session.client)
    with session.out.progress(f"{answer.verb.capitalize()} gates") as bar:
        for gate_id, run_id in bar.track(gates):
            try:
                answered.append(_tell(session.client, answer, gate_id, run_id, runs))
            except FederationError as e:
                if len(gates) == 1:
                    raise
                refused.append((gate_id, e))
                if isinstance(e, OperatorError):
                    break
    left = [gate_id for gate_id, _ in gates[len(answered) + len(refused) :]]
    _show(session, answered, refused, left)
    if refused:
        raise typer.Exit(max(status_of(error) for _, error in refused))


class _Runs:
    """Gate → run, read once where it is needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[str, str] | None = None

    def of(self, gate_id: str) -> str:
        if self._found is None:
            self._found = {g["gate_id"]: g["run_id"] for g in self._client.pending_gates()}
        if gate_id not in self._found:
            raise NotFound(f"No gate {gate_id} waits.", code="gate_not_found")
        return self._found[gate_id]


def _tell(client: Client, answer: Answer, gate_id: str, run_id: str | None, runs: _Runs) -> Json:
    if answer.given is None:
        try:
            return client.answer_gate(run_id, gate_id, approve=answer.approve, reason=answer.reason)
        except ApiError as e:
            if e.error_code != "gate_input_invalid":
                raise
            hint = "On this command line that is --input JSON."
            raise InvalidInput(f"{e.detail} {hint}", code=e.error_code) from e
    decision = "approve" if answer.approve else "deny"
    answered = client.resume(
        run_id or runs.of(gate_id), gate_id, decision, answer.given, reason=answer.reason
    )
    [gate] = [gate for gate in answered["gates"] if gate["gate_id"] == gate_id]
    return dict(gate)


def _show(
    session: Session,
    answered: list[Json],
    refused: list[tuple[str, FederationError]],
    left: list[str],
) -> None:
    value = {
        "answered": answered,
        "refused": [
            {"gate_id": gate_id, "code": e.error_code, "message": e.detail}
            for gate_id, e in refused
        ],
        "not_tried": left,
    }
    told = answered if len(answered) <= _SHOWN else [g for g in answered if _note(g)]
    rows = [[g["gate_id"], colored(g["status"]), _note(g)] for g in told]
    rows += [[gate_id, colored("refused"), e.detail] for gate_id, e in refused]
    parts: list[RenderableType] = []
    if rows:
        columns = [fixed("GATE"), fixed("STATUS"), folded("NOTE")]
        width = 3 if any(note for *_, note in rows) else 2
        parts.append(table(columns[:width], [row[:width] for row in rows]))
    counts = [(len(answered), "answered"), (len(refused), "refused"), (len(left), "not tried")]
    parts.append(", ".join(f"{n} {what}" for n, what in counts if n) or "No gate was chosen.")
    session.out.show(value, *parts)


def _note(gate: Json) -> str | None:
    """What is still missing, where an approval was not enough."""
    if gate["status"] != "pending":
        return None
    return f"{len(gate['approvals'])} of {gate['quorum']} approvals"
