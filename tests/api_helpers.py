"""A server of our own in a process of its own, and a client written from the contract alone.

`python -m tests.api_helpers DATA_DIR [name=value …]` serves with these settings.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

__all__ = ["ALIAS", "CANONICAL", "SECRET", "Family", "Http", "Server", "bearer", "serving"]

ROOT = Path(__file__).resolve().parents[1]
SECRET = "a secret that the tests share with the server"

Json = dict[str, Any]


def bearer(secret: str = SECRET, **claims: Any) -> str:
    """A token as the contract describes it; claims override the usual ones."""
    now = int(time.time())
    payload = {
        "server_id": "client",
        "scopes": [],
        "iat": now,
        "exp": now + 3600,
        "jti": uuid.uuid4().hex,
        **claims,
    }
    encoded = _base64url(json.dumps(payload, separators=(",", ":")).encode())
    signature = hmac.new(secret.encode(), encoded.encode(), hashlib.sha256).digest()
    return f"omega_{encoded}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Http(httpx.Client):
    """Sends requests to one server as one actor of one tenant."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        actor: str | None = "alice",
        tenant: str | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token or bearer()}"}
        if actor is not None:
            headers["X-Actor-Id"] = actor
        if tenant is not None:
            headers["X-Tenant-Id"] = tenant
        super().__init__(base_url=url, headers=headers, timeout=20, trust_env=False)

    def acting(self, actor: str) -> Mapping[str, str]:
        """The headers of a request by somebody else."""
        return {"X-Actor-Id": actor}

    def run(self, **more: Any) -> Json:
        """A new external run."""
        answer = self.post("/workflows/runs", json={"workflow_id": "job", **more})
        assert answer.status_code == 201, answer.text
        run: Json = answer.json()["run"]
        return run

    def running(self, **more: Any) -> str:
        """The id of an external run that is running."""
        run_id: str = self.run(**more)["run_id"]
        self.become(run_id, "running")
        return run_id

    def become(self, run_id: str, status: str, **more: Any) -> httpx.Response:
        answer = self.patch(f"/workflows/runs/{run_id}/status", json={"status": status, **more})
        assert answer.status_code == 200, answer.text
        return answer

    def gate(self, run_id: str, **more: Any) -> Json:
        body = {"step_id": "act", "gate_name": "Approval", **more}
        answer = self.post(f"/workflows/runs/{run_id}/gates", json=body)
        assert answer.status_code == 201, answer.text
        gate: Json = answer.json()
        return gate

    def whole(self, run_id: str) -> Json:
        """The run with all that belongs to it."""
        params = {"include_logs": "true", "include_gates": "true", "include_steps": "true"}
        answer: Json = self.get(f"/workflows/runs/{run_id}", params=params).json()
        return answer

    def codes(self, run_id: str) -> list[str]:
        """The event codes of its log."""
        return [entry["event_type"] for entry in self.whole(run_id)["logs"]]


class Family:
    """The paths of the contract in one of their two spellings; a path is (method, template)."""

    def __init__(self, name: str, **paths: tuple[str, str]) -> None:
        self.name = name
        self._paths = paths

    def __repr__(self) -> str:
        return self.name

    def all(self) -> Iterable[tuple[str, str]]:
        """Every method and path."""
        return self._paths.values()

    def __call__(
        self,
        client: httpx.Client,
        what: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **ids: str,
    ) -> httpx.Response:
        method, template = self._paths[what]
        return client.request(
            method, template.format(**ids), json=body, params=params, headers=headers
        )


CANONICAL = Family(
    "canonical",
    create=("POST", "/workflows/runs"),
    runs=("GET", "/workflows/runs"),
    run=("GET", "/workflows/runs/{run_id}"),
    status=("PATCH", "/workflows/runs/{run_id}/status"),
    step=("POST", "/workflows/runs/{run_id}/steps"),
    logs=("GET", "/workflows/runs/{run_id}/logs"),
    request=("POST", "/workflows/runs/{run_id}/gates"),
    resolve=("PATCH", "/workflows/runs/{run_id}/gates/{gate_id}"),
    resume=("POST", "/workflows/runs/{run_id}:resume"),
    gates=("GET", "/workflows/gates"),
    register=("POST", "/workflows/register"),
)
ALIAS = Family(
    "alias",
    create=("POST", "/api/fc/runs"),
    runs=("GET", "/api/fc/runs"),
    run=("GET", "/api/fc/runs/{run_id}"),
    status=("PATCH", "/api/fc/runs/{run_id}"),
    step=("POST", "/api/fc/runs/{run_id}/steps"),
    logs=("GET", "/api/fc/runs/{run_id}/logs"),
    request=("POST", "/api/fc/runs/{run_id}/gate"),
    resolve=("POST", "/api/fc/gates/{gate_id}"),
    resume=("POST", "/api/fc/runs/{run_id}:resume"),
    gates=("GET", "/api/fc/gates"),
    register=("POST", "/api/fc/workflows/register"),
)


class Server:
    """A server that listens. Use it as a context manager: it does not outlive the block.

    `stderr` is where it logs, by default where the tests do.
    """

    module = "tests.api_helpers"
    """What the process runs."""

    def __init__(self, data_dir: Path, *, stderr: int | None = None, **settings: Any) -> None:
        self.data_dir = data_dir
        told = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", self.module, str(data_dir), *told],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline().strip()
        self.url = self.greeting.partition("listens on ")[2].partition(" ")[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def client(self, **who: Any) -> Http:
        return Http(self.url, **who)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(data_dir: Path, **settings: Any) -> Iterator[Server]:
    """A server with the tests' secret, in development mode unless `settings` say otherwise."""
    with Server(data_dir, **{"secret_key": SECRET, "dev": True, **settings}) as server:
        assert server.url, f"The server does not listen: {server.greeting!r}"
        yield server


def _main(data_dir: str, *told: str) -> None:
    import msgspec

    from federation_core.app import serve
    from federation_core.errors import OperatorError
    from federation_core.settings import load_settings

    given = {name: json.loads(value) for name, _, value in (t.partition("=") for t in told)}
    port = given.pop("port", 0)
    settings = load_settings({"data_dir": data_dir, **given}, {})
    settings = msgspec.structs.replace(settings, port=port)
    try:
        asyncio.run(serve(settings, announce=_say))
    except OperatorError as e:
        _say(f"{e.error_code}: {e.detail}")
        sys.exit(3)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (the pipe to the test)


if __name__ == "__main__":
    _main(*sys.argv[1:])
