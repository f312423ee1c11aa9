"""What the system is told at its start, and who said so.

Each setting comes from the command line, else from its environment variable (`FEDCORE_<NAME>`),
else, where it holds a secret, from the file of its name in the secrets directory, else from
`fedcore.toml` in the data directory (`<name> = …`), else it has its default.
"""

import base64
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from .errors import FederationError, SettingsError
from .evidence.collector import WitnessSetting
from .executors.allow import HostPattern
from .executors.python import check_prefix
from .identity.ids import check_tenant
from .ledger.database import Target
from .telemetry.logs import LogFormat, LogLevel
from .transparency import VerifierKey
from .transparency.keys import COSIGNATURE

__all__ = ["Origin", "Settings", "load_settings", "parse_database", "parse_witness"]

Origin = Literal["command line", "environment", "secret", "file", "default"]

_FILE = "fedcore.toml"
_SECRETS = frozenset({"secret_key", "signing_key", "previous_signing_key"})
_IN_SECRETS_DIR = (*sorted(_SECRETS), "database_url")
"""What an orchestrator hands over as files; the URL of a database may hold a password."""
_COMMAND_LINE_ONLY = frozenset({"dev"})
_NOT_IN_FILE = _COMMAND_LINE_ONLY | {"data_dir", "secrets_dir"}
_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql://"
_PASSWORD = re.compile(r"(//[^:/@]*:)[^@]*@")
_SEED_BYTES = 32
_INGRESS_PORT, _ADMIN_PORT = 8080, 9070
_IDENTITY_KEY = re.compile(r"publickeyv1_[1-9A-HJ-NP-Za-km-z]{32,44}\Z")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, checked. `signing_key` is the seed of the log's key and `signing_key_file`
    where it stands, both None for the server's own file; `witnesses` are `URL VKEY` each;
    `node_lease` are the seconds after which a node that is not heard of counts as dead.

    Paths are absolute; `origins` says where each one came from.

    `secret_key` is None where the server is to make and keep its own; `policy_dir` None stands for
    the shipped `default_bundle`.
    """

    data_dir: Path
    database_url: str
    host: str
    port: int
    secrets_dir: Path | None
    secret_key: str | None
    signing_key: bytes | None
    signing_key_file: Path | None
    previous_signing_key: bytes | None
    witnesses: tuple[str, ...]
    policy_dir: Path | None
    workflow_dir: Path | None
    tenant: str
    http_allow: tuple[str, ...]
    python_allow: tuple[str, ...]
    node_lease: int
    engine: str
    restate_url: str | None
    restate_admin_url: str | None
    restate_endpoint: str | None
    restate_identity_key: tuple[str, ...]
    require_registration: bool
    log_level: LogLevel
    log_format: LogFormat
    otlp_endpoint: str | None
    dev: bool
    origins: dict[str, Origin]

    @property
    def default_bundle(self) -> Literal["strict", "loose"]:
        """The shipped policy bundle that applies where `policy_dir` names none."""
        return "loose" if self.dev else "strict"

    @property
    def database(self) -> Target:
        """The SQLite file of `database_url`, or the URL of a PostgreSQL database."""
        return _target(self.database_url)

    @property
    def restate_ingress(self) -> str:
        """Where sends go: `restate_url`, or Restate's own port on this machine."""
        return self.restate_url or f"http://127.0.0.1:{_INGRESS_PORT}"

    @property
    def restate_admin(self) -> str:
        """`restate_admin_url`, or Restate's own port beside the ingress."""
        parts = urlsplit(self.restate_ingress)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return self.restate_admin_url or f"{parts.scheme}://{host}:{_ADMIN_PORT}"

    def describe(self) -> list[tuple[str, str, Origin]]:
        """Name, value as text (secrets masked), origin; in the order of the fields."""
        return [(name, self._shown(name), origin) for name, origin in self.origins.items()]

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        if value is None:
            return self._instead(name)
        if name in _SECRETS:
            return "********"
        if name == "database_url":
            return _PASSWORD.sub(r"\1********@", value)
        if isinstance(value, tuple):
            return ", ".join(value) or "none"
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _instead(self, name: str) -> str:
        """What a server uses where nobody has set `name`."""
        return {
            "secret_key": f"that in {self.data_dir / 'secret.key'}, made at the first start",
            "signing_key": "that of signing_key_file",
            "signing_key_file": "none, as signing_key is set"
            if self.signing_key is not None
            else f"{self.data_dir / 'signing.key'}, made at the first start",
            "policy_dir": f"the shipped {self.default_bundle} bundle",
            "restate_url": self.restate_ingress,
            "restate_admin_url": self.restate_admin,
            "restate_endpoint": "/restate of this server",
            "otlp_endpoint": "what OTEL_EXPORTER_OTLP_ENDPOINT says, else no traces",
        }.get(name, "none")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value, _ in self.describe())
        return f"Settings({shown})"


class _Refusal(ValueError):
    """What a value must be instead; `load_settings` adds where it stood."""


class _Given(msgspec.Struct, frozen=True):
    """A value as it was found, and the place as messages name it."""

    value: Any
    place: str
    origin: Origin


