"""The job: start a run for each refund, let people answer, wait for the end.

All of it may be done again after a crash. A request has one run, however often it is asked for: its
idempotency key is the id of the request.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from federation_core.client import Client

from .batch import Refund
from .commands import Commands, Person
from .servers import HERE, SERVICE_URL, Servers, patiently

__all__ = ["Job"]

Json = dict[str, Any]

WORKFLOW: Final = "refund"
FINAL: Final = frozenset({"completed", "failed", "cancelled"})
WAIT_S: Final = 2
"""Short, for a run that has paused before one waits answers only when it goes on."""

OPERATOR: Final = Person("refund-job", "operator")
FINANCE_1, FINANCE_2 = Person("finance-1", "finance"), Person("finance-2", "finance")
RISK_DESK: Final = Person("risk-desk-1", "risk")

ANSWERS: Final = (
    (FINANCE_1, "approve", "size(gate.approvals) == 0", "The invoice is there."),
    (FINANCE_2, "approve", "size(gate.approvals) == 1", "I see it too."),
    (RISK_DESK, "reject", 'input.reason == "not_received"', "The carrier has a signature."),
    (RISK_DESK, "approve", 'input.reason != "not_received"', "It came back in good order."),
)
"""Who answers the gates that ask them, how, which of these, and why."""


class Job:
    """`in_flight` is how many runs are under way at a time."""

    def __init__(self, servers: Servers, console: Console, in_flight: int) -> None:
        self._servers = servers
        self._console = console
        self._commands = Commands(servers, console)
        self._token = self._commands.token(OPERATOR)
        self._threads = ThreadPoolExecutor(in_flight)
        self._own = threading.local()

    @property
    def _client(self) -> Client:
        """Each thread has one of its own."""
        client: Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = Client(self._servers.url, self._token)
        return client

    def start(self, refunds: Iterable[Refund]) -> None:
        """Register the workflow, with the service where it is, and start a run for each refund.
        Returns when each of them has ended or waits for people."""
        text = (HERE / "workflow.yaml").read_text("utf-8")
        moved = text.replace(SERVICE_URL, self._servers.service_url)
        patiently(lambda: self._client.register_workflow(moved))
        self._each("Starts", list(refunds), self._start)

    def _start(self, refund: Refund) -> str:
        def create() -> Json:
            answer = self._client.create_run(
                WORKFLOW, refund.run_input, key=refund.request_id, wait=WAIT_S
            )
            return dict(answer["run"])

        return self._follow(patiently(create), {*FINAL, "paused"})

    def ask_people(self) -> None:
        """Show what waits for people, and answer it as they would."""
        self._commands.run("gates", "list")
        for person, verb, where, why in ANSWERS:
            chosen = ("--mine", "--where", where, "--reason", why, "--yes")
            self._commands.run("gates", verb, *chosen, as_person=person)

    def finish(self) -> list[Json]:
        """Every run, when all of them have ended. Raises `RuntimeError` where a gate waits that
        nobody has answered."""
        waiting = patiently(self._client.pending_gates)
        if waiting:
            raise RuntimeError(f"{len(waiting)} gates wait still: `fedcore gates list` shows them.")
        self._each("Ends", self._runs(), lambda run: self._follow(run, FINAL))
        return self._runs()

    def _runs(self) -> list[Json]:
        return patiently(lambda: list(self._client.list_runs(workflow_id=WORKFLOW)))

    def _follow(self, run: Json, until: Iterable[str]) -> str:
        """The status of the run, once it is one of `until`. What `run` tells may be old: an answer
        that is given again is the first one."""
        run_id, status = run["run_id"], run["status"]
        wait = None
        while status not in until:
            look = partial(self._client.get_run, run_id, wait=wait)
            status, wait = patiently(look)["run"]["status"], WAIT_S
        return str(status)

    def _each(self, title: str, items: list[Any], work: Callable[[Any], str]) -> None:
        """`work` on each item, with a bar that says what came of them."""
        told: Counter[str] = Counter()
        columns = (
            TextColumn(f"{title:6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task("", total=len(items))
            for status in self._threads.map(work, items):
                told[status] += 1
                said = ", ".join(f"{count} {name}" for name, count in sorted(told.items()))
                progress.update(task, advance=1, description=said)
