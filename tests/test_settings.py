"""Settings: which source wins, what is refused, and what is never shown."""

import base64
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from federation_core.errors import FederationError, SettingsError
from federation_core.settings import Origin, Settings, load_settings, parse_witness
from federation_core.transparency import SigningKey, VerifierKey
from federation_core.transparency.keys import COSIGNATURE

NAMES = {
    *("data_dir", "database_url", "host", "port", "secret_key", "policy_dir", "workflow_dir"),
    *(
        "tenant",
        "http_allow",
        "python_allow",
        "node_lease",
        "engine",
        "restate_url",
        "require_registration",
    ),
    *("signing_key", "signing_key_file", "previous_signing_key", "witnesses", "dev"),
    "secrets_dir",
    *("restate_admin_url", "restate_endpoint", "restate_identity_key"),
    *("log_level", "log_format", "otlp_endpoint"),
}
SEED = bytes(range(220, 252))
"""In the standard base64 alphabet it has + and /."""
SEED_TEXT = base64.b64encode(SEED).decode()
WITNESSES = tuple(
    f"https://{name}.example {VerifierKey.of(name, SigningKey(SEED).public, COSIGNATURE).text}"
    for name in ("w1", "w2")
)

IDENTITY = "publickeyv1_w7YHemBctH5Ck2nQRQ47iBBqhNHy4FV7t2Usbye2A6f"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    return tmp_path


def load(data_dir: Path, toml: str = "", cli: Any = None, **environ: str) -> Settings:
    if toml:
        (data_dir / "fedcore.toml").write_text(toml)
    variables = {f"FEDCORE_{name}": value for name, value in environ.items()}
    return load_settings(cli or {}, {"FEDCORE_DATA_DIR": str(data_dir), **variables})


