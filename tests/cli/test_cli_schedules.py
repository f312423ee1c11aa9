"""`fedcore schedule`."""

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.cli_helpers import ASK, PAY, Fedcore, LiveServer

from federation_core.client import Client

NIGHTLY = ("pay", "30 2 * * *", "--input", '{"amount": 1}', "--tenant")


@pytest.fixture
def tenant(server: LiveServer, fedcore: Fedcore, request: pytest.FixtureRequest) -> str:
    """One's own, where `pay` is registered."""
    name: str = request.node.name.replace("_", "-")[:60]
    with Client(server.url, server.token("setup"), tenant=name) as client:
        client.register_workflow(PAY)
    return name


def test_a_schedule_from_end_to_end(fedcore: Fedcore, tenant: str) -> None:
    own = ("--tenant", tenant)
    zone = ("--timezone", "Europe/Berlin", "--catch-up", "latest", "--tag", "night")
    out = fedcore.ok("schedule", "add", *NIGHTLY, tenant, "--id", "nightly", *zone)
    assert out.startswith("Schedule nightly ticks first at ")
    listed = fedcore.ok("schedule", "list", *own)
    assert listed.split()[:5] == ["SCHEDULE", "WORKFLOW", "CRON", "STATUS", "NEXT"]
    assert "30 2 * * *" in listed
    shown = fedcore.ok("schedule", "show", "nightly", *own)
    for told in ("Europe/Berlin", "latest", "tester", "night"):
        assert told in shown
    assert fedcore.ok("schedule", "pause", "nightly", *own) == "Schedule nightly is paused.\n"
    assert "paused" in fedcore.ok("schedule", "list", *own)
    assert "ticks next at" in fedcore.ok("schedule", "resume", "nightly", *own)
    assert fedcore.ok("schedule", "remove", "nightly", *own) == "Schedule nightly was removed.\n"
    assert fedcore.ok("schedule", "list", *own) == "There are no schedules.\n"


def test_the_commands_of_the_page_run(fedcore: Fedcore, tenant: str, server: LiveServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text("utf-8")
    [script] = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with Client(server.url, server.token("setup"), tenant=tenant) as client:
        client.register_workflow(ASK.replace("workflow: ask", "workflow: report"))
    for line in script.splitlines():
        program, *args = shlex.split(line, comments=True)
        assert program == "fedcore"
        assert fedcore.ok(*args, "--tenant", tenant)


def test_what_the_api_answers_is_passed_on(fedcore: Fedcore, tenant: str) -> None:
    own = ("--tenant", tenant)
    added = fedcore.json("schedule", "add", *NIGHTLY, tenant, "--version", "1.0.0")
    assert (added["workflow_version"], added["timezone"], added["catch_up"]) == (
        "1.0.0",
        "UTC",
        "all",
    )
    name = added["schedule_id"]
    assert fedcore.json("schedule", "list", *own) == [added]
    assert fedcore.json("schedule", "show", name, *own) == {"schedule": added, "ticks": []}
    assert fedcore.json("schedule", "pause", name, *own)["status"] == "paused"
    assert fedcore.json("schedule", "resume", name, *own)["status"] == "active"
    assert fedcore.json("schedule", "remove", name, *own)["status"] == "removed"


def test_a_mistake_is_one_sentence(fedcore: Fedcore, tenant: str) -> None:
    result = fedcore("schedule", "add", "pay", "30 25 * * *", "--tenant", tenant)
    assert (result.status, result.out) == (1, "")
    assert "its hour is '25'; it takes * or numbers from 0 to 23" in result.err
    result = fedcore("schedule", "remove", "none", "--tenant", tenant)
    assert (result.status, result.err) == (1, "Error: There is no schedule none.\n")
    assert fedcore("schedule", "add", "pay", "30 2 * * *", "--input", "[]").status == 2
    assert fedcore("schedule", "add", "pay", "30 2 * * *", "--catch-up", "some").status == 2


def test_ticks_are_shown(fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    """What a server says of ticks; it would take a minute to have a real one."""
    usual = {"error_code": None, "reason": None, "skipped_from": None, "run_id": None}
    ticks = [
        usual | {"at": "2026-11-23T12:02:00.000000Z", "outcome": "refused", "reason": "no \x1b[2J"},
        usual | {"at": "2026-11-23T12:01:00.000000Z", "outcome": "created", "run_id": "the-run"},
        usual
        | {
            "at": "2026-11-23T12:00:00.000000Z",
            "outcome": "missed",
            "skipped_from": "2026-11-23T09:00:00.000000Z",
        },
    ]
    fedcore.ok("schedule", "add", *NIGHTLY, tenant, "--id", "nightly")
    asked = Client.schedule
    monkeypatch.setattr(Client, "schedule", lambda *a: asked(*a) | {"ticks": ticks})
    lines = fedcore.ok("schedule", "show", "nightly", "--tenant", tenant).splitlines()[-3:]
    assert [" ".join(line.split()) for line in lines] == [
        "2026-11-23 12:02:00 UTC refused no \\x1b[2J",
        "2026-11-23 12:01:00 UTC created the-run",
        "2026-11-23 12:00:00 UTC missed passed over from 2026-11-23 09:00:00 UTC",
    ]
