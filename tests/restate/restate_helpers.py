"""Restate's own server as a process, and Federation Core with it as the engine."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from tests.api_helpers import SECRET, Http, Server
from tests.ports import free_ports
from tests.restate.outside import Outside

__all__ = [
    "Impatient",
    "Node",
    "RestateServer",
    "approve",
    "ask",
    "binary",
    "cluster",
    "eventually",
    "gate_of",
    "register",
    "start",
    "step",
    "until",
]

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = "build/services/node_modules/@restatedev/restate-server-*/bin/restate-server"
_PATIENCE_S = 40.0

T = TypeVar("T")
Json = dict[str, Any]


def binary() -> Path:
    """Restate's server: FEDCORE_RESTATE_SERVER, else the one that `make services` installs."""
    told = os.environ.get("FEDCORE_RESTATE_SERVER")
    found = [Path(told)] if told else sorted(_ROOT.glob(_INSTALLED))
    assert found, "There is no Restate server: `make services`, or set FEDCORE_RESTATE_SERVER."
    assert found[0].is_file(), f"{found[0]} is no file; FEDCORE_RESTATE_SERVER names it."
    return found[0]


class RestateServer:
    """A server on loopback, at the same addresses whenever it is started. `more` is added to its
    settings (TOML) before the tables, `tables` after them."""

    def __init__(
        self, folder: Path, more: str = "", tables: str = "", *, ports: Sequence[int] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        fabric, ingress, admin = ports or free_ports(3)
        self.ingress = f"http://127.0.0.1:{ingress}"
        self.admin = f"http://127.0.0.1:{admin}"
        self._config = folder / "restate.toml"
        self._config.write_text(
            f"""
disable-telemetry = true
listen-mode = "tcp"
base-dir = "{folder}/data"
bind-address = "127.0.0.1:{fabric}"
advertised-address = "http://127.0.0.1:{fabric}"
default-num-partitions = 2
rocksdb-total-memory-size = "64 MiB"
log-filter = "warn"
log-disable-ansi-codes = true
{more}
[ingress]
bind-address = "127.0.0.1:{ingress}"
[admin]
bind-address = "127.0.0.1:{admin}"
{tables}
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def begin(self) -> None:
        """Start it, and do not wait."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "--config-file", self._config, "--no-logo"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={"HOME": str(self.folder), "PATH": os.defpath},
            )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.begin()
        eventually(self.answers)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2_000:]
        try:
            health = (f"{self.admin}/health", f"{self.ingress}/restate/health")
            return all(httpx.get(url, trust_env=False).is_success for url in health)
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def rows(self, query: str) -> list[Json]:
        """What Restate says of itself (SQL)."""
        answer = httpx.post(
            f"{self.admin}/query",
            json={"query": query},
            headers={"accept": "application/json"},
            trust_env=False,
        )
        assert answer.is_success, answer.text
        rows: list[Json] = answer.json()["rows"]
        return rows

    def invocations(self, run_id: str) -> list[Json]:
        """What it knows of the run; nothing, once it has called for all that was sent."""
        return self.rows(
            "SELECT id, status, retry_count, scheduled_start_at FROM sys_invocation "
            f"WHERE target_service_key = '{run_id}'"
        )

    def service_at(self, url: str) -> str:
        """What the server at `url` is registered as."""
        deployments = httpx.get(f"{self.admin}/deployments", trust_env=False).json()["deployments"]
        [found] = [d for d in deployments if d["uri"].startswith(f"{url}/")]
        [service] = found["services"]
        name: str = service["name"]
        return name

    def settings(self) -> Json:
        """Federation Core's, to have it as the engine."""
        return {
            "engine": "restate",
            "restate_url": self.ingress,
            "restate_admin_url": self.admin,
        }


