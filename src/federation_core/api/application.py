"""The HTTP application: the operations behind their routes, and what surrounds each of them."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, cast

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp, Method

from .. import __version__
from ..errors import NotFound
from ..service import FederationCore
from ..telemetry import Family, Tracer
from ..telemetry.families import gauge
from . import (
    envelope,
    events,
    evidence,
    gates,
    health,
    log,
    policies,
    reference,
    runs,
    schedules,
    steps,
    workflows,
)
from .aliases import ALIASES
from .auth import Auth
from .context import Api
from .correlation import Correlated
from .endpoint import answer
from .limits import Room
from .metrics import Metrics
from .operation import Operation
from .problems import to_problem

__all__ = ["OPERATIONS", "build_app"]

OPERATIONS: tuple[Operation, ...] = (
    runs.create_run,
    runs.list_runs,
    runs.get_run,
    runs.change_status,
    runs.restart_run,
    runs.logs,
    runs.get_payload,
    events.live_events,
    steps.record_step,
    gates.request_gate,
    gates.answer_gate,
    gates.resume_run,
    gates.bypass_gate,
    gates.pending_gates,
    workflows.register_workflow,
    workflows.list_workflows,
    schedules.add_schedule,
    schedules.list_schedules,
    schedules.get_schedule,
    schedules.remove_schedule,
    schedules.pause_schedule,
    schedules.resume_schedule,
    policies.activate_policy,
    policies.list_policies,
    evidence.get_evidence,
    evidence.get_evidence_of_many,
    evidence.get_receipt,
    evidence.erase,
    log.checkpoint,
    log.inclusion,
    log.consistency,
    log.tile,
    log.log_keys,
    log.rotate_key,
    log.trust,
    health.health,
    health.ready,
    health.metrics,
    reference.openapi_json,
    reference.page,
    *ALIASES,
    envelope.envelope_health,
)
"""Everything that the server answers, in the order of its description."""

MAX_REQUESTS = 1_024
MAX_STREAMS = 1_024

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def build_app(
    core: FederationCore,
    auth: Auth,
    *,
    closing: asyncio.Event | None = None,
    max_requests: int = MAX_REQUESTS,
    max_streams: int = MAX_STREAMS,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """The ASGI application. Setting `closing` ends the streams and the waits that are open;
    `tracer` is told of each request.

    At most `max_requests` are worked on at a time, and `max_streams` followed; more are refused.
    """
    requests = Room(max_requests, "requests")
    streams = Room(max_streams, "live streams")
    api = Api(
        core=core,
        operations=OPERATIONS,
        auth=auth,
        metrics=Metrics(lambda: _places(requests, streams)),
        requests=requests,
        streams=streams,
        closing=closing or asyncio.Event(),
    )
    methods = _Methods(OPERATIONS)

    def no_method(
        request: Request[Any, Any, Any], _error: MethodNotAllowedException
    ) -> Response[bytes]:
        return to_problem(request, methods.refusal(request.scope["path"]))

    app = _Plain(
        route_handlers=_routes(api, OPERATIONS, methods),
        exception_handlers={
            MethodNotAllowedException: no_method,
            HTTPException: to_problem,
            Exception: to_problem,
        },
        openapi_config=None,
        logging_config=None,
    )
    served = cast("ASGIApp", app)
    if core.restate is not None:
        from .restate import Mounted  # its library is there where it is chosen

        served = Mounted(served, core.restate, api.closing)
    return Correlated(served, api.metrics, core.default_tenant, tracer)


class _Plain(Litestar):
    """Without the plugins for other libraries' models, which nothing here uses and which take an
    eighth of a second to import. (Were this hook gone in a later Litestar, they would be back.)"""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def _places(requests: Room, streams: Room) -> Iterator[Family]:
    yield gauge("fedcore_build", "Its version.", {(__version__,): 1}, "version")
    yield gauge("fedcore_requests_in_flight", "Requests under way.", requests.taken)
    yield gauge("fedcore_streams_open", "Live streams followed.", streams.taken)


class _Methods:
    """Which methods a path takes, its verb included: Litestar does not know of verbs."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._known = [(_pattern(o), o.method) for o in operations]

    def refusal(self, path: str) -> HTTPException:
        """The error for a method that `path` does not take: 405, or 404 where it takes none."""
        found = sorted({method for pattern, method in self._known if pattern.fullmatch(path)})
        if not found:
            return NotFoundException()
        return MethodNotAllowedException(headers={"allow": ", ".join([*found, "OPTIONS"])})


def _pattern(operation: Operation) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", operation.path)
    named = [".+" if name == operation.rest else "[^/:]+" for name in parts[1::2]]
    fixed = [re.escape(part) for part in parts[::2]]
    return re.compile("".join(map("".join, zip_longest(fixed, named, fillvalue=""))))


def _routes(api: Api, operations: Sequence[Operation], methods: _Methods) -> list[HTTPRouteHandler]:
    """A handler for each path and method. Operations that differ only in the verb at the end of
    the path (`…/{run_id}:resume`) share one, for Litestar's paths are made of whole segments."""
    shared: dict[tuple[str, str], dict[str, Operation]] = defaultdict(dict)
    for operation in operations:
        path, verb = operation.route
        shared[path, operation.method][verb] = operation
    with_verbs = {path for (path, _), by_verb in shared.items() if any(by_verb)}
    return [
        HTTPRouteHandler(
            _typed(path, by_verb),
            http_method=cast("Method", method),
            status_code=200 if method == "DELETE" else None,  # Litestar's 204 would have no body
        )(_handler(api, by_verb, methods, has_verbs=path in with_verbs))
        for (path, method), by_verb in shared.items()
    ]


def _typed(path: str, by_verb: dict[str, Operation]) -> str:
    """The path as Litestar writes it."""
    rest = {o.rest for o in by_verb.values()}
    return re.sub(r"\{(\w+)\}", lambda m: f"{{{m[1]}:{'path' if m[1] in rest else 'str'}}}", path)


def _handler(
    api: Api, by_verb: dict[str, Operation], methods: _Methods, *, has_verbs: bool
) -> Callable[[Request[Any, Any, Any]], Awaitable[Response[Any]]]:
    rest = next((o.rest for o in by_verb.values()), None)

    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        params: dict[str, str] = dict(request.scope["path_params"])
        verb = ""
        if rest is not None:
            params[rest] = str(params[rest]).lstrip("/")
        if has_verbs:
            name = next(reversed(params))
            params[name], _, verb = params[name].partition(":")
        operation = by_verb.get(verb)
        if operation is None:
            raise methods.refusal(request.scope["path"])
        _check_ids({name: value for name, value in params.items() if name != rest})
        return await answer(api, operation, request, params)

    return handle


def _check_ids(params: dict[str, str]) -> None:
    """What cannot be an id names nothing, and goes no further."""
    for name, value in params.items():
        if not _ID.match(value):
            kind = name.removesuffix("_id")
            raise NotFound(f"There is no {kind} {value[:64]!a}.", code=f"{kind}_not_found")
