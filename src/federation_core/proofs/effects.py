"""The world outside: a small HTTP service that takes changes and remembers every request, so that
an effect, or its absence, is seen where the server cannot write."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from .transcript import Json

__all__ = ["EffectService", "now"]

_MAX_BODY = 64 * 1024


def now() -> str:
    """The harness's clock, RFC 3339 in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class EffectService:
    """Listens while it is entered. `POST /effects` takes `{"run_id", "machines", …}` and answers
    `{"effect": <number>, "machines"}`; a repeated idempotency key is recorded, and answered as the
    first time; `GET /effects` lists what was taken."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises `OSError` where the address cannot be had."""
        self._lock = threading.Lock()
        self._taken: list[Json] = []
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        """`host:port`, as `FEDCORE_HTTP_ALLOW` takes it."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/effects"

    def __enter__(self) -> "EffectService":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, run_id: str | None = None) -> list[Json]:
        """The requests taken (for one run), in order: `{"effect", "run_id", "idempotency_key",
        "body", "at"}`."""
        with self._lock:
            return [dict(t) for t in self._taken if run_id is None or t["run_id"] == run_id]

    def take(self, key: str | None, body: Json) -> Json:
        with self._lock:
            same = [t["effect"] for t in self._taken if key and t["idempotency_key"] == key]
            number = same[0] if same else len({t["effect"] for t in self._taken}) + 1
            record = {
                "effect": number,
                "run_id": body.get("run_id"),
                "idempotency_key": key,
                "body": body,
                "at": now(),
            }
            self._taken.append(record)
        return {"effect": number, "machines": body.get("machines")}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: EffectService) -> None:
        super().__init__(address, _Handler)
        self.service = service


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer(200, {"effects": self.server.service.of()})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/effects" or length > _MAX_BODY:
            self._answer(404, {"error": "POST /effects takes at most 64 KiB"})
            return
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._answer(400, {"error": "the body must be a JSON object"})
            return
        self._answer(200, self.server.service.take(self.headers.get("Idempotency-Key"), body))

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """What it took stands in the report."""
