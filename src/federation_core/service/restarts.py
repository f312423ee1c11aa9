"""A run that failed or was cancelled, done again from one of its steps on: as a new run.

What ended well before that step, and does not wait for it, is carried over with its receipt; all
else is decided and done anew. Of the old run nothing is changed.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..engine.births import ask_birth
from ..engine.governor import stricter
from ..errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from ..ledger import Payload, queries
from ..spine.commands import CreateRun
from ..spine.envelope import decode
from ..spine.events import RUN_EVENTS, StepCarried, StepCompleted
from ..spine.handle import handle
from ..spine.run import Run
from ..spine.steps import Completed, Skipped
from ..telemetry import asking
from .call import Call
from .parts import Parts, Visit
from .requests import RestartRequest
from .views import RunAnswer

__all__ = ["restart"]

_PAGE = 500


async def restart(parts: Parts, call: Call, run_id: str, request: RestartRequest) -> RunAnswer:
    """See `Runs.restart`."""
    async with parts.runs.hold(run_id) as live:
        old = live.run
        if old.tenant != call.tenant:
            raise NotFound(f"There is no run {run_id}.", code="run_not_found")
        _must_be_restartable(old, request.from_step)
        _must_do_fan_outs_again(old, request.from_step)
        carried = await _carried(parts, old, request.from_step)
    kept = await _payloads(parts, old, carried, with_metadata=request.metadata is msgspec.UNSET)
    mode = stricter(parts.governor.mode(call.tenant, call.mode), old.policy_mode)
    if mode == "strict":
        _separate_duties(call, old, carried, kept)
    run = Run(old.definition, parts.new_id(), call.tenant)
    if (asked := asking()) is not None:
        asked.run_id = run.run_id
    async with parts.runs.hold(run.run_id, born=run) as live:
        visit = Visit(parts, call, live)
        visit.payloads.extend(kept.values())
        given = msgspec.json.decode(kept[old.input_hash].value)
        visit.live.values.put(old.input_hash, given, len(kept[old.input_hash].value))
        metadata, metadata_hash = _metadata(visit, old, request, kept)
        tags = old.tags if request.tags is msgspec.UNSET else tuple(request.tags)
        decision = ask_birth(
            parts.governor,
            call.actor,
            call.tenant,
            run_id=run.run_id,
            workflow=(old.workflow_id, old.workflow_version),
            given=given,
            metadata=metadata,
            tags=list(tags),
            mode=mode,
            now=parts.clock(),
        )
        command = CreateRun(
            run_id=run.run_id,
            tenant=call.tenant,
            workflow_id=old.workflow_id,
            workflow_version=old.workflow_version,
            definition_hash=old.definition_hash,
            execution="managed",
            policy_mode=mode,
            input_hash=old.input_hash,
            metadata_hash=metadata_hash,
            tags=tags,
            parent_run_id=None if old.parent_step else old.parent_run_id,
            restarted_from=old.run_id,
            sensitive=old.sensitive,
            correlation_id=call.correlation_id,
            carried=carried,
            decision=decision,
        )
        handle(visit.turn, command)
        answer = RunAnswer(await visit.run_view(), (await visit.new_logs())[:1], [], [])
        await visit.commit(201, answer)
    return answer


def _must_be_restartable(old: Run, from_step: str) -> None:
    if not old.is_managed:
        raise Conflict(
            "Its client executed this run, not the server; the client does it again as a new run.",
            code="external_run",
        )
    if not old.is_ended:
        raise Conflict(
            f"The run is {old.status}; only one that has ended is restarted. Cancel it first.",
            code="run_not_ended",
        )
    if old.status == "completed":
        raise Conflict(
            "The run has completed, and there is nothing to do again; start a new one.",
            code="run_completed",
        )
    if from_step not in old.specs:
        known = ", ".join(list(old.specs)[:12])
        error = FieldError("/from_step", f"no such step; there are {known}")
        raise InvalidInput(f"The workflow has no step {from_step!r}.", errors=[error])


def _must_do_fan_outs_again(old: Run, from_step: str) -> None:
    """Items are not carried over, and whoever did not ask for it does not do them twice."""
    again = _with_dependants(old, from_step)
    left = next((step_id for step_id in old.fans if step_id not in again), None)
    if left is not None:
        raise Conflict(
            f"Step {left} fanned out, and its items are not carried over; restart from it or from "
            "a step that it waits for, and all of them are done again.",
            code="fan_out_not_carried",
        )


async def _carried(parts: Parts, old: Run, from_step: str) -> tuple[StepCarried, ...]:
    """What is not done again, each step after those it needs."""
    again = _with_dependants(old, from_step)
    told = await _receipts(parts, old)
    found: dict[str, StepCarried] = {}
    waiting = [spec for spec in old.specs.values() if spec.id not in again]
    while waiting:
        left = []
        for spec in waiting:
            if not old.steps[spec.id].is_satisfied:
                continue
            if all(need in found for need in spec.needs):
                found[spec.id] = _carry(old, spec.id, told)
            else:
                left.append(spec)
        if len(left) == len(waiting):
            break
        waiting = left
    return tuple(found.values())


def _with_dependants(old: Run, from_step: str) -> set[str]:
    again, new = set[str](), [from_step]
    while new:
        step_id = new.pop()
        if step_id not in again:
            again.add(step_id)
            new.extend(old.dependants.get(step_id, ()))
    return again


async def _receipts(parts: Parts, old: Run) -> dict[str, StepCompleted | StepCarried]:
    """How the steps of the run ended well, by step."""
    bodies = await parts.ledger.read(queries.bodies, old.stream)
    events = (decode(body, RUN_EVENTS).data for body in bodies)
    return {e.step_id: e for e in events if isinstance(e, (StepCompleted, StepCarried))}


def _carry(old: Run, step_id: str, told: dict[str, StepCompleted | StepCarried]) -> StepCarried:
    event, state = told.get(step_id), old.steps[step_id].state
    if isinstance(event, StepCarried):
        return event  # the run that did it stays the one that is named
    if isinstance(state, Skipped):
        return StepCarried(step_id=step_id, from_run=old.run_id, reason=state.reason)
    assert isinstance(state, Completed)
    assert event is not None
    return StepCarried(
        step_id=step_id,
        from_run=old.run_id,
        attempt=state.permit.attempt,
        input_hash=state.permit.input_hash,
        output_hash=state.output_hash,
        receipt=event.receipt,
        receipt_hash=state.receipt_hash,
    )


async def _payloads(
    parts: Parts, old: Run, carried: Iterable[StepCarried], *, with_metadata: bool
) -> dict[str, Payload]:
    """The values that the new run begins with, by hash, each with its salt. Raises `Conflict` where
    one of them was erased."""
    wanted = {old.input_hash: None}
    if with_metadata:
        wanted[old.metadata_hash] = None
    for step in carried:
        wanted.update((h, None) for h in (step.input_hash, step.output_hash) if h is not None)
    hashes, found = list(wanted), dict[str, Payload]()
    for i in range(0, len(hashes), _PAGE):
        page = hashes[i : i + _PAGE]
        found |= await parts.ledger.read(queries.payloads_of, old.stream, page)
    missing = wanted.keys() - found.keys()
    if missing:
        raise Conflict(
            f"{len(missing)} of the values that the new run would begin with were erased; start a "
            "new run with an input of its own, or restart from an earlier step.",
            code="payload_erased",
        )
    return found


def _separate_duties(
    call: Call, old: Run, carried: Iterable[StepCarried], kept: dict[str, Payload]
) -> None:
    """What somebody approved in the old run does not let a run through that they start."""
    mine = {call.actor.actor_id, call.actor.via}
    for step in carried:
        if old.steps[step.step_id].step_type != "GATE" or step.output_hash is None:
            continue
        said: Any = msgspec.json.decode(kept[step.output_hash].value)
        people = set(said.get("approved_by") or ()) if isinstance(said, dict) else set[str]()
        people |= {g.resolved_by for g in old.gates.values() if g.step_id == step.step_id}
        if people & mine - {None}:
            raise Forbidden(
                f"You let step {step.step_id} pass in run {old.run_id}, so in strict mode you do "
                f"not start what it lets through; somebody else may, or restart from "
                f"{step.step_id}.",
                code="separation_of_duties",
            )


def _metadata(
    visit: Visit, old: Run, request: RestartRequest, kept: dict[str, Payload]
) -> tuple[Any, str]:
    if request.metadata is not msgspec.UNSET:
        return request.metadata, visit.keep(request.metadata, "/metadata")
    payload = kept[old.metadata_hash]
    metadata = msgspec.json.decode(payload.value)
    visit.live.values.put(payload.hash, metadata, len(payload.value))
    return metadata, payload.hash