def refusal(data_dir: Path, toml: str = "", cli: Any = None, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(data_dir, toml, cli, **environ)
    return caught.value.detail


# Where a value comes from


def test_defaults_are_those_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = load_settings({}, {})
    assert found.data_dir == tmp_path / ".fedcore"
    assert found.database_url == f"sqlite:///{tmp_path}/.fedcore/fedcore.db"
    assert found.database == tmp_path / ".fedcore" / "fedcore.db"
    assert (found.host, found.port) == ("127.0.0.1", 9405)
    assert (found.secret_key, found.policy_dir, found.workflow_dir) == (None, None, None)
    assert (found.signing_key, found.signing_key_file) == (None, None)
    assert (found.previous_signing_key, found.witnesses) == (None, ())
    assert (found.tenant, found.engine, found.restate_url) == ("default", "local", None)
    assert (found.http_allow, found.python_allow) == ((), ())
    assert (found.require_registration, found.dev) == (False, False)
    assert (found.log_level, found.log_format, found.otlp_endpoint) == ("info", "auto", None)
    assert found.default_bundle == "strict"
    assert found.origins == dict.fromkeys(NAMES, "default")
    assert not (tmp_path / ".fedcore").exists()


SOURCES: list[tuple[Origin, str, tuple[str, ...]]] = [
    ("command line", "one", ("one.example",)),
    ("environment", "two", ("two.example",)),
    ("file", "three", ("three.example",)),
]


@pytest.mark.parametrize("given", list(product([True, False], repeat=3)))
@pytest.mark.parametrize("name", ["tenant", "http_allow"])
def test_first_source_that_speaks_wins(
    data_dir: Path, name: str, given: tuple[bool, bool, bool]
) -> None:
    on_line, in_environment, in_file = given
    is_list = name == "http_allow"
    values = [entries if is_list else text for _, text, entries in SOURCES]
    found = load(
        data_dir,
        f"{name} = {list(values[2]) if is_list else repr(values[2])}" if in_file else "",
        {name: values[0]} if on_line else {name: None},
        **({name.upper(): values[1][0] if is_list else str(values[1])} if in_environment else {}),
    )
    winner = next((i for i, is_given in enumerate(given) if is_given), None)
    default = () if is_list else "default"
    assert getattr(found, name) == (default if winner is None else values[winner])
    assert found.origins[name] == ("default" if winner is None else SOURCES[winner][0])


def test_each_setting_can_come_from_each_source(data_dir: Path) -> None:
    folder = str(data_dir / "policies")
    texts = {
        "database_url": f"sqlite:///{data_dir}/x.db",
        "host": "0.0.0.0",
        "port": "80",
        "secret_key": "s",
        "signing_key": SEED_TEXT,
        "previous_signing_key": SEED_TEXT.rstrip("="),
        "witnesses": ", ".join(WITNESSES),
        "policy_dir": folder,
        "workflow_dir": folder,
        "tenant": "acme",
        "http_allow": "a.example, b.example:443",
        "python_allow": "refunds,jobs.daily",
        "node_lease": "10",
        "engine": "local",
        "restate_url": "http://127.0.0.1:9070/",
        "restate_admin_url": "https://admin.example/restate",
        "restate_endpoint": "http://[::1]:9405/restate",
        "restate_identity_key": IDENTITY,
        "require_registration": "true",
        "log_level": "DEBUG",
        "log_format": "json",
        "otlp_endpoint": "http://127.0.0.1:4318/",
    }
    # `signing_key_file` is the other way to say `signing_key`; it has tests of its own.
    assert set(texts) == NAMES - {"data_dir", "secrets_dir", "signing_key_file", "dev"}
    toml = "\n".join(f'{name} = "{value}"' for name, value in texts.items())
    by_line = load(data_dir, cli=texts)
    by_environment = load(data_dir, **{name.upper(): value for name, value in texts.items()})
    by_file = load(data_dir, toml)
    expected: list[tuple[Settings, Origin]] = [
        (by_line, "command line"),
        (by_environment, "environment"),
        (by_file, "file"),
    ]
    for found, origin in expected:
        assert {found.origins[name] for name in texts} == {origin}
        assert all(getattr(found, name) == getattr(by_line, name) for name in texts)
    assert by_line.port == 80
    assert by_line.http_allow == ("a.example", "b.example:443")
    assert by_line.python_allow == ("refunds", "jobs.daily")
    assert by_line.require_registration is True
    assert (by_line.log_level, by_line.log_format) == ("debug", "json")
    assert by_line.otlp_endpoint == "http://127.0.0.1:4318"
    assert (by_line.signing_key, by_line.previous_signing_key) == (SEED, SEED)
    assert by_line.witnesses == WITNESSES
    assert by_line.policy_dir == data_dir / "policies"


def test_typed_values_are_taken_from_file_and_line(data_dir: Path) -> None:
    toml = 'port = 1\nrequire_registration = true\nhttp_allow = ["a.example"]'
    found = load(data_dir, toml, {"policy_dir": data_dir / "policies", "dev": True})
    assert (found.port, found.require_registration, found.dev) == (1, True, True)
    assert found.http_allow == ("a.example",)
    assert found.policy_dir == data_dir / "policies"


def test_data_dir_of_the_command_line_says_which_file_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fedcore.toml").write_text(f'tenant = "{name}"')
    environ = {"FEDCORE_DATA_DIR": str(tmp_path / "b")}
    assert load_settings({}, environ).tenant == "b"
    assert load_settings({"data_dir": tmp_path / "a"}, environ).tenant == "a"


def test_empty_list_takes_back_what_the_file_allows(data_dir: Path) -> None:
    found = load(data_dir, 'http_allow = ["*"]', HTTP_ALLOW="")
    assert (found.http_allow, found.origins["http_allow"]) == ((), "environment")


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = load_settings({"data_dir": "data", "database_url": "sqlite:///x.db"}, {})
    assert found.data_dir == tmp_path / "data"
    assert found.database == tmp_path / "x.db"
    assert load_settings({"data_dir": "~/d"}, {}).data_dir == tmp_path / "home" / "d"


# The key of the log, and who watches it


@pytest.mark.parametrize("source", ["line", "environment", "file"])
def test_the_key_may_stand_in_a_file_of_its_own(data_dir: Path, source: str) -> None:
    path = data_dir / "log.key"
    found = {
        "line": lambda: load(data_dir, cli={"signing_key_file": path}),
        "environment": lambda: load(data_dir, SIGNING_KEY_FILE=str(path)),
        "file": lambda: load(data_dir, f'signing_key_file = "{path}"'),
    }[source]()
    assert (found.signing_key_file, found.signing_key) == (path, None)
    assert not path.exists()  # the server makes it, settings do not


@pytest.mark.parametrize("path", [True, False], ids=["file", "environment"])
def test_the_key_is_told_once(data_dir: Path, path: bool) -> None:
    toml = 'signing_key_file = "log.key"' if path else f'signing_key = "{SEED_TEXT}"'
    environ = {"SIGNING_KEY": SEED_TEXT} if path else {"SIGNING_KEY_FILE": "log.key"}
    detail = refusal(data_dir, toml, **environ)
    assert detail.startswith("Both FEDCORE_SIGNING_KEY and FEDCORE_SIGNING_KEY_FILE are set")


@pytest.mark.parametrize(
    "text",
    [
        SEED_TEXT,
        SEED_TEXT.rstrip("="),
        f" {SEED_TEXT}\n",
        base64.urlsafe_b64encode(SEED).decode(),
        base64.urlsafe_b64encode(SEED).decode().rstrip("="),
    ],
    ids=["standard", "unpadded", "with-blanks", "for-urls", "for-urls-unpadded"],
)
def test_the_seed_is_base64_of_either_alphabet(data_dir: Path, text: str) -> None:
    assert load(data_dir, SIGNING_KEY=text).signing_key == SEED


@pytest.mark.parametrize("name", ["SIGNING_KEY", "PREVIOUS_SIGNING_KEY"])
@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(SEED[:31]).decode(),
        base64.b64encode(SEED + b"x").decode(),
        SEED.hex(),
        SEED_TEXT.replace("+", "*"),
        "hunter2ö",
    ],
    ids=["short", "long", "hex", "other-alphabet", "no-ascii"],
)
def test_a_seed_that_is_none_is_refused_and_not_repeated(
    data_dir: Path, name: str, text: str
) -> None:
    detail = refusal(data_dir, **{name: text})
    assert detail == (f"FEDCORE_{name} must be the 32 bytes of a signing key's seed, in base64.")


