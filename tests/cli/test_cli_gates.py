"""`fedcore gates` against a server."""

import io

import msgspec
import pytest
from tests.cli.cli_helpers import Fedcore, LiveServer, gate_of, start

from federation_core.cli.confirming import MIN_REASON
from federation_core.client import Client
from federation_core.service.requests import BypassRequest, EraseRequest


@pytest.fixture(autouse=True)
def nothing_waits(client: Client) -> None:
    """What other tests left waiting is answered first: `--all` is about everything."""
    for gate in client.pending_gates():
        client.change_status(gate["run_id"], "cancelled")


def waiting(client: Client, amount: int) -> str:
    """The id of a gate at which a run of `pay` waits."""
    return str(gate_of(client, start(client, amount)["run_id"])["gate_id"])


def asking(client: Client) -> str:
    """The id of a gate that asks two people of finance for an account."""
    run = client.create_run("ask", wait=10)["run"]
    return str(gate_of(client, run["run_id"])["gate_id"])


def test_the_inbox(fedcore: Fedcore, client: Client) -> None:
    assert fedcore.ok("gates", "list") == "No such gate waits.\n"
    gates = [waiting(client, 2000), asking(client)]
    assert [gate["gate_id"] for gate in fedcore.json("gates", "list")] == gates
    lines = fedcore.ok("gates", "list").splitlines()
    assert lines[0].split() == ["GATE,", "RUN", "NAME,", "WORKFLOW", "ASKED", "AGE"]
    assert "anyone (0 of 1)" in lines[1]
    run_ids = [gate["run_id"] for gate in client.pending_gates()]
    own = [line.split()[:2] for line in lines[1:] if line[:1] == " "]
    assert [pair for pair in own if pair[0] in run_ids] == [
        [run_ids[0], "pay"],
        [run_ids[1], "ask"],
    ]
    assert max(map(len, lines)) <= 80


def test_the_inbox_of_one_actor(fedcore: Fedcore, client: Client) -> None:
    gates = [waiting(client, 2000), asking(client)]
    mine = [gate["gate_id"] for gate in fedcore.json("gates", "list", "--mine")]
    assert mine == gates[:1]
    finance = fedcore.json("gates", "list", "--mine", "--role", "finance")
    assert [gate["gate_id"] for gate in finance] == gates


def test_a_token_that_names_nobody_has_no_inbox(fedcore: Fedcore, server: LiveServer) -> None:
    result = fedcore("gates", "list", "--mine", "--token", "omega_x.y")
    assert result.status == 2
    assert "the token does not say who you are; give --actor" in result.err


def test_a_gate_shows_what_it_is_about(fedcore: Fedcore, client: Client) -> None:
    gate_id = waiting(client, 2000)
    out = fedcore.ok("gates", "show", gate_id)
    assert "Policy   flag: The step says that its risk is high;" in out
    assert 'Input     {"amount":2000}' in out
    assert "Subject" in out
    told = fedcore.json("gates", "show", gate_id)
    assert set(told) == {"gate", "run", "steps", "subject"}
    assert [step["step_id"] for step in told["steps"]] == ["act"]


def test_a_gate_that_is_answered_is_shown_through_its_run(fedcore: Fedcore, client: Client) -> None:
    run_id = start(client, 2000)["run_id"]
    gate_id = gate_of(client, run_id)["gate_id"]
    client.answer_gate(run_id, gate_id, approve=True)
    assert fedcore("gates", "show", gate_id).status == 1
    assert "approved" in fedcore.ok("gates", "show", gate_id, "--run", run_id)
    assert fedcore("gates", "show", "other", "--run", run_id).status == 1


def test_gates_by_id(fedcore: Fedcore, client: Client) -> None:
    gates = [waiting(client, 2000), waiting(client, 3000)]
    told = fedcore.json("gates", "approve", *gates, gates[0], "--actor", "alice")
    assert [(g["gate_id"], g["approved_by"]) for g in told["answered"]] == [
        (gate_id, "alice") for gate_id in gates
    ]
    assert (told["refused"], told["not_tried"]) == ([], [])


def test_a_rejection_ends_the_run_with_its_reason(fedcore: Fedcore, client: Client) -> None:
    run = start(client, 2000)
    gate_id = gate_of(client, run["run_id"])["gate_id"]
    out = fedcore.ok("gates", "reject", gate_id, "--reason", "not this year")
    assert out.splitlines()[1:] == [f"{gate_id}  rejected", "1 answered"]
    assert gate_of(client, run["run_id"])["rejection_reason"] == "not this year"
    assert client.get_run(run["run_id"], wait=10)["run"]["status"] == "failed"


def test_one_refusal_is_an_error(fedcore: Fedcore, client: Client) -> None:
    gate_id = waiting(client, 2000)
    fedcore.ok("gates", "approve", gate_id)
    result = fedcore("gates", "approve", gate_id)
    assert (result.status, result.out) == (1, "")
    assert result.err.endswith("is approved; only a pending gate takes an answer.\n")
    told = fedcore.json("gates", "approve", gate_id, status=1)
    assert told["error"]["code"] == "gate_not_pending"


