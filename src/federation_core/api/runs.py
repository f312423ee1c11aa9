"""Runs: their birth, their status, their log."""

from typing import Annotated, Any

import msgspec

from ..identity import Scope
from ..service import ChangeStatusRequest, CreateRunRequest, RestartRequest
from ..service.views import LogEntry, PayloadAnswer, Run, RunAnswer
from ..spine.events import RunStatus
from .context import Ask
from .description import examples
from .operation import operation

__all__ = ["change_status", "create_run", "get_run", "list_runs", "logs", "restart_run"]

_TAG = "runs"
_MAX_PAGE = 1_000


class RunsQuery(msgspec.Struct, frozen=True):
    """`cursor` is the `next_cursor` of the page before."""

    status: RunStatus | None = None
    workflow_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MAX_PAGE)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class RunQuery(msgspec.Struct, frozen=True):
    """Lists that are not asked for are empty."""

    include_logs: bool = False
    include_gates: bool = False
    include_steps: bool = False


class LogsQuery(msgspec.Struct, frozen=True):
    """`event_type` is an event code such as FC-GATE-002."""

    event_type: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MAX_PAGE)] = 100
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class Page(msgspec.Struct, frozen=True):
    """`next_cursor` is null on the last page."""

    limit: int
    next_cursor: str | None


class RunPage(msgspec.Struct, frozen=True):
    items: list[Run]
    page: Page


def _location(answer: Any) -> str:
    return f"/workflows/runs/{answer['run']['run_id']}"


@operation(
    "POST",
    "/workflows/runs",
    tag=_TAG,
    status=201,
    scope=Scope.WORKFLOW_WRITE,
    waits=True,
    location=_location,
    example=examples.CREATE_RUN,
)
async def create_run(ask: Ask, body: CreateRunRequest) -> RunAnswer:
    """Create a run.

    A run of a registered workflow is managed: the server executes it, from now on. Any other is
    external: its client does the work and reports it. A birth that policy denies is a failed run,
    and on record. With `Prefer: wait=10` the answer comes when the run has ended or waits for
    people, after 10 seconds at the latest.
    """
    return await _waited(ask, await ask.core.runs.create(ask.call, body))


async def _waited(ask: Ask, created: RunAnswer) -> RunAnswer:
    """The answer about a new run, once it has ended or waits for people, where that was asked."""
    if not await ask.waited(created.run.run_id, newborn=True):
        return created
    now = await ask.core.runs.get(ask.call, created.run.run_id)
    answer = msgspec.structs.replace(created, run=now.run)
    await ask.core.answers.remember(ask.call, 201, msgspec.json.encode(answer))
    return answer


@operation(
    "POST",
    "/workflows/runs/{run_id}:restart",
    tag=_TAG,
    status=201,
    scope=Scope.WORKFLOW_WRITE,
    waits=True,
    location=_location,
    example=examples.RESTART,
)
async def restart_run(ask: Ask, run_id: str, body: RestartRequest) -> RunAnswer:
    """Restart a run from a step.

    A run that failed or was cancelled is done again as a new run of the same workflow version, with
    the same input. Steps that ended well, and do not wait for the one that is named, are carried
    over; all else is decided and done anew. Metadata and tags are the old run's unless they are
    given. A run that has not ended, or has completed, is a 409.
    """
    return await _waited(ask, await ask.core.runs.restart(ask.call, run_id, body))


@operation("GET", "/workflows/runs", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def list_runs(ask: Ask, query: RunsQuery) -> RunPage:
    """List runs, newest first.

    Ask for the next page with the `next_cursor` of this one, until it is null.
    """
    found = await ask.core.runs.page(
        ask.call,
        status=query.status,
        workflow_id=query.workflow_id,
        limit=query.limit + 1,
        cursor=query.cursor,
    )
    items = found[: query.limit]
    more = len(found) > query.limit
    return RunPage(items, Page(query.limit, items[-1].run_id if more else None))


@operation("GET", "/workflows/runs/{run_id}", tag=_TAG, scope=Scope.WORKFLOW_READ, waits=True)
async def get_run(ask: Ask, run_id: str, query: RunQuery) -> RunAnswer:
    """Get a run.

    With `Prefer: wait=10` the answer comes when the run has ended or waits for people anew, after
    10 seconds at the latest.
    """
    await ask.waited(run_id)
    return await ask.core.runs.get(
        ask.call,
        run_id,
        logs=query.include_logs,
        gates=query.include_gates,
        steps=query.include_steps,
    )


@operation(
    "PATCH",
    "/workflows/runs/{run_id}/status",
    tag=_TAG,
    scope=Scope.WORKFLOW_WRITE,
    example=examples.CHANGE_STATUS,
)
async def change_status(ask: Ask, run_id: str, body: ChangeStatusRequest) -> RunAnswer:
    """Change the status of a run.

    A transition that the state machine lacks is a 409. One that policy denies is a 403 and a line
    in the log; one that it flags pauses the run at a gate. A managed run may be paused, resumed and
    cancelled, with a reason; anything else about it is the server's to say, and a 409.
    """
    return await ask.core.runs.change_status(ask.call, run_id, body)


@operation("GET", "/workflows/runs/{run_id}/logs", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def logs(ask: Ask, run_id: str, query: LogsQuery) -> list[LogEntry]:
    """Read the audit trail of a run, in order."""
    return await ask.core.runs.logs(
        ask.call, run_id, event_type=query.event_type, limit=query.limit, offset=query.offset
    )


@operation(
    "GET", "/workflows/runs/{run_id}/payloads/{payload_hash}", tag=_TAG, scope=Scope.WORKFLOW_READ
)
async def get_payload(ask: Ask, run_id: str, payload_hash: str) -> PayloadAnswer:
    """Read the value behind a hash.

    What a step or a gate is about: its `input_hash`, `output_hash`, or the `subject_hash` in the
    log entry of a gate. Values of sensitive steps are not shown.
    """
    return await ask.core.runs.payload(ask.call, run_id, payload_hash)
