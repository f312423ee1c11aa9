"""Steps that log, each in one of the ways that people log."""

import asyncio
import logging
from typing import Any

import structlog

from federation_core.executors import StepContext

__all__ = ["by_context", "by_logging", "by_root", "by_structlog", "raising", "through_a_library"]

_log = logging.getLogger(__name__)


def by_logging(name: str) -> str:
    """In a thread, through the standard library."""
    _log.info("scored %s", name, extra={"risk": 3})
    return name


async def by_root(name: str) -> str:
    await asyncio.sleep(0)
    logging.info("scored %s", name)  # noqa: LOG015 (people do)
    return name


def by_structlog(name: str) -> str:
    structlog.get_logger().info("scored", name=name)
    return name


def by_context(name: str, ctx: StepContext) -> str:
    ctx.logger.info("scored", name=name)
    return name


def through_a_library(secret: str) -> str:
    """What a library tells on the way: never at these levels."""
    for name in ("httpx", "httpcore.http11", "urllib3", "elsewhere.tests"):
        logging.getLogger(name).info("sent %s", secret)
        logging.getLogger(name).debug("sent %s", secret)
    return secret


def raising(secret: str) -> Any:
    """An error that repeats its value."""
    raise LookupError(secret)