def test_an_empty_seed_is_refused(data_dir: Path) -> None:
    assert "must be a text that is not empty" in refusal(data_dir, SIGNING_KEY="")


def test_a_witness_is_an_address_and_a_key() -> None:
    witness = parse_witness(f" {WITNESSES[0]} ")
    assert (witness.url, witness.key.name) == ("https://w1.example", "w1")
    assert parse_witness(WITNESSES[0].replace(" ", "/ ")).url == witness.url


@pytest.mark.parametrize(
    "entry",
    [
        "https://w1.example",
        "https://w1.example ",
        WITNESSES[0].partition(" ")[2],
        WITNESSES[0].replace("https", "ftp"),
        WITNESSES[0][:-2],
        WITNESSES[0].replace("w1+", "w3+"),
    ],
    ids=["no-key", "blank-key", "no-url", "not-http", "cut-off", "another-name"],
)
def test_what_is_no_witness_is_refused(data_dir: Path, entry: str) -> None:
    with pytest.raises(FederationError):
        parse_witness(entry)
    detail = refusal(data_dir, WITNESSES=f"{WITNESSES[1]},{entry}")
    assert detail.startswith("FEDCORE_WITNESSES is refused: ")


def test_no_key_of_the_log_is_ever_shown(data_dir: Path) -> None:
    found = load(data_dir, SIGNING_KEY=SEED_TEXT, PREVIOUS_SIGNING_KEY=SEED_TEXT)
    shown = {name: value for name, value, _ in found.describe()}
    assert (shown["signing_key"], shown["previous_signing_key"]) == ("********", "********")
    for text in (repr(found), str(found), f"{found}", repr([found])):
        assert SEED_TEXT not in text
        assert repr(SEED) not in text


