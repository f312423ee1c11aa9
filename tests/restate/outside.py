"""Effects as the world sees them: steps tell a server in the test's process what they do, and it
counts, whatever becomes of the processes that ran them."""

import json
import socketserver
import threading
from collections.abc import Callable
from typing import Any, Self

__all__ = ["Effect", "Outside"]

_PATIENCE_S = 40.0


class Effect:
    """A step that was executed: its name, its idempotency key, and the process it ran in."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.name: str = told["name"]
        self.key: str = told["key"]
        self.pid: int = told["pid"]

    def __repr__(self) -> str:
        return f"{self.name} ({self.key})"


class Outside:
    """Steps that are `held` are told to end by `let_go`, others at once."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self._held: set[str] = set()
        self._changed = threading.Condition()
        place = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                effect = Effect(json.loads(self.rfile.readline()))
                place._happens(effect)
                self.wfile.write(b"go on\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_about: object) -> None:
                """The process of the step was killed: it hears no answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._held.clear()
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def hold(self, *names: str) -> None:
        """Steps of these names do not end before `let_go`."""
        self._held.update(names)

    def let_go(self, *names: str) -> None:
        with self._changed:
            self._held.difference_update(names)
            self._changed.notify_all()

    def names(self) -> list[str]:
        with self._changed:
            return [effect.name for effect in self.effects]

    def until(self, enough: Callable[[list[Effect]], bool]) -> list[Effect]:
        """The effects, once they are enough."""
        with self._changed:
            assert self._changed.wait_for(lambda: enough(self.effects), _PATIENCE_S), self.effects
            return list(self.effects)

    def seen(self, name: str, times: int = 1) -> Effect:
        """Wait until the step has begun so often; its last effect."""
        found = self.until(lambda all_: sum(e.name == name for e in all_) >= times)
        return [e for e in found if e.name == name][-1]

    def _happens(self, effect: Effect) -> None:
        with self._changed:
            self.effects.append(effect)
            self._changed.notify_all()
            self._changed.wait_for(lambda: effect.name not in self._held)