def cluster(folder: Path, size: int = 3) -> list[RestateServer]:
    """Servers that are one Restate, none started: every entry of the log, and the metadata, is with
    most of them."""
    servers: list[RestateServer] = []
    ports = free_ports(3 * size)
    fabrics = ports[2 * size :]
    peers = ", ".join(f'"http://127.0.0.1:{port}"' for port in fabrics)
    for number in range(size):
        more = (
            f'cluster-name = "tests"\nnode-name = "node-{number}"\n'
            f"default-replication = {size // 2 + 1}\n"
            f"auto-provision = {str(number == 0).lower()}\n"
        )
        server = RestateServer(
            folder / f"node-{number}",
            more,
            f"[metadata-client]\naddresses = [{peers}]\n",
            ports=(fabrics[number], ports[2 * number], ports[2 * number + 1]),
        )
        servers.append(server)
    return servers


def eventually(ask: Callable[[], T | None]) -> T:
    """Ask until the answer is something, for a while that a slow machine has."""
    end = time.monotonic() + _PATIENCE_S
    while not (found := ask()):
        assert time.monotonic() < end, f"{ask} is still {found!r}"
        time.sleep(0.02)
    return found


class Node(Server):
    """A development server with Restate as its engine; it is registered once it is
    `available`."""

    def __init__(self, data_dir: Path, restate: RestateServer, **settings: Any) -> None:
        told = {"python_allow": "tests.restate.steps", "secret_key": SECRET, "dev": True}
        super().__init__(data_dir, **{**told, **restate.settings(), **settings})
        assert self.url, f"The server does not listen: {self.greeting!r}"
        self.port = int(self.url.rpartition(":")[2])

    def ready(self) -> Json:
        answer = httpx.get(f"{self.url}/health/ready", trust_env=False)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def until_engine(self, state: str) -> None:
        """Wait until it says so of its engine."""
        eventually(lambda: self.ready()["engine"] == state)

    def until_idle(self) -> None:
        """Wait until no run is driven."""
        eventually(lambda: self.ready()["driving"] == 0)


class Impatient(Node):
    """One that holds no call of Restate's for longer than a moment."""

    module = "tests.restate.impatient"


def step(name: str, outside: Outside, call: str = "tell", **keys: Any) -> Json:
    """A step whose effect is seen outside."""
    given = {"name": name, "port": outside.port, **keys.pop("with_", {})}
    return {
        "id": name,
        "type": "ACT",
        "run": "python",
        "call": f"tests.restate.steps:{call}",
        "with": given,
        **keys,
    }


def ask(name: str, *, needs: list[str] | None = None) -> Json:
    """A step that waits for bob."""
    keys = {} if needs is None else {"needs": needs}
    return {"id": name, "type": "GATE", "gate": {"name": name, "approvers": ["bob"]}, **keys}


def register(http: Http, *steps: Json, name: str = "wf") -> None:
    text = json.dumps({"workflow": name, "version": "1.0.0", "steps": list(steps)})
    answer = http.post("/workflows/register", json={"workflow_yaml": text})
    assert answer.is_success, answer.text


def start(http: Http, *steps: Json, name: str = "wf") -> str:
    """Register a workflow of these steps if there are any, and begin a run."""
    if steps:
        register(http, *steps, name=name)
    run_id: str = http.run(workflow_id=name)["run_id"]
    return run_id


def until(http: Http, run_id: str, *statuses: str) -> Json:
    """The run whole, once it has one of `statuses`; any end, unless they are given."""
    wanted = statuses or ("completed", "failed", "cancelled")

    def ask() -> Json | None:
        whole = http.whole(run_id)
        return whole if whole["run"]["status"] in wanted else None

    return eventually(ask)


def gate_of(http: Http, run_id: str) -> str:
    """The one gate that is pending, once the run waits there."""
    whole = until(http, run_id, "paused")
    [found] = [g for g in whole["gates"] if g["status"] == "pending"]
    gate_id: str = found["gate_id"]
    return gate_id


def approve(http: Http, run_id: str, gate_id: str, actor: str = "bob") -> None:
    answer = http.patch(
        f"/workflows/runs/{run_id}/gates/{gate_id}",
        json={"status": "approved"},
        headers=http.acting(actor),
    )
    assert answer.is_success, answer.text
