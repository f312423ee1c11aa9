"""`fedcore ledger`: what was changed afterwards is found, and named."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.cli.cli_helpers import PAY, Fedcore, LiveServer, serving, start

from federation_core.client import Client


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that has stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    with serving(folder, "--dev") as server, Client(server.url, server.token("me")) as client:
        client.register_workflow(PAY)
        start(client, 5)
        start(client, 5000)
    return folder


@pytest.fixture
def data_dir(at_rest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which commands find by themselves."""
    folder = tmp_path / "data"
    shutil.copytree(at_rest, folder)
    monkeypatch.setenv("FEDCORE_DATA_DIR", str(folder))
    return folder


def damage(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "fedcore.db")
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_a_ledger_that_holds(fedcore: Fedcore, data_dir: Path) -> None:
    assert fedcore.ok("ledger", "verify").startswith("The record holds: ")
    told = fedcore.json("ledger", "verify")
    assert (told["error"], told["streams"]) == (None, 4)


def test_a_ledger_can_be_verified_beside_its_server(fedcore: Fedcore, server: LiveServer) -> None:
    assert fedcore.json("ledger", "verify")["error"] is None


def test_a_changed_byte_is_named(fedcore: Fedcore, data_dir: Path) -> None:
    damage(data_dir, "UPDATE events SET body = body || ' ' WHERE position = 4")
    result = fedcore("ledger", "verify")
    assert (result.status, result.err) == (4, "")
    assert result.out.startswith("THE RECORD IS BROKEN.\n")
    assert "Position  4\n" in result.out
    assert fedcore.json("ledger", "verify", status=4)["position"] == 4


def test_a_removed_event_is_named(fedcore: Fedcore, data_dir: Path) -> None:
    damage(data_dir, "DELETE FROM events WHERE position = 6")
    told = fedcore.json("ledger", "verify", status=4)
    assert "position 6 is missing" in told["error"]


def test_rows_are_made_again_and_come_out_equal(fedcore: Fedcore, data_dir: Path) -> None:
    told = fedcore.json("ledger", "rebuild")
    assert (told["differences"], told["rows"]["runs"]) == ([], 2)
    assert fedcore.ok("ledger", "rebuild").endswith("Every row was what the events say.\n")


def test_a_row_that_lied_is_mended(fedcore: Fedcore, data_dir: Path) -> None:
    damage(data_dir, "UPDATE runs SET status = 'completed' WHERE status = 'paused'")
    result = fedcore("ledger", "rebuild")
    assert (result.status, result.err) == (1, "")
    assert "1 rows were not what the events say; they are mended:\nruns/" in result.out
    assert fedcore("ledger", "rebuild").status == 0


def test_nothing_is_rebuilt_from_events_that_do_not_hold(fedcore: Fedcore, data_dir: Path) -> None:
    damage(data_dir, "UPDATE events SET body = replace(body, 'paused', 'passed')")
    assert fedcore("ledger", "rebuild").status == 4


def test_nothing_is_rebuilt_under_a_running_server(fedcore: Fedcore, server: LiveServer) -> None:
    result = fedcore("ledger", "rebuild")
    assert (result.status, result.out) == (3, "")
    assert "stop it first" in result.err
