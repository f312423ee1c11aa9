"""The commands that need no server."""

import time
from pathlib import Path

import pytest
from tests.cli.cli_helpers import PAY, Fedcore

from federation_core.identity import verify_token
from federation_core.policy import shipped_bundle

SECRET = "a secret of these tests"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FEDCORE_SECRET_KEY", SECRET)
    return SECRET


def test_a_good_workflow_file(fedcore: Fedcore, tmp_path: Path) -> None:
    (tmp_path / "pay.yaml").write_text(PAY)
    assert fedcore.ok("workflow", "check", "pay.yaml") == "pay.yaml: ok, pay 1.0.0, 2 steps\n"
    [told] = fedcore.json("workflow", "check", "pay.yaml")
    assert (told["file"], told["ok"], told["problems"]) == ("pay.yaml", True, [])
    assert (told["workflow_id"], told["version"]) == ("pay", "1.0.0")
    assert len(told["definition_hash"]) == 64


def test_mistakes_are_named_by_file_line_and_column(fedcore: Fedcore, tmp_path: Path) -> None:
    (tmp_path / "pay.yaml").write_text(PAY)
    (tmp_path / "bad.yaml").write_text(PAY.replace("type: OBSERVE", "type: OBSERV"))
    result = fedcore("workflow", "check", "bad.yaml", "pay.yaml")
    assert result.status == 1
    assert result.out.startswith("bad.yaml:5:")
    assert result.out.endswith("pay.yaml: ok, pay 1.0.0, 2 steps\n")
    bad, good = fedcore.json("workflow", "check", "bad.yaml", "pay.yaml", status=1)
    assert (bad["ok"], good["ok"]) == (False, True)
    assert bad["problems"][0]["line"] == 5
    assert set(bad["problems"][0]) == {"line", "column", "path", "message"}


LEAKS = """\
workflow: leaks
version: 1.0.0
steps:
  - id: screen
    type: DECIDE
    sensitive: true
    run: expression
    with: {ssn: "${input.ssn}"}
    value: "${run.id}"
  - {id: told, type: TRANSFORM, run: expression, value: "${steps.screen.output}"}
"""


def test_where_a_sensitive_value_may_show_is_warned_of(fedcore: Fedcore, tmp_path: Path) -> None:
    (tmp_path / "leaks.yaml").write_text(LEAKS)
    ok, first, second = fedcore.ok("workflow", "check", "leaks.yaml").splitlines()
    assert ok == "leaks.yaml: ok, leaks 1.0.0, 2 steps"
    assert first.startswith("leaks.yaml:8:11: warning: the step is sensitive, but the input of the")
    assert second.startswith("leaks.yaml:10:57: warning: it reads the output of screen, which is")
    [told] = fedcore.json("workflow", "check", "leaks.yaml")
    assert (told["ok"], told["problems"]) == (True, [])
    paths = [warning["path"] for warning in told["warnings"]]
    assert paths == ["/steps/0/with", "/steps/1/value"]


def test_a_workflow_file_that_is_not_there(fedcore: Fedcore, tmp_path: Path) -> None:
    """It is a finding as any other, and does not hide what the other files have."""
    result = fedcore("workflow", "check", "nowhere.yaml")
    assert (result.status, result.err) == (1, "")
    (tmp_path / "pay.yaml").write_text(PAY)
    result = fedcore("workflow", "check", "nowhere.yaml", "pay.yaml")
    assert result.status == 1
    assert result.out.splitlines() == [
        "nowhere.yaml cannot be read: No such file or directory",
        "pay.yaml: ok, pay 1.0.0, 2 steps",
    ]
    bad, good = fedcore.json("workflow", "check", "nowhere.yaml", "pay.yaml", status=1)
    assert (bad["ok"], good["ok"]) == (False, True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('when: "${1 + 1}"', "a condition must be true or false, not a number"),
        ('foreach: "${1}"', "foreach takes a list, not a number"),
        ('when: "1 / 0 == 1"', ""),
    ],
)
def test_what_can_only_fail_is_a_mistake(
    fedcore: Fedcore, tmp_path: Path, line: str, why: str
) -> None:
    step = f"  - id: a\n    type: TRANSFORM\n    run: expression\n    value: 1\n    {line}\n"
    (tmp_path / "x.yaml").write_text(f"workflow: x\nversion: 1.0.0\nsteps:\n{step}")
    result = fedcore("workflow", "check", "x.yaml")
    assert result.status == 1
    assert f"it can only fail: {why}" in result.out
    assert result.out.startswith("x.yaml:8:")


def test_the_options_of_a_server(fedcore: Fedcore) -> None:
    """What an operator expects on the command line is there."""
    options = ["--database-url", "postgresql://u:secret@db/x", "--tenant", "acme"]
    options += ["--log-level", "debug", "--log-format", "json", "--require-registration"]
    told = fedcore.json("settings", *options)
    names = ("database_url", "tenant", "log_level", "log_format", "require_registration")
    assert {told[name]["origin"] for name in names} == {"command line"}
    assert told["database_url"]["value"] == "postgresql://u:********@db/x"


def test_a_workflow_file_that_is_no_text(fedcore: Fedcore, tmp_path: Path) -> None:
    (tmp_path / "pay.yaml").write_bytes(b"\xff\xfe")
    result = fedcore("workflow", "check", "pay.yaml")
    assert (result.status, "pay.yaml is not UTF-8 at byte 0" in result.out) == (1, True)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped `strict`."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, data in shipped_bundle("strict").items():
        (folder / name).write_bytes(data)
    return folder


