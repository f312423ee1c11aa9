"""Whether the server lives, whether it can work, and what it has counted."""

import time
from typing import Literal

import msgspec

from .. import __version__
from .context import Anyone
from .metrics import CONTENT_TYPE_LATEST
from .operation import operation

__all__ = ["health", "metrics", "ready", "uptime"]

_TAG = "health"


class Health(msgspec.Struct, frozen=True):
    status: Literal["healthy"]
    version: str
    uptime_s: float


class Ready(msgspec.Struct, frozen=True):
    """`driving` is how many managed runs are under way on this node. While the engine is
    `unavailable`, everything is accepted and durable, and managed runs wait for it."""

    status: Literal["ready"]
    driving: int
    engine: Literal["available", "unavailable"]


@operation("GET", "/health", tag=_TAG)
async def health(ask: Anyone) -> Health:
    """Say that the server lives."""
    return Health("healthy", __version__, uptime(ask))


@operation("GET", "/health/ready", tag=_TAG, refuses=(503,))
async def ready(ask: Anyone) -> Ready:
    """Say whether the server can work: whether its ledger can be written."""
    await ask.core.check()
    engine: Literal["available", "unavailable"] = (
        "available" if ask.core.engine_available else "unavailable"
    )
    return Ready("ready", ask.core.driving, engine)


@operation("GET", "/metrics", tag=_TAG, media_type=CONTENT_TYPE_LATEST)
async def metrics(ask: Anyone) -> bytes:
    """Tell what is measured, in the text format of Prometheus."""
    return ask.api.metrics.text(await ask.core.families())


def uptime(ask: Anyone) -> float:
    """Seconds since the server started."""
    return round(time.monotonic() - ask.api.started, 3)
