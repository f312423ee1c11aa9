"""`fedcore runs watch`: live, in pipes, over a connection that breaks."""

import io
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from rich.console import Console
from tests.cli.cli_helpers import FEDCORE, Fedcore, gate_of, start

from federation_core.cli import watching
from federation_core.client import Client


def test_a_run_that_completed(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 5)["run_id"]
    lines = fedcore.ok("runs", "watch", run_id).splitlines()
    entries = client.logs(run_id)
    assert len(lines) == len(entries)
    assert lines[0] == f"{entries[0]['timestamp']} FC-RUN-001 Workflow run created for 'pay'"
    assert lines[-1].endswith("Run completed successfully")


def test_a_run_that_failed_is_an_exit_status(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, -5)["run_id"]
    result = fedcore("runs", "watch", run_id)
    assert (result.status, result.err) == (1, "")


def test_programs_get_a_line_of_json_an_entry(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 5)["run_id"]
    result = fedcore("runs", "watch", run_id, "--json")
    assert [msgspec.json.decode(line) for line in result.out.splitlines()] == client.logs(run_id)


def test_a_run_that_is_not_there(fedcore: Fedcore, client: Client) -> None:
    assert fedcore("runs", "watch", "nothing").status == 1


def test_on_a_terminal_the_steps_are_a_table(
    fedcore: Fedcore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    run = start(client, 5000)
    gate = gate_of(client, run["run_id"])
    client.answer_gate(run["run_id"], gate["gate_id"], approve=True)
    out = fedcore.ok("runs", "watch", run["run_id"])
    last = out.rpartition("Run ")[0].rpartition(run["run_id"])[2]
    assert "completed" in last
    rows = [line.split()[:3] for line in last.splitlines() if line.startswith(("look", "act"))]
    assert rows == [["look", "completed", "allow"], ["act", "completed", "allow"]]


def test_ctrl_c_leaves_quietly(client: Client) -> None:
    run_id = start(client, 5000)["run_id"]
    command = [*FEDCORE, "runs", "watch", run_id]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "FC-RUN-001" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert (process.wait(10), process.stderr.read()) == (130, "")
    assert client.get_run(run_id)["run"]["status"] == "paused"


@pytest.mark.parametrize(
    ("code", "details", "status"),
    [
        ("FC-POLICY-001", {"action": "step.act"}, "denied"),
        ("FC-POLICY-001", {"action": "gate.resolve"}, "pending"),
        ("FC-STEP-001", {}, "running"),
        ("FC-STEP-002", {}, "completed"),
        ("FC-STEP-003", {}, "failed"),
        ("FC-STEP-004", {}, "retrying"),
        ("FC-STEP-005", {}, "in_doubt"),
        ("FC-STEP-006", {}, "skipped"),
        ("FC-GATE-001", {}, "waiting"),
        ("FC-AUTH-001", {}, "pending"),
    ],
)
def test_what_an_entry_makes_of_its_step(code: str, details: dict[str, str], status: str) -> None:
    progress = watching.Progress("run")
    progress.apply(entry(0, code, step_id="act", decision="deny", details=details))
    assert progress.steps["act"]["status"] == status


def test_items_that_completed_are_counted_and_not_shown() -> None:
    progress = watching.Progress("run")
    progress.apply(entry(0, "FC-STEP-007", step_id="act", details={"items": 2}))
    for seq, code in enumerate(("FC-STEP-001", "FC-STEP-002"), 1):
        progress.apply(entry(seq, code, step_id="act[0]"))
    progress.apply(entry(3, "FC-STEP-001", step_id="act[1]"))
    assert list(progress.steps) == ["act", "act[1]"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(progress.view())
    assert "act 1/2" in console.export_text()
    assert progress.steps["act"]["status"] == "running"
    progress.apply(entry(4, "FC-STEP-002", step_id="act[1]"))
    assert list(progress.steps) == ["act"]
    assert progress.steps["act"]["status"] == "completed"


def test_no_item_at_all() -> None:
    progress = watching.Progress("run")
    progress.apply(entry(0, "FC-STEP-007", step_id="act", details={"items": 0}))
    assert progress.steps["act"]["status"] == "completed"


def entry(seq: int, code: str, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = dict.fromkeys(("step_id", "new_status", "decision", "duration_ms"))
    plain |= {"seq": seq, "event_type": code, "timestamp": "2026-01-02T03:04:05Z"}
    return plain | {"message": f"entry {seq}", "details": {}} | more


class Breaking(BaseHTTPRequestHandler):
    """Tells one entry a connection, and breaks it off; the third entry ends the run."""

    asked: list[str | None]

    def do_GET(self) -> None:
        after = self.headers["Last-Event-ID"]
        self.asked.append(after)
        seq = 0 if after is None else int(after) + 1
        status = {"new_status": "completed"} if seq == 2 else {"new_status": "running"}
        data = msgspec.json.encode(entry(seq, "FC-RUN-002", **status))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"data: %s\n\n" % data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def breaking() -> Iterator[tuple[str, list[str | None]]]:
    asked: list[str | None] = []
    handler = type("Handler", (Breaking,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_broken_connection_loses_and_repeats_nothing(
    fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_PAUSE_S", 0)
    with breaking() as (url, asked):
        result = fedcore("runs", "watch", "x", "--json", "--url", url, "--token", "t")
    lines = [msgspec.json.decode(line) for line in result.out.splitlines()]
    assert (result.status, [line["seq"] for line in lines]) == (0, [0, 1, 2])
    assert asked == [None, "0", "1"]


def test_a_server_that_never_comes_back_is_told_of(
    fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_PAUSE_S", 0)
    monkeypatch.setattr(watching, "_PATIENCE", 0)
    with breaking() as (url, _):
        result = fedcore("runs", "watch", "x", "--url", url, "--token", "t")
    assert result.status == 3
    assert result.err == f"Error: {url} tells no more of a run that has not ended.\n"