def test_a_good_bundle(fedcore: Fedcore, bundle: Path) -> None:
    out = fedcore.ok("policy", "check", "bundle")
    assert out.startswith("Bundle  strict ")
    assert "strict.runs" in out
    told = fedcore.json("policy", "check", "bundle")
    assert (told["ok"], told["bundle_id"], told["problems"]) == (True, "strict", [])


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("bundle.yaml", "id: strict", "bundle/bundle.yaml: "),
        ("more.cedar", "permit (principal, action, resource);", "bundle/more.cedar: line 1: @id"),
        ("readme.txt", "hello", "bundle/readme.txt cannot be in a bundle: "),
    ],
)
def test_mistakes_in_a_bundle(
    name: str, text: str, problem: str, fedcore: Fedcore, bundle: Path
) -> None:
    (bundle / name).write_text(text)
    result = fedcore("policy", "check", "bundle")
    assert result.status == 1
    assert result.out.startswith(problem)
    assert fedcore.json("policy", "check", "bundle", status=1)["ok"] is False


def test_a_bundle_that_is_not_there(fedcore: Fedcore) -> None:
    assert fedcore("policy", "check", "nowhere").status == 2


def test_a_token_is_alone_on_standard_output(fedcore: Fedcore, secret: str) -> None:
    result = fedcore("token", "issue", "--actor", "alice", "--role", "finance", "--expires", "30m")
    claims = verify_token(secret, result.out.removesuffix("\n"), int(time.time()))
    assert (claims.actor_id, claims.server_id, claims.roles) == (
        "alice",
        "fedcore-cli",
        ("finance",),
    )
    assert claims.scopes == ("workflow:read", "workflow:write", "gate:read", "gate:write")
    assert (claims.exp - claims.iat, claims.tenant_id) == (1800, None)
    assert result.err.startswith("Good until 2")


def test_a_token_for_programs(fedcore: Fedcore, secret: str) -> None:
    options = ("--actor", "bob", "--scope", "admin", "--tenant", "acme", "--server-id", "console")
    told = fedcore.json("token", "issue", *options)
    claims = verify_token(secret, told.pop("token"), int(time.time()))
    assert (claims.server_id, claims.tenant_id, claims.scopes) == ("console", "acme", ("admin",))
    assert told.pop("expires_at").endswith("Z")
    assert told == {"actor_id": "bob", "tenant_id": "acme", "roles": [], "scopes": ["admin"]}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--actor", "system"], "cannot name an actor"),
        (["--actor", "a", "--scope", "gate:bypas"], "did you mean gate:bypass?"),
        (["--actor", "a", "--expires", "soon"], "'soon' is not a duration"),
        (["--actor", "a", "--expires", "10ms"], "it must be at least 1s"),
        (["--actor", "a", "--tenant", "a b"], "The claims are refused"),
        ([], "Missing option '--actor'"),
    ],
)
def test_tokens_that_are_not_issued(
    options: list[str], told: str, fedcore: Fedcore, secret: str
) -> None:
    result = fedcore("token", "issue", *options)
    assert (result.status, result.out) == (2, "")
    assert told in result.err


def test_a_token_needs_the_secret_of_a_server(fedcore: Fedcore) -> None:
    assert fedcore("token", "issue", "--actor", "alice").status == 3


def test_settings_say_where_they_come_from(
    fedcore: Fedcore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    (tmp_path / "fedcore.toml").write_text('tenant = "acme"')
    monkeypatch.setenv("FEDCORE_PORT", "9999")
    options = (
        "--data-dir",
        str(tmp_path),
        "--http-allow",
        "a.example",
        "--http-allow",
        "b.example",
    )
    told = fedcore.json("settings", *options)
    assert told["tenant"] == {"value": "acme", "origin": "file"}
    assert told["port"] == {"value": "9999", "origin": "environment"}
    assert told["http_allow"] == {"value": "a.example, b.example", "origin": "command line"}
    assert told["host"] == {"value": "127.0.0.1", "origin": "default"}
    assert told["secret_key"] == {"value": "********", "origin": "environment"}
    assert secret not in fedcore.ok("settings", *options)


def test_the_key_of_the_log_and_its_witnesses(
    fedcore: Fedcore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k"
    witness = f"https://witness.example witness.example/w1{key}"
    told = fedcore.json("settings", "--signing-key-file", "log.key", "--witnesses", witness)
    assert told["signing_key_file"] == {
        "value": str(tmp_path / "log.key"),
        "origin": "command line",
    }
    assert told["witnesses"] == {"value": witness, "origin": "command line"}
    result = fedcore("settings", "--witnesses", witness[:-1])
    assert (result.status, result.err.startswith("Error: --witnesses is refused: ")) == (3, True)
    monkeypatch.setenv("FEDCORE_SIGNING_KEY", "A" * 43)
    told = fedcore.json("settings")
    assert told["signing_key"] == {"value": "********", "origin": "environment"}
    assert fedcore("settings", "--signing-key", "A" * 43).status == 2  # others would see it


def test_port_0_is_for_the_command_line_alone(
    fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = fedcore.json("settings", "--port", "0")["port"]
    assert told == {"value": "0", "origin": "command line"}
    monkeypatch.setenv("FEDCORE_PORT", "0")
    assert fedcore("settings").status == 3


def test_a_setting_that_cannot_be(fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCORE_ENGINE", "steam")
    result = fedcore("settings")
    assert (result.status, result.out) == (3, "")
    assert result.err == "Error: FEDCORE_ENGINE is 'steam'; it must be 'local' or 'restate'.\n"


@pytest.mark.parametrize("verb", ["verify", "rebuild"])
def test_a_ledger_that_is_not_there_is_not_made(
    verb: str, fedcore: Fedcore, tmp_path: Path
) -> None:
    result = fedcore("ledger", verb, "--data-dir", "nowhere")
    assert result.status == 3
    assert "There is no ledger at " in result.err
    assert not (tmp_path / "nowhere").exists()
