"""One row of the contract: a method and a path, what is asked, what is answered.

A handler is an async function. Its parameters say what it takes: `ask` (an `Anyone` where nobody
has to say who they are), the names in the path, `query` and `body` (structs that are checked before
it is called); what it returns is the answer's shape. The server's routes and its OpenAPI document
are both read from here, so neither can know what the other does not.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from ..identity import Scope

__all__ = ["EVENT_STREAM", "JSON", "Handler", "Operation", "alias", "operation"]

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
Handler = Callable[..., Awaitable[Any]]

_PARAMETER = re.compile(r"\{(\w+)\}")
_REFUSED_WITH_TOKEN = (401, 403, 422, 429, 503)
_REFUSED_WITH_BODY = (408, 413, 415, 422)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`scope` is what the caller's token must open, None where no token is asked for. `refuses` are
    the statuses of refusals that do not follow from the rest. Where `waits`, `Prefer: wait` is
    heeded; `location` makes the `Location` header of an answer. A `lenient` operation ignores
    unknown fields. `rest` names the parameter that takes all that is left of the path."""

    name: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    handler: Handler
    answer: Any
    body: Any = None
    query: Any = None
    status: int = 200
    media_type: str = JSON
    scope: Scope | None = None
    refuses: tuple[int, ...] = ()
    waits: bool = False
    location: Callable[[Any], str] | None = None
    example: Mapping[str, Any] | None = None
    lenient: bool = False
    rest: str | None = None

    @property
    def route(self) -> tuple[str, str]:
        """The path without its verb, and the verb: `/runs/{run_id}:resume` → `resume`."""
        head, _, last = self.path.rpartition("/")
        last, _, verb = last.partition(":")
        return f"{head}/{last}", verb

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return _PARAMETER.findall(self.path)

    @property
    def takes_key(self) -> bool:
        """Whether an idempotency key means anything: it does where something is changed."""
        return self.method in ("POST", "PATCH")

    @property
    def refusals(self) -> list[int]:
        """Every status that a problem can have here."""
        found = set(self.refuses)
        if self.scope is not None:
            found.update(_REFUSED_WITH_TOKEN)
        if self.takes_key:
            found.update(_REFUSED_WITH_BODY)
        if self.parameters:
            found.add(404)
        if self.takes_key:
            found.add(409)
        return sorted(found)


def operation(method: str, path: str, *, tag: str, **facts: Any) -> Callable[[Handler], Operation]:
    """Make an operation of a handler; the first line of its docstring is the summary."""

    def make(handler: Handler) -> Operation:
        hints = get_type_hints(handler, include_extras=True)
        summary, _, more = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        return Operation(
            name=handler.__name__,
            method=method,
            path=path,
            tag=tag,
            summary=summary.rstrip("."),
            description=" ".join(more.split()),
            handler=handler,
            answer=hints["return"],
            body=hints.get("body"),
            query=hints.get("query"),
            **facts,
        )

    return make


def alias(canonical: Operation, method: str, path: str) -> Operation:
    """The same operation under the path of existing OMEGA clients."""
    return msgspec.structs.replace(
        canonical, method=method, path=path, tag="OMEGA aliases", lenient=True
    )
