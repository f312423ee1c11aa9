"""`fedcore keys`, `fedcore data` and what auditors take from the log."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.cli_helpers import PAY, Fedcore, LiveServer, serving, start

from federation_core.client import Client

REASON = ("--reason", "Request of 2 March, case 88")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose key may be rotated and whose values may be erased."""
    with serving(tmp_path_factory.mktemp("keys"), "--dev") as server:
        with Client(server.url, server.token("me")) as client:
            client.register_workflow(PAY)
        yield server


@pytest.fixture(autouse=True)
def where(own: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCORE_URL", own.url)
    monkeypatch.setenv("FEDCORE_DATA_DIR", str(own.data_dir))


@pytest.fixture
def own_client(own: LiveServer) -> Iterator[Client]:
    with Client(own.url, own.token("me")) as client:
        yield client


def on_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)


# Keys


def test_keys_are_shown_with_the_sizes_that_they_sign(fedcore: Fedcore) -> None:
    keys = fedcore.json("keys", "show")
    assert [set(key) for key in keys] == [{"key", "from_size", "to_size"}] * len(keys)
    head, *lines = fedcore.ok("keys", "show").splitlines()
    assert head.split() == ["FROM", "SIZE", "TO", "SIZE", "KEY"]
    assert [line.split()[2] for line in lines] == [key["key"] for key in keys]  # never wrapped
    assert lines[-1].split()[:2] == [str(keys[-1]["from_size"]), "now"]


def test_a_key_is_rotated_and_what_it_signed_still_verifies(
    fedcore: Fedcore, own_client: Client
) -> None:
    run_id = start(own_client, 5)["run_id"]
    fedcore.ok("evidence", "export", run_id, "-o", "before.zip")
    before = fedcore.json("keys", "show")
    made = fedcore.json("keys", "rotate", "--yes", *REASON)
    after = fedcore.json("keys", "show")
    assert [key["key"] for key in after] == [*(key["key"] for key in before), made["key"]]
    assert (after[-2]["to_size"], after[-1]) == (made["from_size"] - 1, made)
    fedcore.ok("evidence", "export", run_id, "-o", "after.zip")
    fedcore.ok("ledger", "trust", "-o", "trust.txt")
    for pack in ("before.zip", "after.zip"):
        assert fedcore.json("verify", pack, "--trust", "trust.txt")["verdict"] == "VALID"


def test_people_are_told_what_a_rotation_means(fedcore: Fedcore) -> None:
    result = fedcore("keys", "rotate", "-y")
    newest = fedcore.json("keys", "show")[-1]
    assert result.status == 0
    assert result.out == f"{newest['key']} signs from {newest['from_size']} events on.\n"
    assert result.err == "Auditors need the new trust file: see `fedcore ledger trust`.\n"


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_rotation_is_asked_about(
    fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    before = fedcore.json("keys", "show")
    on_terminal(monkeypatch, answer)
    result = fedcore("keys", "rotate")
    assert result.status == status
    assert "Rotate the key of the log? It cannot be undone." in result.err
    assert len(fedcore.json("keys", "show")) == len(before) + (status == 0)


def test_nothing_is_rotated_where_nobody_can_be_asked(
    fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fedcore.json("keys", "show")
    on_terminal(monkeypatch, "y\n")
    assert fedcore("keys", "rotate", "--json").status == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    result = fedcore("keys", "rotate")
    assert (result.status, "add --yes" in result.err) == (2, True)
    assert fedcore.json("keys", "show") == before


def test_a_rotation_needs_admin(fedcore: Fedcore, own: LiveServer) -> None:
    token = own.token("reader", "workflow:read", "workflow:write")
    result = fedcore("keys", "rotate", "--yes", "--token", token)
    assert (result.status, "admin" in result.err) == (1, True)


# The log


def test_the_trust_file_names_every_key(fedcore: Fedcore) -> None:
    text = fedcore.ok("ledger", "trust")
    for key in fedcore.json("keys", "show"):
        assert f"\nlog {key['key']}\nissuer {key['key']}\n" in text
    assert fedcore.json("ledger", "trust") == {"trust": text}
    assert fedcore.json("ledger", "trust", "-o", "trust.txt") == {"file": "trust.txt"}
    assert Path("trust.txt").read_text() == text


def test_a_checkpoint_is_printed_byte_for_byte(fedcore: Fedcore, own_client: Client) -> None:
    start(own_client, 5)
    assert fedcore.ok("ledger", "checkpoint", "-o", "checkpoint") == "checkpoint is written.\n"
    text = fedcore.ok("ledger", "checkpoint")
    origin, size, _, blank, line, end = text.split("\n")
    assert (blank, end) == ("", "")
    assert line.startswith(f"— {origin} ")
    assert int(size) >= int(Path("checkpoint").read_text().splitlines()[1]) > 0
    assert fedcore.json("ledger", "checkpoint") == {"checkpoint": text}


def test_a_proof_is_for_programs(fedcore: Fedcore, own_client: Client) -> None:
    start(own_client, 5)
    told = fedcore.json("ledger", "consistency", "--from", "2", "--to", "3")
    assert [len(h) for h in told["hashes"]] == [44]
    out = fedcore.ok("ledger", "consistency", "--from", "2", "--to", "3")
    assert out == f'{{"hashes":["{told["hashes"][0]}"]}}\n'
    assert len(fedcore.json("ledger", "consistency", "--from", "1")["hashes"]) > 1


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--from", "0"), 2),
        (("--from", "x"), 2),
        ((), 2),
        (("--from", "3", "--to", "2"), 1),
        (("--from", "1", "--to", "999999"), 1),
    ],
)
def test_proofs_that_there_are_none_of(
    fedcore: Fedcore, options: tuple[str, ...], status: int
) -> None:
    result = fedcore("ledger", "consistency", *options, "-o", "proof.json")
    assert (result.status, result.out, Path("proof.json").exists()) == (status, "", False)


