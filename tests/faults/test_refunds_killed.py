"""The refunds job, while its one server is killed again and again."""

import signal
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
from tests.examples.test_refunds import (
    LIMIT,
    core,
    ended,
    job,
    payment_service,
    rows,
    shell,
    token,
)

from federation_core.client import Client, ServerUnreachable


class Witness:
    """Reads the audit trails of all runs, over and over, until the server is gone. What it has
    read was acknowledged."""

    def __init__(self, url: str, token: str) -> None:
        self._client = Client(url, token)
        self._seen: dict[tuple[str, int], str] = {}
        self._read_so_far: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def seen(self) -> dict[tuple[str, int], str]:
        """The hash of each log entry, by run and sequence number, once the server is gone."""
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        self._client.close()
        return self._seen

    def _watch(self) -> None:
        try:
            while True:
                for run in self._client.list_runs():
                    if run["run_id"] not in self._closed:
                        self._read(run["run_id"])
        except ServerUnreachable:
            return

    def _read(self, run_id: str) -> None:
        for entry in self._client.logs(run_id, offset=self._read_so_far[run_id]):
            self._seen[run_id, entry["seq"]] = entry["hash"]
            self._read_so_far[run_id] += 1
            if entry["event_type"] == "FC-RUN-003":
                self._closed.add(run_id)


def test_a_server_killed_in_the_middle_loses_nothing_and_pays_nothing_twice(
    tmp_path: Path,
) -> None:
    """Each of these settlements is on the service's disk, and its answer held back, when the server
    is killed: the server cannot know of it. The last is one that people had to approve."""
    kills = (7, 40, 80, 109)
    data = tmp_path / "server"
    acknowledged: dict[tuple[str, int], str] = {}
    hold = ("--fail-every", "0", "--hold", *map(str, kills))
    with ExitStack() as stack:
        service = stack.enter_context(payment_service(tmp_path / "service.db", *hold))
        server = core(data, service)
        where = ("--url", server.url, "--service", service.url, "--data-dir", data)
        options = (*where, "--limit", str(LIMIT), "--in-flight", "16")
        process = stack.enter_context(job(*options))
        for settled in kills:
            witness = Witness(server.url, token(data))
            httpx.get(f"{service.url}/summary?at_least={settled}", timeout=60).raise_for_status()
            server.stop(signal.SIGKILL)
            acknowledged |= witness.seen()
            server = core(data, service, server.port)
            stack.callback(server.stop, signal.SIGTERM)
            if settled == kills[1]:  # the job itself dies too, and is called again
                process.kill()
                process = stack.enter_context(job(*options))
        summary, _ = ended(process)
        with Client(server.url, token(data)) as client:
            runs = list(client.list_runs())
            kept = {
                (run["run_id"], entry["seq"]): entry["hash"]
                for run in runs
                for entry in client.all_logs(run["run_id"])
            }
        paid = httpx.get(f"{service.url}/summary").json()
    assert summary["problems"] == []
    assert len(acknowledged) > LIMIT
    assert acknowledged.items() <= kept.items()
    assert {run["status"] for run in runs} == {"completed", "failed"}
    assert sorted(Counter(run["input_payload"]["request_id"] for run in runs).items()) == [
        (row["request_id"], 1) for row in rows(LIMIT)
    ]
    assert paid["settled_twice"] == []
    assert paid["totals"] == summary["totals"]["settled"]
    assert paid["sent_again"] >= len(kills)  # the step was run again, with the same key
    assert "The record holds" in shell(f"fedcore ledger verify --data-dir {data}")
