"""HTTP over a socket that we opened: Granian on the running event loop, in this process."""

import socket
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server as Granian
from litestar.types import ASGIApp

from ..errors import OperatorError

__all__ = ["Server", "listen", "url_of"]

_BACKLOG = 1_024
_CONNECTIONS = 4_096


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `OperatorError`.

    Granian's own would share its port with whoever asks for the same (`SO_REUSEPORT`), and two
    servers would answer by turns.
    """
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as e:
        if listener is not None:
            listener.close()
        raise OperatorError(
            f"The server cannot listen on {host} port {port}: {e.strerror or e}; stop what uses "
            "it, or choose another with --port.",
            code="cannot_listen",
        ) from e
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(Granian):
    """Serves `app` on `listener` until `stop`, then finishes the requests that are under way."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_CONNECTIONS,
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Were this hook gone in a later Granian, its own bind would fail: the port is ours.
        make: Any = SocketHolder  # the stub lacks its parameters: descriptor, is_uds, backlog
        self._shd = make(self._listener.detach(), False, _BACKLOG)

    def finish(self) -> None:
        """Take no more connections, and end `serve` once every request is answered."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()
