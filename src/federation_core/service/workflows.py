"""Registering workflows, and knowing which there are."""

import asyncio
from typing import Any

from ..errors import Conflict, InvalidInput, LedgerUnavailable, StaleAppend
from ..ledger import Append, queries
from ..ledger.database import ROW_REFUSED
from ..ledger.documents import WorkflowDoc
from ..ledger.projections import workflow_row
from ..spine.canonical import canonical, sha256
from ..spine.decision import Decision
from ..spine.definition import Workflow
from ..spine.envelope import Event, Head
from ..spine.workflow_file import parse_workflow
from .call import Call
from .catalog import Catalog
from .parts import Parts, anew
from .records import allowed, append_record, policy_record
from .requests import RegisterRequest
from .views import RegisterAnswer

__all__ = ["Workflows"]


class Workflows:
    """`fc.workflows`."""

    def __init__(self, parts: Parts, catalog: Catalog) -> None:
        self._parts = parts
        self._catalog = catalog
        self._turn = asyncio.Lock()

    @anew
    async def register(
        self, call: Call, request: RegisterRequest, *, source: str = "workflow_yaml"
    ) -> RegisterAnswer:
        """Make a version of a workflow known to the tenant; from then on its runs are managed.

        The same version with the same artifacts is answered `idempotent`; with others it is a
        `Conflict`, for a version never changes. Raises `InvalidInput` with every problem's place.
        """
        call.caller.require("workflow:write")
        workflow = parse_workflow(request.workflow_yaml, source=source)
        _check_names(request, workflow)
        artifacts = _artifacts(request, workflow)
        hashes = {name: sha256(text.encode()) for name, text in artifacts.items()}
        async with self._turn:  # of two contents of one version, the second finds the first
            known = await self._catalog.version(call.tenant, workflow.id, workflow.version)
            answer = RegisterAnswer(
                workflow.id, workflow.version, hashes, idempotent=known is not None
            )
            if known is None:
                try:
                    await self._append(call, workflow, artifacts, answer)
                except LedgerUnavailable as e:
                    if e.error_code != ROW_REFUSED:
                        raise
                    # Another node has registered this version since we looked.
                    raise StaleAppend("Somebody else registered it meanwhile.") from e
                self._catalog.forget(call.tenant, workflow.id)
            elif known.artifact_hashes != hashes:
                raise Conflict(
                    f"Version {workflow.version} of {workflow.id} is registered with another "
                    "content; a version never changes, so give this one a new number.",
                    code="version_exists",
                )
        return answer

    async def _append(
        self, call: Call, workflow: Workflow, artifacts: dict[str, str], answer: RegisterAnswer
    ) -> None:
        basis = self._parts.ledger.basis(call.tenant)
        decision = self._decide(call, workflow)
        record = policy_record(decision, "workflow.register")
        stream = f"workflow:{call.tenant}/{workflow.id}"
        if decision.decision != "allow":
            refused = ("FC-AUTH-001", _refusal(decision))
            await append_record(
                self._parts,
                stream=stream,
                tenant=call.tenant,
                actor=call.actor,
                records=[record, refused],
                build=lambda events: Append(stream, call.tenant, Head(), events, expects=basis),
            )
            allowed(decision)
        data = {
            "workflow_id": workflow.id,
            "version": workflow.version,
            "definition_hash": workflow.definition_hash,
            "artifacts": [
                {"name": name, "sha256": digest} for name, digest in answer.artifact_hashes.items()
            ],
        }

        def build(events: list[Event]) -> Append:
            return Append(
                stream,
                call.tenant,
                Head(),
                events,
                objects={sha256(text.encode()): text for text in artifacts.values()},
                rows={"workflows": [workflow_row(events[-1])]},
                answer=call.answer(200, answer, events[-1].at),
                expects=basis,
            )

        await append_record(
            self._parts,
            stream=stream,
            tenant=call.tenant,
            actor=call.actor,
            records=[record, ("FC-WF-001", data)],
            build=build,
        )

    def _decide(self, call: Call, workflow: Workflow) -> Decision:
        governor = self._parts.governor
        return governor.decide(
            call.actor,
            call.tenant,
            "workflow.register",
            mode=governor.mode(call.tenant, call.mode),
            workflow_id=workflow.id,
            step_id=None,
            context={
                "workflow_version": workflow.version,
                "input": {"definition_hash": workflow.definition_hash},
                "now": self._parts.clock() // 1_000_000,
            },
        )

    async def registered(self, call: Call) -> list[WorkflowDoc]:
        """Every registered version, by workflow, the oldest first."""
        call.caller.require("workflow:read")
        return await self._parts.ledger.read(queries.workflow_rows, call.tenant)


def _check_names(request: RegisterRequest, workflow: Workflow) -> None:
    for wanted, found, what in (
        (request.workflow_id, workflow.id, "workflow_id"),
        (request.version, workflow.version, "version"),
    ):
        if wanted is not None and wanted != found:
            raise InvalidInput(
                f"The request says {what} {wanted!r}, the file says {found!r}; make them agree."
            )


def _artifacts(request: RegisterRequest, workflow: Workflow) -> dict[str, str]:
    """Name → text of all that is registered, the compiled definition included."""
    artifacts = {
        "workflow.yaml": request.workflow_yaml,
        "definition.json": workflow.canonical().decode(),
    }
    if request.prompts_poml:
        artifacts["prompts.poml"] = request.prompts_poml
    for name, schema in sorted(request.schemas.items()):
        artifacts[f"schemas/{name}"] = canonical(schema).decode()
    return artifacts


def _refusal(decision: Decision) -> dict[str, Any]:
    return {
        "attempted": "workflow.register",
        "refusal_code": "policy_denied",
        "reason": decision.reason,
    }