def test_the_documented_file_is_accepted(data_dir: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text("utf-8")
    [toml] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found = load(data_dir, toml)
    assert (found.port, found.tenant, len(found.witnesses)) == (9500, "acme", 1)


def test_the_documentation_names_each_setting() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text("utf-8")
    assert {n for n in NAMES - {"dev"} if f"`FEDCORE_{n.upper()}`" not in page} == set()


# Development


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_development_listens_on_loopback(data_dir: Path, host: str) -> None:
    found = load(data_dir, cli={"dev": True, "host": host})
    assert found.default_bundle == "loose"
    assert found.origins["dev"] == "command line"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.1", "example.com", "localhost.example.com", "127.1"]
)
def test_development_listens_nowhere_else(data_dir: Path, host: str) -> None:
    assert "listens on loopback only" in refusal(data_dir, cli={"dev": True}, HOST=host)


def test_development_is_asked_for_on_the_command_line_only(data_dir: Path) -> None:
    assert load(data_dir, DEV="true").dev is False
    assert "cannot set 'dev'" in refusal(data_dir, "dev = true")


# What is refused


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("PORT", "abc", "is 'abc'; it must be a whole number from 1 to 65535"),
        ("PORT", "0", "whole number"),
        ("PORT", "65536", "whole number"),
        ("PORT", "-1", "whole number"),
        ("PORT", "80.0", "whole number"),
        ("PORT", "²", "whole number"),
        ("PORT", "9" * 5000, "whole number"),
        ("PORT", "", "whole number"),
        ("HOST", " ", "must be a text that is not empty"),
        ("SECRET_KEY", "", "must be a text that is not empty"),
        ("DATA_DIR", "", "must be a text that is not empty"),
        ("POLICY_DIR", "", "must be a text that is not empty"),
        ("POLICY_DIR", "/no/such/place", "must be a directory that exists"),
        ("WORKFLOW_DIR", "/etc/passwd", "must be a directory that exists"),
        ("TENANT", "a b", "cannot name a tenant"),
        ("TENANT", "../x", "cannot name a tenant"),
        ("HTTP_ALLOW", "a.example,https://b.example", "'https://b.example' is no host to allow"),
        ("PYTHON_ALLOW", "refunds,os.path:join", "'os.path:join' is no module to allow"),
        ("ENGINE", "Local", "is 'Local'; it must be 'local' or 'restate'"),
        ("RESTATE_URL", "restate:8080", "must be a URL such as http://restate.example:8080"),
        ("RESTATE_URL", "http://", "must be a URL"),
        ("RESTATE_URL", "http://h:99999", "must be a URL"),
        ("RESTATE_URL", "http://h:0", "must be a URL"),
        ("RESTATE_URL", "http://h/?a=b", "must be a URL"),
        ("RESTATE_ADMIN_URL", "http://me:hunter2@h:9070", "must be a URL"),
        ("RESTATE_ENDPOINT", "nodes.example/restate", "must be a URL"),
        ("RESTATE_IDENTITY_KEY", "publickeyv1_0OIl", "must be a public key of Restate's"),
        ("RESTATE_IDENTITY_KEY", f"{IDENTITY}, x", "must be a public key of Restate's"),
        ("REQUIRE_REGISTRATION", "maybe", "is 'maybe'; it must be true or false"),
        ("DATABASE_URL", "postgresql+psycopg://h/db", "must read sqlite:///PATH"),
        ("NODE_LEASE", "0", "must be a whole number of seconds from 1 to 3600"),
        ("NODE_LEASE", "1.5", "must be a whole number of seconds"),
        ("LOG_LEVEL", "verbose", "is 'verbose'; it must be one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "is 'xml'; it must be one of auto, json, text"),
        ("OTLP_ENDPOINT", "collector:4318", "must be the base URL of an OTLP/HTTP collector"),
        ("OTLP_ENDPOINT", "http://", "must be the base URL"),
        ("OTLP_ENDPOINT", "http://user:secret@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTLP_ENDPOINT", "http://collector/?key=secret", "must be the base URL"),
        ("DATABASE_URL", "mysql://h/db", "must read sqlite:///PATH"),
        ("DATABASE_URL", "sqlite://", "must read sqlite:///PATH"),
        ("DATABASE_URL", "sqlite:///", "must read sqlite:///PATH"),
        ("DATABASE_URL", "sqlite:///:memory:", "must read sqlite:///PATH"),
        ("DATABASE_URL", "sqlite:///x?mode=memory", "must read sqlite:///PATH"),
        ("DATABASE_URL", "x.db", "must read sqlite:///PATH"),
    ],
)
def test_bad_value_names_its_variable_and_what_is_right(
    data_dir: Path, variable: str, value: str, right: str
) -> None:
    detail = refusal(data_dir, **{variable: value})
    assert detail.startswith(f"FEDCORE_{variable} ")
    assert right in detail


