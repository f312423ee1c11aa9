"""Which server is called, by whom, and with what in hand."""

import time
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli.cli_helpers import Fedcore, LiveServer

from federation_core.cli import connection
from federation_core.cli.connection import connect, own_actor, read_settings, secret_of, url_of
from federation_core.cli.session import EVERYDAY
from federation_core.client import Client
from federation_core.errors import SettingsError
from federation_core.identity import ALL_SCOPES, Claims, Scope, issue_token, verify_token

SECRET = "a secret of these tests"


def connected(url: str | None = None, token: str | None = None, **more: Any) -> Any:
    given: dict[str, Any] = {"actor": None, "roles": (), "tenant": None, "scopes": EVERYDAY}
    return connect(url=url, token=token, settings=read_settings(), **(given | more))


def shown_token(client: Client) -> str:
    """What the client would send."""
    auth = client._http.auth
    assert auth is not None
    request = next(auth.auth_flow(client._http.build_request("GET", "/")))
    return request.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FEDCORE_SECRET_KEY", SECRET)
    return SECRET


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9405"),
        ("0.0.0.0", "http://127.0.0.1:9405"),
        ("::", "http://[::1]:9405"),
        ("::1", "http://[::1]:9405"),
        ("10.1.2.3", "http://10.1.2.3:9405"),
        ("core.example", "http://core.example:9405"),
    ],
)
def test_without_a_url_the_settings_say_where(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCORE_HOST", host)
    assert url_of(read_settings()) == url


def test_the_port_is_that_of_the_file_in_the_data_directory(tmp_path: Path, secret: str) -> None:
    (tmp_path / "fedcore.toml").write_text("port = 9999")
    assert url_of(read_settings(tmp_path)) == "http://127.0.0.1:9999"


def test_an_own_token_is_short_lived_and_names_its_actor(secret: str) -> None:
    client, actor = connected(actor="alice", roles=["finance"], tenant="acme")
    with client:
        claims = verify_token(secret, shown_token(client), int(time.time()))
    assert (actor, claims.actor_id, claims.tenant_id) == ("alice", "alice", "acme")
    assert claims.roles == ("finance",)
    assert claims.exp - claims.iat == 300


def test_an_own_token_never_bypasses_unless_the_command_is_for_that(secret: str) -> None:
    client, _ = connected()
    with client:
        scopes = verify_token(secret, shown_token(client), int(time.time())).scopes
    assert set(scopes) == ALL_SCOPES - {Scope.GATE_BYPASS}


def test_an_own_token_is_issued_anew_for_each_request(secret: str) -> None:
    client, _ = connected()
    with client:
        assert shown_token(client) != shown_token(client)


def test_a_token_given_is_used_as_it_is(secret: str) -> None:
    claims = Claims("console", ("workflow:read",), 0, 2**40, "1", actor_id="bob")
    token = issue_token("another secret", claims)
    client, actor = connected(token=token)
    with client:
        assert shown_token(client) == token
        assert "X-Actor-Id" not in client._http.headers
    assert actor == "bob"


def test_another_name_beside_a_token_is_asked_for_by_header() -> None:
    client, actor = connected(token="omega_x.y", actor="alice", tenant="acme")
    with client:
        headers = client._http.headers
        assert (headers["X-Actor-Id"], headers["X-Tenant-Id"]) == ("alice", "acme")
    assert actor == "alice"


@pytest.mark.parametrize("token", ["omega_x.y", "omega_!.y", "omega_W10.y", "nonsense", "omega_é"])
def test_a_token_that_names_nobody_is_the_servers_to_refuse(token: str) -> None:
    if not token.isascii():
        with pytest.raises(typer.BadParameter):
            connected(token=token)
        return
    client, actor = connected(token=token)
    client.close()
    assert actor is None


@pytest.mark.parametrize("token", ["", "a b", "a\nX-Actor-Id: root", "a\x1b"])
def test_a_token_cannot_carry_a_header(token: str) -> None:
    with pytest.raises(typer.BadParameter, match="it must read omega_"):
        connected(token=token)


def test_roles_beside_a_token_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="says its roles itself"):
        connected(token="omega_x.y", roles=["finance"])


@pytest.mark.parametrize(
    "url", ["localhost:9405", "ftp://x", "file:///etc/passwd", "http://x:port"]
)
def test_a_url_that_is_none(url: str, secret: str) -> None:
    with pytest.raises(typer.BadParameter):
        connected(url=url)


@pytest.mark.parametrize("actor", ["role:admin", "system", "a b", ""])
def test_an_actor_that_cannot_be(actor: str, secret: str) -> None:
    with pytest.raises(typer.BadParameter, match="cannot name an actor"):
        connected(actor=actor)


@pytest.mark.parametrize(
    ("user", "actor"), [("ann", "ann"), ("", "cli"), ("system", "cli"), ("a b", "cli")]
)
def test_the_actor_is_the_user_where_that_is_a_name(
    user: str, actor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", user)
    assert own_actor() == actor


def test_a_secret_is_never_made_here(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no secret to be read"):
        secret_of(read_settings(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / connection.SECRET_FILE
    path.write_text(SECRET)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        secret_of(read_settings(tmp_path))


def test_without_a_token_the_command_says_what_is_missing(fedcore: Fedcore) -> None:
    result = fedcore("runs", "list")
    assert result.status == 3
    assert "give --token, or the --data-dir of a server" in result.err


def test_nobody_answers(fedcore: Fedcore, secret: str) -> None:
    result = fedcore("runs", "list", "--url", "http://127.0.0.1:1")
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith("Error: No server answers at http://127.0.0.1:1 (")
    assert fedcore.json("runs", "list", status=3)["error"]["code"] == "server_unreachable"


def test_a_forged_token_is_refused(fedcore: Fedcore, server: LiveServer) -> None:
    token = issue_token("another secret", Claims("x", (), 0, 2**40, "1"))
    result = fedcore("runs", "list", "--token", token)
    assert result.status == 1
    assert "signature does not match" in result.err


def test_a_token_from_the_environment(
    fedcore: Fedcore, server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEDCORE_TOKEN", server.token("alice"))
    monkeypatch.setenv("FEDCORE_DATA_DIR", str(tmp_path / "none"))
    run = fedcore.json("runs", "start", "pay", "--input", '{"amount": 1}')["run"]
    assert run["actor_id"] == "alice"


def test_tenants_do_not_see_each_other(fedcore: Fedcore, server: LiveServer) -> None:
    assert fedcore.json("runs", "list", "--tenant", "another-tenant") == []
