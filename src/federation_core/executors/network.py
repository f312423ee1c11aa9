"""The way out: names are resolved once, every address is checked, and the connection goes to an
address that was checked, so that a name which changes its answer (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpcore
import httpx

from .allow import AllowList
from .base import StepError

__all__ = ["GuardedBackend", "GuardedTransport", "Resolver", "is_public", "resolve"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port in, IP addresses out. Raises `OSError` where there are none."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ALSO_SPECIAL = (IPv4Network("192.0.0.0/24"), IPv6Network("3fff::/20"))
"""Blocks of the registries that older Pythons take for public."""


def is_public(address: str) -> bool:
    """Whether a packet to it leaves for the open internet (IANA special-purpose registries).

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is judged for itself. Anything that is
    no IP address is not public.
    """
    try:
        ip = _unwrapped(ip_address(address))
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    if any(ip in block for block in _ALSO_SPECIAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


async def resolve(host: str, port: int) -> list[str]:
    """The system's resolver, which also reads the odd spellings (`127.1`, `0x7f000001`)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to public addresses, or to hosts that `allow` names literally."""

    def __init__(
        self,
        allow: AllowList,
        resolver: Resolver = resolve,
        inner: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow = allow
        self._resolver = resolver
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._checked_addresses(host, port):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failure = e
        raise failure

    async def _checked_addresses(self, host: str, port: int) -> Sequence[str]:
        if not self._allow.allows(host, port):
            raise StepError("HostRefused", f"FEDCORE_HTTP_ALLOW does not list {host}:{port}.")
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError) as e:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {e}") from e
        for address in addresses:
            if not is_public(address) and not self._allow.names(host, port):
                raise StepError(
                    "AddressRefused",
                    f"{host} is at {address}, which is not a public address; "
                    f"FEDCORE_HTTP_ALLOW must name {host}:{port} itself to allow that.",
                )
        return addresses


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx over a pool of guarded connections. The parent's own pool is never made, so there is
    no other way out."""

    def __init__(self, backend: GuardedBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=256,
            max_keepalive_connections=32,
            keepalive_expiry=5.0,
            network_backend=backend,
        )