@pytest.mark.parametrize(
    ("toml", "right"),
    [
        ("port = true", "'port' in fedcore.toml is True; it must be a whole number"),
        ("port = 80.0", "'port' in fedcore.toml is 80.0"),
        ("host = 7", "'host' in fedcore.toml must be a text"),
        ("require_registration = 1", "'require_registration' in fedcore.toml is 1"),
        ("http_allow = [1]", "'http_allow' in fedcore.toml is [1]; it must be a list of texts"),
        ("http_allow = 1", "it must be a list of texts"),
        ("policy_dir = []", "must be a text"),
        ('data_dir = "x"', "cannot set 'data_dir'; give it on the command line"),
        ('http_alow = "*"', "sets 'http_alow', which is no setting; did you mean 'http_allow'?"),
        ("zzz = 1", "which is no setting; there are data_dir, database_url"),
        ("[server]\nport = 1", "sets 'server', which is no setting"),
        ("port =", "fedcore.toml cannot be read: "),
        ("port = 1\nport = 2", "fedcore.toml cannot be read: "),
    ],
)
def test_mistake_in_the_file(data_dir: Path, toml: str, right: str) -> None:
    assert right in refusal(data_dir, toml)


def test_file_that_cannot_be_read(data_dir: Path) -> None:
    (data_dir / "fedcore.toml").write_bytes(b"\xff")
    assert "cannot be read" in refusal(data_dir)
    (data_dir / "fedcore.toml").unlink()
    (data_dir / "fedcore.toml").mkdir()
    assert "cannot be read" in refusal(data_dir)


def test_mistake_on_the_command_line_names_its_option(data_dir: Path) -> None:
    assert refusal(data_dir, cli={"http_allow": "a/b"}).startswith("--http-allow is refused: 'a/b'")
    assert "did you mean 'port'?" in refusal(data_dir, cli={"prot": 1})


# Restate, and how both find each other


def test_restate_on_this_machine_needs_no_settings(data_dir: Path) -> None:
    found = load(data_dir, ENGINE="restate")
    assert found.restate_ingress == "http://127.0.0.1:8080"
    assert found.restate_admin == "http://127.0.0.1:9070"
    assert (found.restate_endpoint, found.restate_identity_key) == (None, ())


@pytest.mark.parametrize(
    ("ingress", "admin"),
    [
        ("https://restate.example", "https://restate.example:9070"),
        ("http://[::1]:8080/x", "http://[::1]:9070"),
    ],
)
def test_the_admin_api_is_beside_the_ingress(data_dir: Path, ingress: str, admin: str) -> None:
    told = {"ENGINE": "restate", "RESTATE_ENDPOINT": "http://n/restate", "RESTATE_URL": ingress}
    assert load(data_dir, **told).restate_admin == admin
    found = load(data_dir, **told, RESTATE_ADMIN_URL="http://elsewhere:1/")
    assert found.restate_admin == "http://elsewhere:1"


@pytest.mark.parametrize(
    "where", [{"RESTATE_URL": "http://restate.example:8080"}, {"HOST": "0.0.0.0"}]
)
def test_restate_elsewhere_has_to_be_told_where_we_are(
    data_dir: Path, where: dict[str, str]
) -> None:
    assert "FEDCORE_RESTATE_ENDPOINT" in refusal(data_dir, ENGINE="restate", **where)
    found = load(data_dir, ENGINE="restate", RESTATE_ENDPOINT="http://lb/restate", **where)
    assert found.restate_endpoint == "http://lb/restate"
    assert load(data_dir, **where).engine == "local"  # which does not ask


# What is never shown


def secrets(folder: Path, **texts: str) -> str:
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return str(folder)


