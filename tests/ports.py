"""Ports of loopback for servers that are started later, and more than once."""

import random
import socket
from contextlib import suppress

__all__ = ["free_port", "free_ports"]

_RANGE = range(15_000, 32_000)
"""Below those that systems give to connections, and to whoever asks for any port: nobody comes
between the choice and the server."""
_random = random.SystemRandom()  # processes of one test run are seeded alike


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        with suppress(OSError):
            sockets.append(socket.create_server(("127.0.0.1", _random.choice(_RANGE))))
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
