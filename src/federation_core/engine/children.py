"""Child runs: a step that waits for one is looked after here.

Nothing is remembered between two looks. The child's id follows from the parent's events, so each
look finds the child that an earlier one made, or makes it: nothing hangs on who looked last.
"""

import asyncio

import msgspec

from ..errors import StaleAppend
from ..ledger import Ledger, Payload
from ..ledger.documents import RunDoc
from ..ledger.kin import Ended, ended_child, nursery
from ..ledger.said import run_said
from ..spine.actions import Join
from ..spine.actor import Actor
from ..spine.children import MAX_DEPTH, REFUSED
from ..spine.commands import CreateRun
from ..spine.definition import ChildWork, StepSpec, Workflow
from ..spine.durations import spoken
from ..spine.handle import handle
from ..spine.run import RUN_TIMEOUT, Run
from ..spine.schemas import validate
from ..spine.turn import Turn
from .births import ask_birth
from .execution import Fault, Outcome
from .governor import Governor
from .live import LiveRuns
from .ports import Clock, NewId

__all__ = ["VIA", "Children"]

VIA = "engine"
"""What the log says about what the engine does on behalf of whoever started the run."""

_MAX_REASON = 1_500


class _Refused(Exception):
    """The child cannot be born; the reason is a sentence."""


class Children:
    """Made once; `tend` is called for every look at the children of a run."""

    def __init__(
        self, ledger: Ledger, runs: LiveRuns, governor: Governor, *, clock: Clock, new_id: NewId
    ) -> None:
        self._ledger = ledger
        self._runs = runs
        self._governor = governor
        self._clock = clock
        self._new_id = new_id

    async def tend(self, parent: Run, joins: tuple[Join, ...]) -> list[Outcome]:
        """How those of `joins` ended that have: their child did, or their time is over. A child
        that is missing is born. Of `parent` only what never changes is looked at."""
        looks = await asyncio.gather(*(self._look(parent, join) for join in joins))
        return [outcome for outcome in looks if outcome is not None]

    async def _look(self, parent: Run, join: Join) -> Outcome | None:
        while True:
            found = await self._ledger.read(ended_child, parent.tenant, join.child_run_id)
            if isinstance(found, Ended):
                return _joined(join, found)
            if join.deadline is not None and self._clock() >= join.deadline:
                timeout_ms = _spec(parent, join).timeout_ms
                why = f"Child run {join.child_run_id} did not end within {spoken(timeout_ms)}."
                return _failed(join, "Timeout", why, retriable=True)
            if found:
                return None
            try:
                return await self._bear(parent, join)
            except StaleAppend:
                await asyncio.sleep(0)  # somebody else made it, or changed what it rests on

    async def _bear(self, parent: Run, join: Join) -> Outcome | None:
        try:
            workflow, payloads = await self._prepared(parent, join)
        except _Refused as e:
            return _failed(join, REFUSED, str(e))
        run = Run(workflow, join.child_run_id, parent.tenant)
        async with self._runs.hold(run.run_id, born=run) as live:
            if not live.run.head.seq:
                turn = self._birth(live.run, parent, join, workflow, payloads)
                await live.commit(turn, payloads)
        return None

    async def _prepared(self, parent: Run, join: Join) -> tuple[Workflow, list[Payload]]:
        """The workflow, and the child's input and metadata."""
        work = _spec(parent, join).work
        assert isinstance(work, ChildWork)
        version = None if work.version is msgspec.UNSET else work.version
        wanted = list(dict.fromkeys((join.input_hash, parent.metadata_hash)))
        found = await self._ledger.read(
            nursery,
            parent.tenant,
            parent.run_id,
            workflow=work.workflow,
            version=version,
            hashes=wanted,
        )
        if found.workflow is None:
            named = f" in version {version}" if version else ""
            raise _Refused(f"Workflow {work.workflow!r} is not registered{named}; register it.")
        if found.depth >= MAX_DEPTH:
            raise _Refused(
                f"Runs start one another {MAX_DEPTH} levels deep already, and no deeper; does "
                f"workflow {work.workflow!r} start itself?"
            )
        if len(found.values) < len(wanted):
            raise _Refused("The input or the metadata of the child run was erased.")
        workflow = await self._runs.definition(found.workflow.definition_hash)
        given = msgspec.json.decode(found.values[join.input_hash].value)
        errors = validate(workflow.input_schema or {}, given)
        if errors:
            where = f"{errors[0].path or '/'}: {errors[0].message}"
            raise _Refused(f"Workflow {work.workflow!r} refuses what stands in with: {where}.")
        return workflow, [found.values[digest] for digest in wanted]

    def _birth(
        self, run: Run, parent: Run, join: Join, workflow: Workflow, payloads: list[Payload]
    ) -> Turn:
        """The child is its parent's starter's, under what the parent was started with; who acts
        through whom stays told, so that nobody approves in a child what they started."""
        via = parent.via or VIA
        actor = Actor(parent.actor_id, parent.actor_kind, parent.actor_roles, via)
        mode = self._governor.mode(parent.tenant, parent.policy_mode)
        turn = Turn(run, actor=actor, now=self._clock(), new_id=self._new_id, log=self._ledger.log)
        values = {p.hash: msgspec.json.decode(p.value) for p in payloads}
        decision = ask_birth(
            self._governor,
            actor,
            parent.tenant,
            run_id=run.run_id,
            workflow=(workflow.id, workflow.version),
            given=values[join.input_hash],
            metadata=values[parent.metadata_hash],
            tags=list(parent.tags),
            mode=mode,
            now=turn.now,
        )
        command = CreateRun(
            run_id=run.run_id,
            tenant=parent.tenant,
            workflow_id=workflow.id,
            workflow_version=workflow.version,
            definition_hash=workflow.definition_hash,
            execution="managed",
            policy_mode=mode,
            input_hash=join.input_hash,
            metadata_hash=parent.metadata_hash,
            tags=parent.tags,
            parent_run_id=parent.run_id,
            parent_step=join.step_id,
            parent_attempt=join.attempt,
            sensitive=_spec(parent, join).sensitive,
            correlation_id=parent.correlation_id,
            decision=decision,
        )
        handle(turn, command)
        return turn


def _spec(parent: Run, join: Join) -> StepSpec:
    spec = parent.spec_of(join.step_id)
    assert spec is not None
    return spec


def _joined(join: Join, ended: Ended) -> Outcome:
    doc = ended.doc
    if doc.status != "completed":
        return _failed(join, "ChildFailed", _why(ended), retriable=_may_try_again(doc))
    if ended.output is None:
        why = f"The output of child run {doc.run_id} was erased before it was taken."
        return _failed(join, "OutputErased", why)
    return Outcome(join.step_id, join.attempt, payload=ended.output)


def _why(ended: Ended) -> str:
    doc = ended.doc
    said = run_said(doc.reason, doc.error_code, doc.error_hash, ended.errors)
    reason = said or doc.error_code or "no reason given"
    if len(reason) > _MAX_REASON:
        reason = reason[:_MAX_REASON] + "…"
    what = "was cancelled" if doc.status == "cancelled" else "failed"
    return f"Child run {doc.run_id} {what}: {reason}"


def _may_try_again(doc: RunDoc) -> bool:
    """A child that failed in its work, or took too long, may do better; what was denied, refused
    or cancelled was meant."""
    return doc.status == "failed" and doc.error_code in ("step_failed", RUN_TIMEOUT)


def _failed(join: Join, kind: str, message: str, *, retriable: bool = False) -> Outcome:
    return Outcome(join.step_id, join.attempt, error=Fault(kind, message), retriable=retriable)
