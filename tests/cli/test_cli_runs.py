"""`fedcore runs` against a server."""

import io
from pathlib import Path

import pytest
from tests.cli.cli_helpers import EACH, PAY, Fedcore, LiveServer, gate_of, start

from federation_core.client import Client


def test_a_run_that_completes(fedcore: Fedcore, server: LiveServer) -> None:
    told = fedcore.json("runs", "start", "pay", "--input", '{"amount": 5}', "--wait", "10")
    run = told["run"]
    assert (run["status"], run["output_payload"]) == ("completed", {"paid": 5})
    assert (run["actor_id"], run["workflow_version"]) == ("tester", "1.0.0")
    assert [step["status"] for step in told["steps"]] == ["completed", "completed"]


def test_a_run_for_people(fedcore: Fedcore, server: LiveServer) -> None:
    out = fedcore.ok("runs", "start", "pay", "--input", '{"amount": 5}', "--wait", "10")
    assert "Status    completed\n" in out
    assert 'Output    {"paid":5}\n' in out


def test_a_run_that_policy_denies_is_an_exit_status(fedcore: Fedcore, server: LiveServer) -> None:
    result = fedcore("runs", "start", "pay", "--input", '{"amount": -5}', "--wait", "10")
    assert (result.status, result.err) == (1, "")
    assert "Error     step act denied: The step says that it is forbidden.\n" in result.out


def test_a_run_that_waits_says_for_what(fedcore: Fedcore, client: Client) -> None:
    result = fedcore("runs", "start", "pay", "--input", '{"amount": 5000}', "--wait", "10")
    assert result.status == 0
    assert "Status    paused\n" in result.out
    run_id = result.out.split()[1]
    gate_id = gate_of(client, run_id)["gate_id"]
    assert result.err == f"\nIt waits for people: see `fedcore gates show {gate_id}`.\n"


