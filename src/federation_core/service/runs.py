"""The use cases of a run as a whole."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from ..engine.asking import ask
from ..engine.births import ask_birth
from ..errors import FieldError, InvalidInput, StaleAppend
from ..ledger import queries
from ..ledger.documents import WorkflowDoc
from ..spine.commands import ChangeStatus, CreateRun, RecordRefusal
from ..spine.decision import Decision, PolicyMode
from ..spine.definition import Workflow
from ..spine.events import Execution
from ..spine.failures import RUN_REPORTED
from ..spine.handle import handle
from ..spine.handle_run import action_for
from ..spine.run import FINAL, Run
from ..spine.schemas import validate
from ..telemetry import asking
from .call import Call
from .catalog import Catalog
from .parts import Parts, Visit, anew
from .reading import read_logs, read_payload, read_run, read_runs, require_run
from .requests import ChangeStatusRequest, CreateRunRequest, RestartRequest
from .restarts import restart
from .views import LogEntry, PayloadAnswer, RunAnswer
from .views import Run as RunView

__all__ = ["Runs"]

DEFAULT_VERSION = "1.0.0"


class Runs:
    """`fc.runs`."""

    def __init__(self, parts: Parts, catalog: Catalog) -> None:
        self._parts = parts
        self._catalog = catalog

    @anew
    async def create(self, call: Call, request: CreateRunRequest) -> RunAnswer:
        """A run is born; a managed one is on its way when this returns.

        Raises `InvalidInput` for an input that the workflow's schema refuses, or a workflow that
        is not registered where registration is required. A birth that policy denies is a failed
        run, not an error: it is on record.
        """
        return await self.bear(call, request)

    async def bear(
        self, call: Call, request: CreateRunRequest, *, run_id: str | None = None
    ) -> RunAnswer:
        """`create`, once. `run_id` is for ids that follow from what the run is for. Raises
        `StaleAppend` where there is that run already, or another node was faster at something that
        this rests on."""
        call.caller.require("workflow:write")
        parts = self._parts
        doc = await self._registered(call.tenant, request)
        digest = doc.definition_hash if doc else None
        definition = await parts.runs.definition(digest) if digest else None
        execution = self._execution(request, registered=doc is not None)
        _check_input(definition, request.input_payload)
        await self._check_parent(call.tenant, request.parent_run_id)
        version = definition.version if definition else request.workflow_version or DEFAULT_VERSION
        run_id = run_id or parts.new_id()
        run = Run(definition if execution == "managed" else None, run_id, call.tenant)
        if (asked := asking()) is not None:
            asked.run_id = run.run_id
        async with parts.runs.hold(run.run_id, born=run) as live:
            if live.run is not run:
                raise StaleAppend(f"There is a run {run_id} already.", stream=run.stream)
            visit = Visit(parts, call, live)
            mode = parts.governor.mode(call.tenant, call.mode)
            command = CreateRun(
                run_id=run.run_id,
                tenant=call.tenant,
                workflow_id=request.workflow_id,
                workflow_version=version,
                definition_hash=digest if execution == "managed" else None,
                execution=execution,
                policy_mode=mode,
                input_hash=visit.keep(request.input_payload),
                metadata_hash=visit.keep(request.metadata),
                tags=tuple(request.tags),
                parent_run_id=request.parent_run_id,
                correlation_id=call.correlation_id,
                decision=self._ask_birth(call, request, run.run_id, version, mode),
            )
            handle(visit.turn, command)
            answer = RunAnswer(await visit.run_view(), (await visit.new_logs())[:1], [], [])
            await visit.commit(201, answer)
        return answer

    async def preview(self, call: Call, request: CreateRunRequest, run_id: str) -> Decision:
        """What policy says now of the birth of this run. Nothing is changed; raises as `create`
        does."""
        doc = await self._registered(call.tenant, request)
        digest = doc.definition_hash if doc else None
        definition = await self._parts.runs.definition(digest) if digest else None
        self._execution(request, registered=doc is not None)
        _check_input(definition, request.input_payload)
        version = definition.version if definition else request.workflow_version or DEFAULT_VERSION
        mode = self._parts.governor.mode(call.tenant, call.mode)
        return self._ask_birth(call, request, run_id, version, mode)

    @anew
    async def restart(self, call: Call, run_id: str, request: RestartRequest) -> RunAnswer:
        """Do a run that failed or was cancelled again from a step on, as a new run of the same
        workflow with the same input. Steps that ended well, and do not wait for that one, are
        carried over; all else has decisions of its own, the birth included.

        Raises `NotFound`, `Conflict` for a run that has not ended, has completed, is a client's, or
        of which a value was erased, `InvalidInput` for a step that there is not, `Forbidden` where
        in strict mode the caller answered a gate that would be carried over.
        """
        call.caller.require("workflow:write")
        return await restart(self._parts, call, run_id, request)

    async def _registered(self, tenant: str, request: CreateRunRequest) -> WorkflowDoc | None:
        """The registered workflow that is meant: the version named, else the one registered last.
        None where the workflow is not registered."""
        parts, name = self._parts, request.workflow_id
        newest = await self._catalog.newest(tenant, name)
        if newest is None:
            if parts.require_registration:
                raise InvalidInput(
                    f"Workflow {name!r} is not registered, and this server runs only registered "
                    "ones.",
                    code="workflow_not_registered",
                )
            return None
        doc: WorkflowDoc | None = newest
        if request.workflow_version is not None:
            doc = await self._catalog.version(tenant, name, request.workflow_version)
        if doc is not None:
            return doc
        if request.execution == "external" and not parts.require_registration:
            return None
        raise InvalidInput(
            f"Workflow {name!r} has no version {request.workflow_version}; the newest is "
            f"{newest.version}.",
            code="version_not_registered",
        )

    @staticmethod
    def _execution(request: CreateRunRequest, *, registered: bool) -> Execution:
        if request.execution == "managed" and not registered:
            raise InvalidInput(
                f"Workflow {request.workflow_id!r} is not registered, so the server cannot execute "
                "it; register it, or ask for an external run.",
                code="workflow_not_registered",
            )
        return request.execution or ("managed" if registered else "external")

    async def _check_parent(self, tenant: str, parent: str | None) -> None:
        if parent is not None:
            found = await self._parts.ledger.read(queries.run_row, tenant, parent)
            if found is None:
                error = FieldError("/parent_run_id", "no such run")
                raise InvalidInput(f"There is no run {parent} to be the parent.", errors=[error])

    def _ask_birth(
        self, call: Call, request: CreateRunRequest, run_id: str, version: str, mode: PolicyMode
    ) -> Decision:
        parts = self._parts
        return ask_birth(
            parts.governor,
            call.actor,
            call.tenant,
            run_id=run_id,
            workflow=(request.workflow_id, version),
            given=request.input_payload,
            metadata=request.metadata,
            tags=list(request.tags),
            mode=mode,
            now=parts.clock(),
        )

    @anew
    async def change_status(
        self, call: Call, run_id: str, request: ChangeStatusRequest
    ) -> RunAnswer:
        """A transition of the state machine, as policy allows. Raises `Conflict` for one that it
        lacks, and for what is told of the work of a managed run; `Forbidden` (and a line in the
        log) for one that policy denies."""
        call.caller.require("workflow:write")
        async with self._parts.visit(call, run_id) as visit:
            reported = [
                name
                for name in ("current_step", "step_index", "output_payload", "error_details")
                if getattr(request, name) not in (None, msgspec.UNSET)
            ]
            action = action_for(visit.run, request.status, request.current_step, reported=reported)
            output, error = request.output_payload, request.error_details
            if visit.run.is_managed:  # a null, as some clients send for every field, says nothing
                output = error = msgspec.UNSET
            decision = await ask(
                self._parts.governor,
                visit.live,
                action,
                actor=call.actor,
                now=visit.turn.now,
                mode=call.mode,
            )
            command = ChangeStatus(
                status=request.status,
                current_step=request.current_step,
                step_index=request.step_index,
                output_hash=None if output is msgspec.UNSET else visit.keep(output),
                error_hash=None if error is msgspec.UNSET else visit.keep(error),
                error_code=RUN_REPORTED if request.status == "failed" else None,
                reason=request.reason,
                decision=decision,
            )
            await visit.handle(
                command, RecordRefusal(action=action, code="", reason="", decision=decision)
            )
            if not visit.run.is_ended:
                visit.drop(command.error_hash)  # only the end of a run tells of an error
            answer = RunAnswer(await visit.run_view(), [], [], [])
            await visit.commit(200, answer)
        return answer

    async def page(
        self,
        call: Call,
        *,
        status: str | None = None,
        workflow_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> list[RunView]:
        """Runs of the tenant, newest first; `cursor` is the last run id of the page before."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(
            read_runs,
            call.tenant,
            status=status,
            workflow_id=workflow_id,
            before=cursor,
            limit=limit,
        )

    async def get(
        self,
        call: Call,
        run_id: str,
        *,
        logs: bool = False,
        gates: bool = False,
        steps: bool = False,
    ) -> RunAnswer:
        """The run as it is durable now."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(
            read_run, call.tenant, run_id, logs=logs, gates=gates, steps=steps
        )

    async def logs(
        self,
        call: Call,
        run_id: str,
        *,
        event_type: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[LogEntry]:
        """The audit trail of the run, in order."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(
            read_logs, call.tenant, run_id, event_type=event_type, limit=limit, offset=offset
        )

    async def payload(self, call: Call, run_id: str, digest: str) -> PayloadAnswer:
        """The value behind a hash of the run: a step's input or output, as an approver needs it.

        Raises `NotFound` for one that the run does not have (any more), `Forbidden` for one of a
        sensitive step, which only the step itself and later steps see.
        """
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(read_payload, call.tenant, run_id, digest)

    async def wait(self, call: Call, run_id: str, seconds: float, *, newborn: bool = False) -> None:
        """Return when the run has ended, or waits for people anew, at the latest after `seconds`
        (RFC 7240 section 4.3). A run that is paused already is waited for until it goes on and
        pauses again, unless it is `newborn`: then any pause is news."""
        call.caller.require("workflow:read")
        ledger = self._parts.ledger
        async with ledger.watch(f"run:{run_id}") as watch:
            status = (await ledger.read(require_run, call.tenant, run_id)).status
            waited = status == "paused" and not newborn
            try:
                async with asyncio.timeout(seconds):
                    while status not in FINAL and (status != "paused" or waited):
                        append = await watch.next()
                        if append is None:
                            status = (await ledger.read(require_run, call.tenant, run_id)).status
                        else:
                            status = append.run_status or status
                        waited = waited and status == "paused"
            except TimeoutError:
                return

    async def follow(self, call: Call, run_id: str, *, after: int = -1) -> AsyncIterator[LogEntry]:
        """Log entries after sequence number `after`, as they become durable, until the run has
        ended and the last of them is told."""
        call.caller.require("workflow:read")
        ledger, first = self._parts.ledger, after + 1
        async with ledger.watch(f"run:{run_id}") as watch:
            while True:
                ended = (await ledger.read(require_run, call.tenant, run_id)).status in FINAL
                entries = await ledger.read(
                    read_logs,
                    call.tenant,
                    run_id,
                    event_type=None,
                    limit=1_000,
                    offset=0,
                    first=first,
                )
                for entry in entries:
                    yield entry
                    first = entry.seq + 1
                if not entries and ended:
                    return
                if not entries:
                    await watch.next()


def _check_input(definition: Workflow | None, value: dict[str, Any]) -> None:
    if definition is None or definition.input_schema is None:
        return
    errors = validate(definition.input_schema, value)
    if errors:
        first = errors[0]
        raise InvalidInput(
            f"The input does not fit the workflow's schema: {first.path or '/'}: {first.message}.",
            errors=[FieldError(f"/input_payload{e.path}", e.message) for e in errors],
        )