def test_a_refusal_of_one_gate_leaves_the_others_alone(fedcore: Fedcore, client: Client) -> None:
    answered, waits = waiting(client, 2000), waiting(client, 3000)
    fedcore.ok("gates", "approve", answered)
    told = fedcore.json("gates", "approve", answered, "nothing", waits, status=1)
    assert [gate["gate_id"] for gate in told["answered"]] == [waits]
    assert [(g["gate_id"], g["code"]) for g in told["refused"]] == [
        (answered, "gate_not_pending"),
        ("nothing", "gate_not_found"),
    ]
    result = fedcore("gates", "approve", answered, "nothing")
    assert result.status == 1
    assert result.out.endswith("\n2 refused\n")


def test_the_wrong_approver_is_refused(fedcore: Fedcore, client: Client) -> None:
    gate_id = asking(client)
    result = fedcore("gates", "reject", gate_id, "--actor", "mallory")
    assert (result.status, result.out) == (1, "")
    assert "role:finance" in result.err
    assert [g["gate_id"] for g in client.pending_gates()] == [gate_id]


def test_a_gate_that_asks_for_an_input_and_two_people(fedcore: Fedcore, client: Client) -> None:
    gate_id = asking(client)
    alice, bob = ("--actor", "alice", "--role", "finance"), ("--actor", "bob", "--role", "finance")
    result = fedcore("gates", "approve", gate_id, *alice)
    assert result.status == 1
    assert "--input JSON" in result.err
    run_id = next(g["run_id"] for g in client.pending_gates() if g["gate_id"] == gate_id)
    why = ("--reason", "seen the contract")
    out = fedcore.ok("gates", "approve", gate_id, *alice, "--input", '{"account": 1}', *why)
    [told] = client.all_logs(run_id, event_type="FC-GATE-003")
    assert told["message"].startswith("Gate Who pays approved: seen the contract")
    assert out.splitlines()[1:] == [f"{gate_id}  pending  1 of 2 approvals", "1 answered"]
    told = fedcore.json("gates", "approve", gate_id, *bob, "--input", '{"account": 1}')
    assert told["answered"][0]["status"] == "approved"
    result = fedcore("gates", "approve", gate_id, *bob, "--input", '{"account": 1}')
    assert (result.status, result.err) == (1, f"Error: No gate {gate_id} waits.\n")


def test_bulk_by_a_condition(fedcore: Fedcore, client: Client) -> None:
    runs = [start(client, amount)["run_id"] for amount in (2000, 3000, 4000)]
    other = asking(client)
    chosen = ("--workflow", "pay", "--where", "input.amount < 3500 && gate.quorum == 1", "--yes")
    told = fedcore.json("gates", "approve", *chosen)
    assert [gate["run_id"] for gate in told["answered"]] == runs[:2]
    left, last = client.pending_gates()
    assert (left["run_id"], last["gate_id"]) == (runs[2], other)


def test_bulk_of_everything_tells_each_refusal(fedcore: Fedcore, client: Client) -> None:
    gates = [waiting(client, 2000), asking(client)]
    told = fedcore.json("gates", "reject", "--all", "--yes", status=1)
    assert [gate["gate_id"] for gate in told["answered"]] == gates[:1]
    assert [gate["gate_id"] for gate in told["refused"]] == gates[1:]


def test_bulk_of_what_is_mine(fedcore: Fedcore, client: Client) -> None:
    gates = [waiting(client, 2000), asking(client)]
    told = fedcore.json("gates", "reject", "--mine", "--yes")
    assert [gate["gate_id"] for gate in told["answered"]] == gates[:1]


def test_many_answers_are_counted_and_not_listed(fedcore: Fedcore, client: Client) -> None:
    for _ in range(21):
        waiting(client, 2000)
    assert fedcore.ok("gates", "approve", "--all", "--yes") == "21 answered\n"
    assert fedcore.ok("gates", "approve", "--all", "--yes") == "No gate was chosen.\n"


def test_what_a_condition_cannot_tell_is_left_out(fedcore: Fedcore, client: Client) -> None:
    gate_id, other = waiting(client, 2000), asking(client)
    result = fedcore("gates", "approve", "--where", "input.amount > 0", "--yes")
    assert result.status == 0
    assert "1 answered" in result.out
    assert result.err == (
        "The condition cannot be told for 1 gates, which are left out; "
        f"for {other}: there is no key 'amount'.\n"
    )
    assert gate_id not in {gate["gate_id"] for gate in client.pending_gates()}


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("input.amount <", "it does not parse"),
        ("amount < 5", "there is no 'amount'; a condition sees gate, input, run"),
        ("", "it does not parse"),
    ],
)
def test_a_condition_that_is_none(
    where: str, told: str, fedcore: Fedcore, server: LiveServer
) -> None:
    result = fedcore("gates", "list", "--where", where)
    assert (result.status, result.out) == (2, "")
    assert told in result.err


