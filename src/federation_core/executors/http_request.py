"""From a step's evaluated request to one that may be sent, or a refusal."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from ..spine.canonical import canonical
from ..spine.definition import HttpWork
from .allow import AllowList
from .base import StepContext, StepError

__all__ = ["OutgoingRequest", "prepare"]

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_PORTS = {"http": 80, "https": 443}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t -~]*")  # RFC 9110, 5.5, without obs-text
_OURS = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "trailer", "te", "accept-encoding"),
        *("connection", "keep-alive", "upgrade", "expect"),
        *("proxy-authorization", "proxy-connection"),
    }
)
"""Headers that say where the request goes and where it ends."""
_SECRET = re.compile(r"FEDCORE_SECRET_[A-Z0-9_]+")
_NOT_A_SECRET = "FEDCORE_SECRET_KEY"  # noqa: S105 - the server's own, which no step may send


class _Env(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    env: str


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: str
    url: str
    headers: dict[str, str | int | _Env] = {}
    json: Any = msgspec.UNSET


class OutgoingRequest(msgspec.Struct, frozen=True):
    """Ready to send. `label` is how messages name it, `secrets` what must not come back."""

    method: str
    url: httpx.URL
    headers: httpx.Headers
    content: bytes | None
    secrets: tuple[str, ...]

    @property
    def target(self) -> tuple[str, int]:
        """Host and port."""
        return self.url.host, self.url.port or _PORTS[self.url.scheme]

    @property
    def label(self) -> str:
        return f"{self.method} {self.url.copy_with(query=None, fragment=None)}"


def prepare(
    work: HttpWork,
    step_input: Any,
    ctx: StepContext,
    allow: AllowList,
    environ: Mapping[str, str],
) -> OutgoingRequest:
    """Raises `StepError`: `RequestRefused` for what is no request, `HostRefused` for a host that is
    not allowed, `SecretMissing` for a header whose environment variable is not set.

    Which secret goes into which header stands in the definition, word for word; a header that was
    computed is text, whatever the run's input made of it.

    The body is the RFC 8785 form of `json`: the bytes that the input's hash answers for.
    """
    try:
        asked = msgspec.convert(step_input, _Input)
    except msgspec.ValidationError as e:
        raise _refused(f"the request must be method, url, headers and json ({e})") from e
    method = asked.method.upper()
    if method not in _METHODS:
        raise _refused(f"the method must be one of {', '.join(sorted(_METHODS))}")
    url = _checked_url(asked.url, allow)
    secrets = {
        name: _secret(value.env, environ)
        for name, value in asked.headers.items()
        if isinstance(value, _Env) and _is_named(work, name, value.env)
    }
    given = {name: secrets.get(name, str(value)) for name, value in asked.headers.items()}
    content = None if asked.json is msgspec.UNSET else canonical(asked.json)
    headers = _headers(given, ctx, has_content=content is not None)
    return OutgoingRequest(method, url, headers, content, tuple(secrets.values()))


def _is_named(work: HttpWork, header: str, name: str) -> bool:
    """Raises `StepError` where the header's secret does not stand in the definition."""
    if work.headers.get(header) != {"env": name}:
        raise _refused(f"the header {header} was computed, and only a text can be")
    return True


def _checked_url(text: str, allow: AllowList) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as e:
        raise _refused(f"the url cannot be read ({e})") from e
    if url.scheme not in _PORTS or not url.host:
        raise _refused("the url must begin with http:// or https:// and a host")
    if url.userinfo:
        raise _refused("the url must not hold a user or a password; use a header")
    host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
    if not 0 < port < 65_536:
        raise _refused(f"the url's port {port} does not exist")
    if not allow.allows(host, port):
        raise StepError("HostRefused", f"FEDCORE_HTTP_ALLOW does not list {host}:{port}.")
    return url


def _secret(name: str, environ: Mapping[str, str]) -> str:
    if not _SECRET.fullmatch(name) or name == _NOT_A_SECRET:
        raise _refused(
            f"a header may be filled from FEDCORE_SECRET_<NAME> (never {_NOT_A_SECRET}), "
            f"not from {name[:100]!r}"
        )
    value = environ.get(name)
    if not value:
        raise StepError("SecretMissing", f"The environment variable {name} is not set.")
    return value


def _headers(given: Mapping[str, str], ctx: StepContext, *, has_content: bool) -> httpx.Headers:
    headers = httpx.Headers(
        {
            "Accept": "application/json, */*;q=0.5",
            "Idempotency-Key": _header_safe(ctx.idempotency_key),
            "X-Correlation-Id": _header_safe(ctx.correlation_id),
        }
    )
    if has_content:
        headers["Content-Type"] = "application/json"
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise _refused(f"the header {name[:100]!r} is not one that a step may set")
        if not _HEADER_VALUE.fullmatch(value):
            raise _refused(f"the header {name!r} must hold printable ASCII on one line")
        headers[name] = value.strip()
    return headers


def _header_safe(text: str) -> str:
    return quote(text, safe="!#$&'()*+,/:;=?@[]|~")


def _refused(reason: str) -> StepError:
    return StepError("RequestRefused", f"The request is refused: {reason}.")
