"""What stands before several servers: each connection goes to the next of them that takes it."""

import itertools
import socket
import socketserver
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

__all__ = ["Balancer"]

_CONNECT_S = 2.0
_CHUNK = 65_536


class Balancer:
    """Listens on a port of its own, at `url`; TCP, so it knows nothing of what is said."""

    def __init__(self, urls: Sequence[str] = ()) -> None:
        self.targets = [int(url.rpartition(":")[2]) for url in urls]
        """Ports on loopback; they may be changed while it runs."""
        turns = itertools.count()
        balancer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                target = balancer._connect(next(turns))
                if target is None:
                    return
                with target:
                    back = threading.Thread(target=_pump, args=(target, self.request))
                    back.start()
                    _pump(self.request, target)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _connect(self, turn: int) -> socket.socket | None:
        ports = list(self.targets)
        for number in range(len(ports)):
            port = ports[(turn + number) % len(ports)]
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_S)
            except OSError:
                continue
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Everything from one to the other, until either has closed."""
    source.settimeout(None)
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            with suppress(OSError):  # what is only closed lives on while another thread reads it
                each.shutdown(socket.SHUT_RDWR)