# Erasing


def test_a_runs_values_are_erased_and_the_record_holds(
    fedcore: Fedcore, own_client: Client
) -> None:
    run_id = start(own_client, 77)["run_id"]
    told = fedcore.json("data", "erase", "--run", run_id, *REASON, "--yes")
    assert told["reason"] == REASON[1]
    assert set(told["payloads"]) == {run_id}
    assert own_client.get_run(run_id)["run"]["input_payload"] is None
    assert fedcore.json("ledger", "verify")["error"] is None
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    fedcore.ok("ledger", "trust", "-o", "trust.txt")
    told = fedcore.json("verify", "pack.zip", "--trust", "trust.txt")
    assert told["verdict"] == "VALID_WITH_REDACTIONS"
    assert fedcore("data", "erase", "--run", run_id, *REASON, "--yes").status == 1


def test_one_value_is_erased_wherever_it_is(fedcore: Fedcore, own_client: Client) -> None:
    runs = [start(own_client, 123)["run_id"] for _ in range(2)]
    [entry] = own_client.logs(runs[0], event_type="FC-RUN-001", limit=1)
    digest = entry["details"]["input_hash"]
    out = fedcore.ok("data", "erase", "--payload", digest, *REASON, "--yes")
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["RUN", "PAYLOADS", "ERASED"]
    assert sorted(lines) == [[run_id, "1"] for run_id in sorted(runs)]


def test_erasing_is_asked_about(
    fedcore: Fedcore, own_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(own_client, 5)["run_id"]
    on_terminal(monkeypatch, "n\n")
    result = fedcore("data", "erase", "--run", run_id, *REASON)
    assert (result.status, result.out.strip()) == (1, "")
    assert f"Erase every payload of run {run_id}? It cannot be undone." in result.err
    assert result.err.endswith("Nothing was done.\n")
    assert own_client.get_run(run_id)["run"]["input_payload"] == {"amount": 5}
    on_terminal(monkeypatch, "y\n")
    assert fedcore("data", "erase", "--run", run_id, *REASON).status == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (REASON, 2),
        (("--run", "r", "--payload", "5f" * 32, *REASON), 2),
        (("--run", "r"), 2),
        (("--run", "r", *REASON), 1),
        (("--payload", "5f" * 32, *REASON), 1),
        (("--payload", "5f", *REASON), 1),
        (("--run", "r", "--reason", "short"), 1),
    ],
    ids=["nothing", "both", "no-reason", "no-run", "no-payload", "no-hash", "short-reason"],
)
def test_what_is_not_erased(fedcore: Fedcore, options: tuple[str, ...], status: int) -> None:
    result = fedcore("data", "erase", *options, "--yes")
    assert (result.status, result.out) == (status, "")
    if "short" in options:
        assert "it must have at least 8 characters." in result.err


def test_a_run_that_is_under_way_keeps_its_values(fedcore: Fedcore, own_client: Client) -> None:
    run_id = start(own_client, 5000)["run_id"]
    result = fedcore("data", "erase", "--run", run_id, *REASON, "--yes")
    assert (result.status, "end it first" in result.err) == (1, True)
    assert own_client.get_run(run_id)["run"]["input_payload"] == {"amount": 5000}
    own_client.change_status(run_id, "cancelled")


def test_erasing_needs_admin(fedcore: Fedcore, own_client: Client, own: LiveServer) -> None:
    run_id = start(own_client, 5)["run_id"]
    token = own.token("writer", "workflow:read", "workflow:write")
    result = fedcore("data", "erase", "--run", run_id, *REASON, "--yes", "--token", token)
    assert (result.status, "admin" in result.err) == (1, True)
    assert own_client.get_run(run_id)["run"]["input_payload"] == {"amount": 5}


FIND = """\
workflow: find
version: 1.0.0
steps:
  - {id: look, type: OBSERVE, run: expression, value: "${input.table[input.name]}"}
"""


def test_what_a_failed_run_said_is_shown_until_it_is_erased(
    fedcore: Fedcore, own_client: Client
) -> None:
    own_client.register_workflow(FIND)
    given = {"table": {}, "name": "plum-tree"}
    run_id = own_client.create_run("find", given, wait=10)["run"]["run_id"]
    before = fedcore.ok("runs", "show", run_id, "--logs")
    assert "Error     step look failed: ExpressionError" in before
    assert before.count("there is no key 'plum-tree'") == 3  # the run, its step, its end
    assert "plum-tree" in fedcore("runs", "watch", run_id).out
    fedcore.ok("data", "erase", "--run", run_id, *REASON, "--yes")
    after = fedcore.ok("runs", "show", run_id, "--logs")
    assert "plum-tree" not in after
    assert after.count("what it said was") == 3  # the table breaks lines
    assert "what it said was erased" in fedcore("runs", "watch", run_id).out