def load_settings(cli: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """`cli` holds fields of `Settings` by name; None means not given.

    Raises `SettingsError` for the first value that cannot be used, naming its place and what would
    be right, for a name that no setting has, and for a file that cannot be read.
    """
    for name in cli:
        _check_known(name, "The command line")
    data_dir = (
        _parsed("data_dir", _find("data_dir", cli, environ, {}, {})) or Path(".fedcore").absolute()
    )
    secrets_dir = _parsed("secrets_dir", _find("secrets_dir", cli, environ, {}, {}))
    in_file = _read_file(data_dir / _FILE)
    in_secrets = _read_secrets(secrets_dir)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name in _PARSERS:
        given = _find(name, cli, environ, in_file, in_secrets)
        values[name] = _default(name, data_dir) if given is None else _parsed(name, given)
        origins[name] = "default" if given is None else given.origin
    settings = Settings(**values, origins=origins)
    _check_together(settings)
    return settings


def _find(
    name: str,
    cli: Mapping[str, Any],
    environ: Mapping[str, str],
    in_file: Mapping[str, Any],
    in_secrets: Mapping[str, _Given],
) -> _Given | None:
    variable = f"FEDCORE_{name.upper()}"
    if cli.get(name) is not None:
        return _Given(cli[name], f"--{name.replace('_', '-')}", "command line")
    if variable in environ and name not in _COMMAND_LINE_ONLY:
        return _Given(environ[variable], variable, "environment")
    if name in in_secrets:
        return in_secrets[name]
    if name in in_file:
        return _Given(in_file[name], f"{name!r} in {_FILE}", "file")
    return None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:  # tomllib's and the decoder's errors are ValueErrors
        raise SettingsError(f"{path} cannot be read: {e}.") from e
    for name in found:
        _check_known(name, str(path))
        if name in _NOT_IN_FILE:
            raise SettingsError(f"{path} cannot set {name!r}; give it on the command line.")
    return found


def _read_secrets(folder: Path | None) -> dict[str, _Given]:
    """One file a secret, named as the setting, as containers and systemd credentials have them.

    Who mounts the directory says who can read it, so the modes of its files are not judged here.
    """
    found: dict[str, _Given] = {}
    for path in [] if folder is None else [folder / name for name in _IN_SECRETS_DIR]:
        try:
            found[path.name] = _Given(path.read_text("utf-8").strip(), str(path), "secret")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as e:
            raise SettingsError(f"The secret {path} cannot be read: {e}.") from e
    return found


def _check_known(name: str, place: str) -> None:
    if name not in _PARSERS:
        near = difflib.get_close_matches(name, _PARSERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_PARSERS)}."
        raise SettingsError(f"{place} sets {name!r}, which is no setting; {hint}")


def _parsed(name: str, given: _Given | None) -> Any:
    if given is None:
        return None
    try:
        return _PARSERS[name](given.value)
    except _Refusal as e:
        raise SettingsError(f"{given.place} {e}.", setting=name) from e
    except FederationError as e:
        raise SettingsError(f"{given.place} is refused: {e.detail}", setting=name) from e


def _default(name: str, data_dir: Path) -> Any:
    defaults: dict[str, Any] = {
        "data_dir": data_dir,
        "database_url": f"{_SQLITE}{data_dir / 'fedcore.db'}",
        "host": "127.0.0.1",
        "port": 9405,
        "tenant": "default",
        "witnesses": (),
        "http_allow": (),
        "python_allow": (),
        "node_lease": 10,
        "engine": "local",
        "restate_identity_key": (),
        "require_registration": False,
        "log_level": "info",
        "log_format": "auto",
        "dev": False,
    }
    return defaults.get(name)


def _check_together(settings: Settings) -> None:
    if settings.signing_key is not None and settings.signing_key_file is not None:
        raise SettingsError(
            "Both FEDCORE_SIGNING_KEY and FEDCORE_SIGNING_KEY_FILE are set; set one of them."
        )
    if settings.dev and not _is_loopback(settings.host):
        raise SettingsError(
            f"--dev believes every caller, so it listens on loopback only; {settings.host!r} is "
            "not. Leave out --dev, or use the host 127.0.0.1."
        )
    _check_restate(settings)


