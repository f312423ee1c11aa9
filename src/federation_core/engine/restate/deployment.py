"""How Restate comes to know where to call: the registration, through its admin API."""

from typing import Any, TypeVar

import httpx
import msgspec

from .options import Restate

__all__ = ["NotRegistered", "register"]

_METADATA = "federation-core"
_DISCOVERY_S = 20.0
"""Restate calls us before it answers; our own server may be on its way up still."""


_T = TypeVar("_T")


class NotRegistered(Exception):
    """Restate could not be told, and why."""


class _Service(msgspec.Struct):
    deployment_id: str


class _Deployment(msgspec.Struct):
    metadata: dict[str, str] = {}


async def register(http: httpx.AsyncClient, restate: Restate, service: str) -> bool:
    """See to it that the newest deployment of `service` is the one that `restate` describes.
    False where it was so already. Raises `NotRegistered`.

    What is registered under our URL is overwritten (`force`). That may break invocations of a
    service that has a journal; ours has none, so nodes may register by turns, as often as they
    start, and after an upgrade or a change of the secret nothing that waits is lost.
    """
    try:
        if await _is_registered(http, restate, service):
            return False
        answer = await http.post(
            f"{restate.admin}/deployments",
            json={
                "uri": restate.endpoint,
                "use_http_11": True,
                "additional_headers": {"authorization": f"Bearer {restate.token}"},
                "metadata": {_METADATA: restate.fingerprint},
                "force": True,
            },
            timeout=_DISCOVERY_S,
        )
    except httpx.HTTPError as e:
        raise NotRegistered(f"{restate.admin} does not answer: {e or type(e).__name__}") from e
    if not answer.is_success:
        raise NotRegistered(f"{restate.admin} refuses {restate.endpoint}: {_reason(answer)}")
    return True


async def _is_registered(http: httpx.AsyncClient, restate: Restate, name: str) -> bool:
    found = await http.get(f"{restate.admin}/services/{name}")
    service = _decoded(found, _Service)
    if service is None:
        return False
    found = await http.get(f"{restate.admin}/deployments/{service.deployment_id}")
    deployment = _decoded(found, _Deployment)
    return deployment is not None and deployment.metadata.get(_METADATA) == restate.fingerprint


def _decoded(answer: httpx.Response, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(answer.content, type=kind) if answer.is_success else None
    except msgspec.MsgspecError:
        return None


def _reason(answer: httpx.Response) -> str:
    """Restate's own sentence."""
    try:
        said: Any = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        said = None
    message = said.get("message") if isinstance(said, dict) else None
    return f"{answer.status_code} {message or answer.reason_phrase}"