def test_secrets_can_be_files_of_a_directory(data_dir: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{data_dir}/x.db"
    folder = secrets(
        tmp_path / "run",
        secret_key="s\n",
        signing_key=f"{SEED_TEXT}\n",
        previous_signing_key=SEED_TEXT,
        database_url=f"{url}\n",
        something_else="is not looked at",
    )
    found = load(data_dir, SECRETS_DIR=folder)
    assert (found.secret_key, found.database_url) == ("s", url)
    assert (found.signing_key, found.previous_signing_key) == (SEED, SEED)
    assert found.origins["secret_key"] == found.origins["signing_key"] == "secret"
    assert found.origins["tenant"] == "default"


def test_a_secret_of_the_directory_counts_after_the_environment_and_before_the_file(
    data_dir: Path, tmp_path: Path
) -> None:
    folder = secrets(tmp_path / "run", secret_key="mounted")
    toml = 'secret_key = "in the file"'
    assert load(data_dir, toml, SECRETS_DIR=folder).secret_key == "mounted"
    assert load(data_dir, toml, SECRETS_DIR=folder, SECRET_KEY="said").secret_key == "said"
    assert load(data_dir, toml).secret_key == "in the file"


@pytest.mark.parametrize("name", ["secret_key", "signing_key", "database_url"])
def test_a_secret_that_is_wrong_is_named_and_not_shown(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    wrong = {"secret_key": " ", "signing_key": "abcdefg", "database_url": "abcdefg"}[name]
    folder = secrets(tmp_path / "run", **{name: wrong})
    told = refusal(data_dir, SECRETS_DIR=folder)
    assert f"{folder}/{name}" in told
    assert "abcdefg" not in told


def test_a_secret_that_cannot_be_read_is_an_error(data_dir: Path, tmp_path: Path) -> None:
    folder = Path(secrets(tmp_path / "run"))
    (folder / "secret_key").mkdir()
    assert "cannot be read" in refusal(data_dir, SECRETS_DIR=str(folder))


def test_a_secrets_directory_must_be_there(data_dir: Path, tmp_path: Path) -> None:
    assert "must be a directory" in refusal(data_dir, SECRETS_DIR=str(tmp_path / "none"))
    assert "cannot set" in refusal(data_dir, f'secrets_dir = "{tmp_path}"')


def test_description_gives_value_and_origin_of_each(data_dir: Path) -> None:
    found = load(data_dir, 'http_allow = ["a.example", "b.example"]', {"port": 80}, TENANT="acme")
    described = {name: (value, origin) for name, value, origin in found.describe()}
    assert set(described) == NAMES
    assert described["port"] == ("80", "command line")
    assert described["tenant"] == ("acme", "environment")
    assert described["http_allow"] == ("a.example, b.example", "file")
    assert described["python_allow"] == ("none", "default")
    secret = f"that in {data_dir / 'secret.key'}, made at the first start"
    assert described["secret_key"] == (secret, "default")
    assert described["policy_dir"] == ("the shipped strict bundle", "default")
    assert described["restate_url"] == ("http://127.0.0.1:8080", "default")
    assert "not set" not in str(described)
    assert described["dev"] == ("false", "default")


def test_secret_is_masked_wherever_settings_are_shown(data_dir: Path) -> None:
    found = load(data_dir, SECRET_KEY="hunter2-hunter2")
    assert found.secret_key == "hunter2-hunter2"
    shown = {name: value for name, value, _ in found.describe()}
    assert shown["secret_key"] == "********"
    for text in (repr(found), str(found), f"{found}", repr([found])):
        assert "hunter2" not in text


def test_refusals_do_not_repeat_passwords(data_dir: Path) -> None:
    for url in ("postgresql+x://me:hunter2@h/db", "mysql://me:hunter2@h/db"):
        assert "hunter2" not in refusal(data_dir, DATABASE_URL=url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_postgresql_database_is_shown_without_its_password(data_dir: Path, scheme: str) -> None:
    url = f"{scheme}://me:hunter2@h:5433/db?sslmode=require"
    settings = load_settings({"data_dir": data_dir}, {"FEDCORE_DATABASE_URL": url})
    assert settings.database == "postgresql://me:hunter2@h:5433/db?sslmode=require"
    shown = {name: value for name, value, _ in settings.describe()}["database_url"]
    assert shown == "postgresql://me:********@h:5433/db?sslmode=require"
    assert "hunter2" not in repr(settings)