def test_a_condition_that_is_no_yes_or_no_picks_nothing(fedcore: Fedcore, client: Client) -> None:
    waiting(client, 2000)
    result = fedcore("gates", "approve", "--where", "input.amount", "--yes")
    assert result.out == "No gate was chosen.\n"
    assert "it is 2000, not true or false" in result.err


def test_nothing_is_answered_unasked(fedcore: Fedcore, client: Client) -> None:
    gate_id = waiting(client, 2000)
    for more in ((), ("--json",)):
        result = fedcore("gates", "approve", "--all", *more)
        assert result.status == 2
        assert "nobody can be asked here whether to approve what fits (1); add --yes" in result.err
    assert [gate["gate_id"] for gate in client.pending_gates()] == [gate_id]


class Terminal(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


ASKED = {"y": (0, 0), "n": (1, 1), "": (130, 1)}
"""What is typed → exit status, and gates that wait afterwards."""


@pytest.mark.parametrize("answer", ASKED)
def test_on_a_terminal_you_are_asked(
    answer: str, fedcore: Fedcore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate_id = waiting(client, 2000)
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n" if answer else ""))
    result = fedcore("gates", "approve", "--all")
    assert gate_id in result.err
    assert "Approve this gate? [y/N]:" in result.err
    assert ("Nothing was done." in result.err) == (answer == "n")
    assert (result.status, len(client.pending_gates())) == ASKED[answer]


def test_a_server_that_is_gone_ends_it(fedcore: Fedcore, server: LiveServer) -> None:
    line = ("gates", "approve", "a", "b", "c", "--url", "http://127.0.0.1:1")
    told = fedcore.json(*line, status=3)
    assert [(g["gate_id"], g["code"]) for g in told["refused"]] == [("a", "server_unreachable")]
    assert (told["answered"], told["not_tried"]) == ([], ["b", "c"])
    assert fedcore(*line).out.endswith("\n1 refused, 2 not tried\n")


def test_an_emergency_bypass_is_loud(fedcore: Fedcore, client: Client) -> None:
    run = start(client, 2000)
    gate_id = gate_of(client, run["run_id"])["gate_id"]
    assert fedcore("gates", "bypass", gate_id).status == 2
    out = fedcore.ok("gates", "bypass", gate_id, "--reason", "the bridge is burning", "-y")
    assert out == f"Gate {gate_id} is bypassed; the audit trail says so.\n"
    messages = [entry["message"] for entry in client.logs(run["run_id"])]
    assert any("EMERGENCY BYPASS" in message and "burning" in message for message in messages)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_bypass_is_asked_about(
    answer: str, fedcore: Fedcore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(client, 2000)
    gate = gate_of(client, run["run_id"])
    line = ("gates", "bypass", gate["gate_id"], "--reason", "the bridge is burning")
    result = fedcore(*line)
    assert (result.status, "add --yes" in result.err) == (2, True)
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    result = fedcore(*line)
    question = f"Let run {run['run_id']} pass gate {gate['gate_name']} without approval?"
    assert question in result.err
    assert result.status == (answer == "n")
    assert len(client.pending_gates()) == (answer == "n")


def test_the_reason_of_a_bypass_is_long_enough_before_anybody_is_asked(
    fedcore: Fedcore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate_id = waiting(client, 2000)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    result = fedcore("gates", "bypass", gate_id, "--reason", "fire")
    told = "Error: The reason 'fire' is too short: it stays on record for good, so it must have at"
    assert (result.status, result.out) == (1, "")
    assert result.err == f"{told} least 8 characters.\n"
    assert [gate["gate_id"] for gate in client.pending_gates()] == [gate_id]


@pytest.mark.parametrize("kind", [BypassRequest, EraseRequest])
def test_how_long_a_reason_must_be_is_what_the_server_says(kind: type[msgspec.Struct]) -> None:
    [field] = [f for f in msgspec.structs.fields(kind) if f.name == "reason"]
    told = msgspec.inspect.type_info(field.type)
    assert isinstance(told, msgspec.inspect.StrType)
    assert told.min_length == MIN_REASON


def test_the_name_of_a_gate_cannot_play_with_the_terminal(fedcore: Fedcore, client: Client) -> None:
    run = client.create_run("elsewhere")["run"]
    client.change_status(run["run_id"], "running")
    gate = client.request_gate(run["run_id"], "pay", "\x1b[2J\x07[b]\u202e")
    for line in ("gates list", f"gates show {gate['gate_id']}", f"runs show {run['run_id']}"):
        out = fedcore.ok(*line.split())
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
        assert "\\x1b[2J\\x07[b]" in out
