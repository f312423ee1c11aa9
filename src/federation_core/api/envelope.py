"""The envelope in which existing OMEGA SDKs read `/api/v1`."""

from typing import Any, Literal

import msgspec

from .. import __version__
from ..engine.ports import system_clock
from ..spine.times import to_rfc3339
from .context import Anyone
from .health import uptime
from .operation import operation

__all__ = ["envelope_health"]


class Meta(msgspec.Struct, frozen=True):
    correlation_id: str
    request_id: str
    ts: str


class EnvelopeError(msgspec.Struct, frozen=True):
    code: str
    message: str
    details: Any
    retryable: bool


class HealthData(msgspec.Struct, frozen=True):
    status: Literal["ok"]
    version: str
    uptime_s: float


class HealthEnvelope(msgspec.Struct, frozen=True):
    """`error` is null where `ok`."""

    ok: bool
    data: HealthData
    error: EnvelopeError | None
    meta: Meta


@operation("GET", "/api/v1/health", tag="OMEGA aliases")
async def envelope_health(ask: Anyone) -> HealthEnvelope:
    """Say that the server lives, in the envelope."""
    meta = Meta(ask.correlation_id, ask.request_id, to_rfc3339(system_clock()))
    return HealthEnvelope(True, HealthData("ok", __version__, uptime(ask)), None, meta)
