"""The service that steps call, outside of every process that is killed: it counts effects.

`POST /do/<how>` with the header `Idempotency-Key: <run>:<step>:<attempt>` has one effect, and
answers what it did. `how`: `well`; `late` (it takes its time); `third` (the first two attempts are
told to come back, and have no effect). A client that asks whether something happened calls
`settle`: from then on the answer stays true, for a later request with that key is refused.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple

__all__ = ["Effect", "Outside", "outside"]

_LATE_S = 0.03
_BUSY_ATTEMPTS = 2


class Effect(NamedTuple):
    """What was done once. `key` is the idempotency key that it was asked for with."""

    run_id: str
    step_id: str
    key: str


class Outside:
    """Counts. `effects` are in the order in which they were had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self.effects: list[Effect] = []
        self.url = ""

    def have(self, effect: Effect) -> bool:
        """Have the effect, unless somebody was told already that it never will be had."""
        with self._lock:
            if effect.key in self._refused:
                return False
            self.effects.append(effect)
            return True

    def settle(self, key: str) -> bool:
        """Whether the effect of this key was had; where not, it never will be."""
        with self._lock:
            had = any(e.key == key for e in self.effects)
            if not had:
                self._refused.add(key)
            return had

    def restart(self, effects: list[Effect]) -> None:
        """Another test begins, after these effects."""
        with self._lock:
            self.effects = list(effects)
            self._refused.clear()

    def of(self, run_id: str) -> Counter[tuple[str, str]]:
        """How often each (step, idempotency key) of a run had its effect."""
        with self._lock:
            return Counter((e.step_id, e.key) for e in self.effects if e.run_id == run_id)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    outside: ClassVar[Outside]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        word, *rest = self.path.strip("/").split("/")
        try:
            if word == "settle":
                self._answer(200, {"happened": self.outside.settle(rest[0])})
            else:
                self._do(rest[0])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # who asked was killed meanwhile

    def _do(self, how: str) -> None:
        key = self.headers["Idempotency-Key"]
        run_id, step_id, attempt = key.split(":")
        if how == "third" and int(attempt) <= _BUSY_ATTEMPTS:
            self._answer(503, {"busy": True})
            return
        if how == "late":
            threading.Event().wait(_LATE_S)
        had = self.outside.have(Effect(run_id, step_id, key))
        self._answer(200 if had else 410, {"step": step_id, "key": key})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked was killed meanwhile."""


@contextmanager
def outside() -> Iterator[Outside]:
    """The service, listening on a port of loopback."""
    service = Outside()
    handler = type("Handler", (_Handler,), {"outside": service})
    server = _Server(("127.0.0.1", 0), handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