def test_the_input_from_a_file_and_from_standard_input(
    fedcore: Fedcore, server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input.json").write_text('{"amount": 7}')
    told = fedcore.json("runs", "start", "pay", "--input", "@input.json")
    assert told["run"]["input_payload"] == {"amount": 7}
    monkeypatch.setattr("sys.stdin", io.StringIO('{"amount": 8}'))
    told = fedcore.json("runs", "start", "pay", "--input", "-")
    assert told["run"]["input_payload"] == {"amount": 8}


def test_an_input_that_the_workflow_refuses(fedcore: Fedcore, server: LiveServer) -> None:
    result = fedcore("runs", "start", "pay", "--input", '{"amount": "much"}')
    assert (result.status, result.out) == (1, "")
    assert "does not fit the workflow's schema: /amount" in result.err


def test_an_external_run_goes_its_way(fedcore: Fedcore, server: LiveServer) -> None:
    options = ("--external", "--version", "3.0.0", "--tag", "one", "--tag", "two")
    run = fedcore.json("runs", "start", "elsewhere", *options)["run"]
    assert (run["execution"], run["workflow_version"]) == ("external", "3.0.0")
    assert (run["status"], run["tags"]) == ("pending", ["one", "two"])
    run_id = run["run_id"]
    assert fedcore.ok("runs", "resume", run_id) == f"Run {run_id} is running.\n"
    assert fedcore.json("runs", "pause", run_id)["status"] == "paused"
    assert fedcore.ok("runs", "cancel", run_id, "--reason", "enough", "--yes") == (
        f"Run {run_id} is cancelled.\n"
    )
    assert "Run cancelled: enough" in fedcore.ok("runs", "show", run_id, "--logs")


def test_a_cancellation_is_asked_about(
    fedcore: Fedcore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(client, 2000)["run_id"]
    result = fedcore("runs", "cancel", run_id)
    assert (result.status, "add --yes" in result.err) == (2, True)
    for answer, status in (("n", "paused"), ("y", "cancelled")):
        stdin = io.StringIO(f"{answer}\n")
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        result = fedcore("runs", "cancel", run_id)
        assert f"Cancel run {run_id}? It cannot be undone." in result.err
        assert client.get_run(run_id)["run"]["status"] == status


def test_a_transition_that_is_none(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 5)["run_id"]
    result = fedcore("runs", "resume", run_id)
    assert (result.status, result.out) == (1, "")
    assert fedcore.json("runs", "cancel", run_id, "-y", status=1)["error"]["code"]


def test_a_list_of_runs(fedcore: Fedcore, client: Client) -> None:
    runs = [start(client, 5)["run_id"] for _ in range(3)]
    told = fedcore.json(
        "runs", "list", "--workflow", "pay", "--status", "completed", "--limit", "2"
    )
    assert [run["run_id"] for run in told] == [runs[2], runs[1]]
    lines = fedcore.ok("runs", "list", "--limit", "1").splitlines()
    assert lines[0].split() == ["RUN", "STATUS", "WORKFLOW", "AGE"]
    assert lines[1].split()[:3] == [runs[2], "completed", "pay"]
    assert fedcore.ok("runs", "list", "--workflow", "none") == "There are no such runs.\n"
    assert fedcore("runs", "list", "--status", "sleeping").status == 2


def test_a_limit_beyond_one_page(fedcore: Fedcore, client: Client) -> None:
    runs = [client.create_run("many")["run"]["run_id"] for _ in range(103)]
    told = fedcore.json("runs", "list", "--workflow", "many", "--limit", "102")
    assert [run["run_id"] for run in told] == runs[:0:-1]


def test_the_three_layers_of_a_run(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 5000)["run_id"]
    gate = gate_of(client, run_id)
    client.answer_gate(run_id, gate["gate_id"], approve=True)
    answer = client.get_run(run_id, steps=True, wait=10)
    assert answer["run"]["status"] == "completed"
    out = fedcore.ok("runs", "show", run_id, "--logs")
    assert max(map(len, out.splitlines())) <= 80
    _, steps, decided, gates, trail = out.split("\n\n")
    for step in answer["steps"]:
        line = next(line for line in steps.splitlines() if line.startswith(step["step_id"]))
        hashes = [step[f"{name}_hash"][:8] for name in ("input", "output", "receipt")]
        assert line.split()[-3:] == hashes
    assert "step.act act" in decided
    assert "step.act act       flag       1  loose   loose.high-risk" in decided
    assert gate["gate_id"] in gates
    assert "Gate requested: " in trail
    assert "Run completed successfully" in trail


def test_without_logs_there_is_no_audit_trail(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 5)["run_id"]
    assert "Audit trail" not in fedcore.ok("runs", "show", run_id)
    told = fedcore.json("runs", "show", run_id)
    assert told["logs"] == []
    assert {entry["event_type"] for entry in told["decisions"]} == {"FC-POLICY-001"}
    assert [step["step_id"] for step in told["steps"]] == ["look", "act"]


def test_items_of_a_step_are_counted_and_shown_where_they_matter(
    fedcore: Fedcore, client: Client
) -> None:
    client.register_workflow(EACH)
    run = client.create_run("each", {"list": list(range(60)), "bad": 20}, wait=20)["run"]
    assert run["status"] == "failed", run
    out = fedcore.ok("runs", "show", run["run_id"])
    _, steps, decided = out.split("\n\n")[:3]
    shown = [line.split()[0] for line in steps.splitlines()[2:-1]]
    assert shown == ["act", "after", "act[20]", *(f"act[{i}]" for i in range(30, 39))]
    told = "act: 60 items: 29 completed, 1 failed, 9 pending, 21 not begun"
    assert steps.splitlines()[-1] == told
    assert decided.splitlines()[-1] == "act: 30 allowed"
    assert "act[" not in decided


def test_a_run_that_is_not_there(fedcore: Fedcore, server: LiveServer) -> None:
    result = fedcore("runs", "show", "nothing")
    assert (result.status, result.out, result.err) == (1, "", "Error: There is no run nothing.\n")


def test_workflows_are_registered_and_listed(
    fedcore: Fedcore, server: LiveServer, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(PAY.replace("workflow: pay", "workflow: first"))
    (tmp_path / "b.yaml").write_text(PAY.replace("workflow: pay", "workflow: second"))
    files = ("a.yaml", "b.yaml")
    lines = fedcore.ok("workflow", "register", *files).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["first", "1.0.0", "registered"],
        ["second", "1.0.0", "registered"],
    ]
    assert [a["idempotent"] for a in fedcore.json("workflow", "register", *files)] == [True, True]
    found = [(w["workflow_id"], w["version"]) for w in fedcore.json("workflow", "list")]
    assert {("first", "1.0.0"), ("second", "1.0.0")} <= set(found)
    assert "first" in fedcore.ok("workflow", "list")


def test_nothing_is_registered_where_one_file_is_wrong(
    fedcore: Fedcore, server: LiveServer, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(PAY.replace("workflow: pay", "workflow: third"))
    (tmp_path / "b.yaml").write_text(PAY.replace("type: OBSERVE", "type: OBSERV"))
    result = fedcore("workflow", "register", "a.yaml", "b.yaml")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error: b.yaml:5:")
    assert "third" not in fedcore.ok("workflow", "list")


def test_a_version_never_changes(fedcore: Fedcore, server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "pay.yaml").write_text(PAY + "description: another\n")
    result = fedcore("workflow", "register", "pay.yaml")
    assert result.status == 1
    assert "a version never changes" in result.err


def test_a_failed_run_is_done_again_from_a_step(fedcore: Fedcore, server: LiveServer) -> None:
    failed = fedcore("runs", "start", "pay", "--input", '{"amount": -5}', "--wait", "10")
    assert failed.status == 1
    old = failed.out.split()[1]
    result = fedcore("runs", "restart", old, "--from", "act", "--tag", "again", "--wait", "10")
    assert result.status == 1  # it is denied again
    assert f"Restarted from  {old}\n" in " ".join(result.out.split(" ")).replace("   ", "  ")
    new = result.out.split()[1]
    shown = fedcore.ok("runs", "show", new)
    assert "Done by other runs" in shown
    assert "carried over from" in shown
    told = fedcore.json("runs", "show", new, "--logs")
    assert [s["carried_from"] for s in told["steps"]] == [old, None]
    assert (told["run"]["tags"], told["run"]["restarted_from"]) == (["again"], old)
    assert f"Step look carried over from run {old}" in [e["message"] for e in told["logs"]]


def test_a_restart_that_is_refused(fedcore: Fedcore, server: LiveServer) -> None:
    done = fedcore.json("runs", "start", "pay", "--input", '{"amount": 5}', "--wait", "10")
    result = fedcore("runs", "restart", done["run"]["run_id"], "--from", "act")
    assert (result.status, result.out) == (1, "")
    assert "The run has completed" in result.err
    assert fedcore("runs", "restart", done["run"]["run_id"]).status == 2


def test_who_holds_a_run_and_why(fedcore: Fedcore, client: Client) -> None:
    run_id = client.create_run("outside", execution="external")["run"]["run_id"]
    client.change_status(run_id, "running")
    fedcore.ok("runs", "pause", run_id, "--reason", "hold it", "--actor", "olga")
    out = fedcore.ok("runs", "show", run_id, "--logs")
    assert "Held by   olga: hold it\n" in out
    assert out.count("hold it") == 2  # and in the trail, beside a message that is fixed
    fedcore.ok("runs", "resume", run_id)
    assert "Held by" not in fedcore.ok("runs", "show", run_id)


def test_a_long_input_is_cut_for_people(fedcore: Fedcore, client: Client) -> None:
    given = {"amount": 5, "list": list(range(3_000))}
    run_id = client.create_run("pay", given, wait=10)["run"]["run_id"]
    out = fedcore.ok("runs", "show", run_id)
    assert "--json shows all)" in " ".join(out.split())
    assert len(out) < 4_000
    assert fedcore.json("runs", "show", run_id)["run"]["input_payload"] == given


def test_a_parent_points_at_the_gate_of_its_child(fedcore: Fedcore, client: Client) -> None:
    step = "{id: sub, type: ACT, run: workflow, workflow: pay, with: {amount: 5000}}"
    client.register_workflow(f"workflow: parent\nversion: 1.0.0\nsteps:\n  - {step}\n")
    run_id = client.create_run("parent")["run"]["run_id"]
    asked: list[dict[str, object]] = []
    for _ in range(1000):
        [found] = client.get_run(run_id, steps=True)["steps"]
        child = found["child_run_id"]  # told before the child is born
        asked = [gate for gate in client.pending_gates() if gate["run_id"] == child]
        if asked:
            break
    gate_id = asked[0]["gate_id"]
    words = " ".join(fedcore.ok("runs", "show", run_id).split())
    assert f"Run {child} (step sub) waits for people: see `fedcore gates show {gate_id}`." in words
    client.change_status(run_id, "cancelled")
