"""Where `http` steps may go: `host[:port]` patterns.

    api.example.com        this host, any port
    127.0.0.1:9000         this host and port; named literally, so it may be a private address
    *.example.com:443      every name below, this port
    *                      every public host

`*` stands for one or more characters. A pattern that holds one never reaches a private address.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

import msgspec

from ..errors import SettingsError

__all__ = ["AllowList", "HostPattern", "normal_host"]

_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._*-]+)(?::(?P<port>[0-9]{1,5}|\*))?")


class HostPattern(msgspec.Struct, frozen=True):
    """One entry; `port` None for any."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, entry: str) -> "HostPattern":
        """Raises `SettingsError` for what is no pattern."""
        match = _ENTRY.fullmatch(entry.strip())
        port = match["port"] if match else None
        if match is None or (port not in (None, "*") and not 1 <= int(port) <= 65_535):
            raise SettingsError(
                f"{entry!r} is no host to allow; it must read `host` or `host:port`, "
                "without a scheme or a path."
            )
        return cls(normal_host(match["host"]), None if port in (None, "*") else int(port))

    @property
    def is_literal(self) -> bool:
        return "*" not in self.host

    def matches(self, host: str, port: int) -> bool:
        """`host` as `normal_host` gives it."""
        return self.port in (None, port) and _glob(self.host).fullmatch(host) is not None


class AllowList(msgspec.Struct, frozen=True):
    """The patterns together; with none, nothing is allowed."""

    patterns: tuple[HostPattern, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        return cls(tuple(map(HostPattern.parse, entries)))

    def allows(self, host: str, port: int) -> bool:
        host = normal_host(host)
        return any(p.matches(host, port) for p in self.patterns)

    def names(self, host: str, port: int) -> bool:
        """Whether the operator wrote this very host, and so answers for where it lies."""
        host = normal_host(host)
        return any(p.is_literal and p.matches(host, port) for p in self.patterns)


def normal_host(host: str) -> str:
    """Lower case, without brackets, and one spelling for each IP address."""
    host = host.removeprefix("[").removesuffix("]").lower()
    try:
        return str(ip_address(host))
    except ValueError:
        return host


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".+".join(map(re.escape, pattern.split("*"))))
