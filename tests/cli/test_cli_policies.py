"""`fedcore policy`, and what a server in production mode makes of the command's own tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.cli_helpers import ASK, PAY, Fedcore, LiveServer, serving

from federation_core.policy import shipped_bundle


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    workflows = tmp_path_factory.mktemp("workflows")
    for name, text in (("pay", PAY), ("ask", ASK)):
        (workflows / f"{name}.yaml").write_text(text)
    folder = tmp_path_factory.mktemp("production")
    with serving(folder, "--workflow-dir", str(workflows)) as server:
        yield server


@pytest.fixture(autouse=True)
def production(strict: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCORE_URL", strict.url)
    monkeypatch.setenv("FEDCORE_DATA_DIR", str(strict.data_dir))


def test_nobody_approves_a_run_that_they_started(fedcore: Fedcore) -> None:
    options = ("--input", '{"amount": 5000}', "--wait", "10", "--actor", "ann")
    told = fedcore.json("runs", "start", "pay", *options)
    gate_id = told["gates"][0]["gate_id"]
    assert fedcore("gates", "approve", gate_id, "--actor", "ann").status == 1
    assert fedcore("gates", "approve", gate_id, "--actor", "bob").status == 0


def test_a_bypass_needs_a_role_that_may(fedcore: Fedcore) -> None:
    told = fedcore.json("runs", "start", "ask", "--wait", "10")
    gate_id, reason = told["gates"][0]["gate_id"], ("--reason", "nobody is left here", "--yes")
    result = fedcore("gates", "bypass", gate_id, *reason)
    assert (result.status, result.out) == (1, "")
    told = fedcore.json("gates", "bypass", gate_id, *reason, "--role", "emergency")
    assert told["status"] == "bypassed"


def test_a_token_without_the_scope_is_refused(fedcore: Fedcore, strict: LiveServer) -> None:
    token = strict.token("reader", "workflow:read")
    assert fedcore("runs", "list", "--token", token).status == 0
    result = fedcore("runs", "start", "pay", "--input", '{"amount": 1}', "--token", token)
    assert (result.status, result.out) == (1, "")
    assert "workflow:write" in result.err


def test_somebody_elses_name_is_refused(fedcore: Fedcore, strict: LiveServer) -> None:
    token = strict.token("reader", "workflow:read")
    result = fedcore("runs", "list", "--token", token, "--actor", "admin")
    assert result.status == 1
    assert "actor:delegate" in result.err


def test_a_bundle_is_activated_by_whom_the_one_before_allows(
    fedcore: Fedcore, tmp_path: Path
) -> None:
    for name, data in shipped_bundle("strict").items():
        (tmp_path / name).write_bytes(data.replace(b"id: strict\n", b"id: stricter\n"))
    assert fedcore("policy", "activate", str(tmp_path)).status == 1
    out = fedcore.ok("policy", "activate", str(tmp_path), "--role", "operator")
    assert out.startswith("Bundle stricter ")
    told = fedcore.json("policy", "list")
    assert [(a["bundle_id"], a["active"]) for a in told] == [("strict", False), ("stricter", True)]
    assert "stricter" in fedcore.ok("policy", "list").splitlines()[-1]


def test_a_bundle_that_is_wrong_is_not_sent(fedcore: Fedcore, tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_text("id: x\nversion: 1.0.0\n")
    result = fedcore("policy", "activate", str(tmp_path))
    assert result.status == 1
    assert f"(`fedcore policy check {tmp_path}` tells all)" in result.err