def _check_restate(settings: Settings) -> None:
    """Restate on this machine finds a node on this machine; any other has to be told."""
    if settings.engine != "restate" or settings.restate_endpoint is not None:
        return
    if not _is_loopback(urlsplit(settings.restate_ingress).hostname or ""):
        raise SettingsError(
            f"Restate is at {settings.restate_ingress}, and has to reach this server: set "
            "FEDCORE_RESTATE_ENDPOINT to the URL of /restate as it stands there, such as "
            "http://nodes.example:9405/restate."
        )
    if not _is_loopback(settings.host):
        raise SettingsError(
            f"The server listens on {settings.host!r}; set FEDCORE_RESTATE_ENDPOINT to the URL "
            "under which Restate reaches its /restate, such as http://127.0.0.1:9405/restate."
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Refusal("must be a text that is not empty")
    return value


def _path(value: Any) -> Path:
    return Path(_text(str(value) if isinstance(value, Path) else value)).expanduser().absolute()


def _directory(value: Any) -> Path:
    path = _path(value)
    if not path.is_dir():
        raise _Refusal(f"is {str(path)!r}; it must be a directory that exists")
    return path


def _database(value: Any) -> str:
    """The URL is not repeated in messages: it may hold a password."""
    url = _text(value)
    if url.startswith((_POSTGRESQL, "postgres://")):
        return _POSTGRESQL + url.partition("://")[2]
    path = url.removeprefix(_SQLITE)
    if path == url or not path or "?" in path or path == ":memory:":
        raise _Refusal(f"must read {_SQLITE}PATH, the path of a file, or {_POSTGRESQL}…")
    return f"{_SQLITE}{Path(path).absolute()}"


def _target(url: str) -> Target:
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else url


def parse_database(url: str, place: str) -> Target:
    """A database from its URL. Raises `SettingsError`, which names `place`."""
    try:
        return _target(_database(url))
    except _Refusal as e:
        raise SettingsError(f"{place} {e}.") from e


def _port(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_535:
        raise _Refusal(f"is {value!r}; it must be a whole number from 1 to 65535")
    return value


def _lease(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 4:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3_600:
        raise _Refusal(f"is {value!r}; it must be a whole number of seconds from 1 to 3600")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise _Refusal(f"is {value!r}; it must be true or false")


def _tenant(value: Any) -> str:
    return check_tenant(_text(value))


def _seed(value: Any) -> bytes:
    """The value is not repeated in messages: it is a secret."""
    text = _text(value).strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        seed = base64.b64decode(f"{text}=", altchars=b"-_", validate=True)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise _Refusal(f"must be the {_SEED_BYTES} bytes of a signing key's seed, in base64")
    return seed


def parse_witness(entry: str) -> WitnessSetting:
    """`http://witness.example name+hash+key`. Raises `SettingsError`."""
    url, _, key = entry.strip().partition(" ")
    if not url.startswith(("http://", "https://")) or not key:
        raise SettingsError(f"{entry!r} is no witness; write its URL, a space and its key.")
    parsed = VerifierKey.parse(key.strip())
    if parsed.algorithm != COSIGNATURE:
        raise SettingsError(f"{parsed.name} is no witness's key; that has algorithm 0x04.")
    return WitnessSetting(url.rstrip("/"), parsed)


def _entries(check: Callable[[str], Any]) -> Callable[[Any], tuple[str, ...]]:
    """Commas or a list; the empty text is the empty list, so that it can take a list back."""

    def parse(value: Any) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            raise _Refusal(f"is {value!r}; it must be a list of texts, or one text with commas")
        entries = tuple(part.strip() for part in parts if part.strip())
        for entry in entries:
            check(entry)
        return entries

    return parse


def _engine(value: Any) -> str:
    if value not in ("local", "restate"):
        raise _Refusal(f"is {value!r}; it must be 'local' or 'restate'")
    return str(value)


def _url(value: Any) -> str:
    """Without a slash at its end. A password in it would be shown with the settings."""
    url = _text(value).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or "?" in url or "#" in url or not url.isprintable():
        raise _Refusal("must be a URL such as http://restate.example:8080, and nothing more")
    return url


def _identity_key(entry: str) -> None:
    if not _IDENTITY_KEY.match(entry):
        raise _Refusal("must be a public key of Restate's, as publickeyv1_…; it logs its own")


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) else value
        if word not in words:
            raise _Refusal(f"is {value!r}; it must be one of {', '.join(words)}")
        return str(word)

    return parse


def _base_url(value: Any) -> str:
    """The URL is not repeated in messages: it may hold a password."""
    url = _text(value).strip()
    host = url.removeprefix("https://").removeprefix("http://")
    if host == url or not host.strip("/") or any(c.isspace() or c in "?#@" for c in url):
        raise _Refusal(
            "must be the base URL of an OTLP/HTTP collector, http://HOST:PORT; what it is to be "
            "told besides goes into OTEL_EXPORTER_OTLP_HEADERS"
        )
    return url.rstrip("/")


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "data_dir": _path,
    "database_url": _database,
    "host": _text,
    "port": _port,
    "secrets_dir": _directory,
    "secret_key": _text,
    "signing_key": _seed,
    "signing_key_file": _path,
    "previous_signing_key": _seed,
    "witnesses": _entries(parse_witness),
    "policy_dir": _directory,
    "workflow_dir": _directory,
    "tenant": _tenant,
    "http_allow": _entries(HostPattern.parse),
    "python_allow": _entries(check_prefix),
    "node_lease": _lease,
    "engine": _engine,
    "restate_url": _url,
    "restate_admin_url": _url,
    "restate_endpoint": _url,
    "restate_identity_key": _entries(_identity_key),
    "require_registration": _flag,
    "log_level": _one_of(get_args(LogLevel)),
    "log_format": _one_of(get_args(LogFormat)),
    "otlp_endpoint": _base_url,
    "dev": _flag,
}
