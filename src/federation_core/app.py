"""The composition root: settings in, a running server out."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import structlog

from . import __version__
from .engine.restate.options import PATH, Restate, token_of
from .errors import OperatorError
from .identity import load_or_create_secret
from .service import FederationCore
from .settings import Settings, parse_witness
from .telemetry import Telemetry
from .telemetry.setup import observed

__all__ = ["load_secret", "open_core", "serve"]

_SECRET_FILE = "secret.key"  # noqa: S105 (the name of a file)
_GRACE_S = 10.0
"""How long requests that are under way may take to finish when the server stops."""

_SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter lock while others want it. At Python's 5 ms a busy
event loop would keep the ledger's writer waiting longer for the lock than for the disk."""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (whoever started us through a pipe waits for it)


def load_secret(settings: Settings) -> str:
    """The secret of the tokens: as it is set, else the server's own in the data directory, made
    with mode 0600 where there is none. Raises `SettingsError`."""
    return settings.secret_key or load_or_create_secret(settings.data_dir / _SECRET_FILE)


def open_core(
    settings: Settings, url: str, telemetry: Telemetry | None = None
) -> AbstractAsyncContextManager[FederationCore]:
    """The system that `settings` describe, served at `url`. See `FederationCore.open` for what is
    raised."""
    return FederationCore.open(
        settings.data_dir,
        database=settings.database,
        lease_s=settings.node_lease,
        policy_dir=settings.policy_dir,
        shipped_policy=settings.default_bundle,
        workflow_dir=settings.workflow_dir,
        tenant=settings.tenant,
        http_allow=settings.http_allow,
        python_allow=settings.python_allow,
        require_registration=settings.require_registration,
        signing_key=settings.signing_key or settings.signing_key_file,
        previous_signing_key=settings.previous_signing_key,
        witnesses=[parse_witness(w) for w in settings.witnesses],
        telemetry=telemetry,
        restate=_restate(settings, url),
    )


def _restate(settings: Settings, url: str) -> Restate | None:
    if settings.engine != "restate":
        return None
    return Restate(
        ingress=settings.restate_ingress,
        admin=settings.restate_admin,
        endpoint=settings.restate_endpoint or f"{url}{PATH}",
        token=token_of(load_secret(settings)),
        version=__version__,
        identity_keys=settings.restate_identity_key,
    )


async def serve(settings: Settings, *, announce: Callable[[str], None] = _say) -> None:
    """Serve HTTP until SIGTERM or SIGINT, then finish what is under way and return.

    Everything runs in this process, so that nothing is left behind when it is killed. `announce`
    is told once, when the server listens, and on which port. Raises `OperatorError` where it
    cannot listen, and what `open_core` and `load_secret` raise.
    """
    from .api import Auth, build_app
    from .api.server import Server, listen, url_of

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    secret = load_secret(settings)
    with _observed(settings) as telemetry, listen(settings.host, settings.port) as listener:
        url = url_of(listener)
        async with open_core(settings, url, telemetry) as core:
            closing = asyncio.Event()
            auth = Auth(
                secret=secret,
                mode="development" if settings.dev else "production",
                default_tenant=settings.tenant,
            )
            app = build_app(core, auth, closing=closing, tracer=telemetry.tracer)
            server = Server(app, listener)
            serving = asyncio.ensure_future(server.serve())
            _on_signals(closing.set)
            gc.freeze()  # the program itself is never looked through again
            gc.enable()
            announce(await _greeting(settings, core, url))
            await _first(serving, closing)
            structlog.get_logger().info("stopping", driving=core.driving)
            server.finish()
            await asyncio.wait({serving}, timeout=_GRACE_S)
        structlog.get_logger().info("stopped")


async def _first(serving: asyncio.Future[None], closing: asyncio.Event) -> None:
    """Wait until the server is to close. Raises `OperatorError` where it ended before that."""
    stop = asyncio.ensure_future(closing.wait())
    either: set[asyncio.Future[Any]] = {serving, stop}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if serving.done() and not closing.is_set():
        stop.cancel()
        raise OperatorError(
            "The HTTP server ended by itself; start it again.", code="server_ended"
        ) from serving.exception()


def _observed(settings: Settings) -> AbstractContextManager[Telemetry]:
    return observed(
        level=settings.log_level,
        form=settings.log_format,
        endpoint=settings.otlp_endpoint,
        trusted=settings.python_allow,
        version=__version__,
    )


async def _greeting(settings: Settings, core: FederationCore, url: str) -> str:
    history = await core.policies.history(core.call("system", kind="system"))
    policy = history[-1].bundle_id if history and history[-1].active else "none"
    mode = "development" if settings.dev else "production"
    return (
        f"Federation Core {__version__} listens on {url} "
        f"(data {settings.data_dir}, policy {policy}, {mode} mode)"
    )


def _on_signals(stop: Callable[[], None]) -> None:
    """Stop at the first signal; the second does what it does to any program."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def first() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
        stop()

    for number in numbers:
        loop.add_signal_handler(number, first)
