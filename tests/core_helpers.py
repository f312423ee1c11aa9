"""Builders for tests of the system in-process: bundles, workflows, a core, a file to harm."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from tests.stores import execute, target_of

from federation_core.evidence.audit import audit_in
from federation_core.ledger import queries
from federation_core.ledger.database import Target, open_database
from federation_core.ledger.maintenance import rebuild_in, unheard
from federation_core.service import (
    AnswerGateRequest,
    CreateRunRequest,
    FederationCore,
    RegisterRequest,
    ResumeRequest,
)
from federation_core.service.reading import require_run
from federation_core.service.views import Gate, LogEntry, RunAnswer

__all__ = [
    "DATABASE",
    "PERMIT",
    "START",
    "Clock",
    "approve",
    "audit",
    "audit_store",
    "begin",
    "bundle",
    "codes",
    "core",
    "decisions",
    "editing",
    "flag",
    "forbid",
    "gate",
    "idle",
    "open_gates",
    "py",
    "register",
    "resume",
    "sql",
    "start",
    "states",
    "until",
    "until_gates",
    "workflow",
    "write_bundle",
]

START = 1_795_435_200_000_000
"""2026-11-23T12:00:00Z in microseconds."""

DATABASE = "fedcore.db"

PERMIT = '@id("base") permit (principal, action, resource);'


class Clock:
    """The time of day, beginning at `START`; it can be put forward."""

    def __init__(self) -> None:
        self._lead = START - time.monotonic_ns() // 1000

    def __call__(self) -> int:
        return self._lead + time.monotonic_ns() // 1000

    def forward(self, seconds: float) -> None:
        self._lead += int(seconds * 1_000_000)


def forbid(rule: str, when: str = "true", *, action: str = "step.act") -> str:
    return (
        f'@id("{rule}") @reason("{rule} forbids it") '
        f'forbid (principal, action == Action::"{action}", resource) when {{ {when} }};'
    )


def flag(
    rule: str,
    when: str = "true",
    *,
    action: str = "step.act",
    approvers: str | None = None,
    quorum: int = 1,
    expires: str | None = None,
) -> str:
    extra = f'@approvers("{approvers}") ' if approvers else ""
    extra += f'@quorum("{quorum}") ' if quorum > 1 else ""
    extra += f'@expires("{expires}") ' if expires else ""
    return f'@effect("flag") {extra}' + forbid(rule, when, action=action)


def bundle(*policies: str, version: str = "1.0.0", mode: str = "loose") -> dict[str, str]:
    """The files of a bundle: `PERMIT`, and what `policies` take away again."""
    return {
        "bundle.yaml": f"id: test\nversion: {version}\nmode: {mode}\n",
        "policies.cedar": "\n".join([PERMIT, *policies]),
    }


def write_bundle(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def py(
    step_id: str,
    call: str = "act",
    *,
    kind: str = "ACT",
    with_: dict[str, Any] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """A step that calls a function of `core_steps`."""
    given = {"name": step_id, **(with_ or {})}
    call = f"tests.core_steps:{call}"
    return {"id": step_id, "type": kind, "run": "python", "call": call, "with": given, **keys}


def gate(step_id: str, *approvers: str, **keys: Any) -> dict[str, Any]:
    """A GATE step that asks `approvers`; `quorum`, `expires` and `input_schema` are the gate's."""
    own: dict[str, Any] = {
        k: keys.pop(k) for k in ("quorum", "expires", "input_schema") if k in keys
    }
    asked = {"name": step_id, "approvers": list(approvers), **own}
    return {"id": step_id, "type": "GATE", "gate": asked, **keys}


def workflow(*steps: dict[str, Any], name: str = "wf", version: str = "1.0.0", **keys: Any) -> str:
    """A workflow file (JSON is YAML)."""
    return json.dumps({"workflow": name, "version": version, "steps": list(steps), **keys})


@asynccontextmanager
async def core(
    folder: Path,
    *policies: str,
    mode: str = "loose",
    audited: bool = True,
    **settings: Any,
) -> AsyncIterator[FederationCore]:
    """A core on `folder` under `bundle(*policies)`. When it is closed its ledger must verify, and
    its projections be what the events say, unless the test has harmed them (`audited=False`)."""
    policy_dir = write_bundle(folder / "policy", bundle(*policies, mode=mode))
    settings.setdefault("database", target_of(folder))
    async with FederationCore.open(
        folder, policy_dir=policy_dir, python_allow=["tests.core_steps"], **settings
    ) as fc:
        yield fc
    if audited:
        audit(folder)


def audit(folder: Path) -> None:
    """The ledger of `folder` verifies, and rebuilding it changes nothing."""
    audit_store(target_of(folder))


def audit_store(target: Target) -> None:
    """The ledger verifies, and rebuilding it changes nothing."""
    database = open_database(target)
    try:
        with database.alone(), database.writer.begin() as connection:
            database.lock(connection)
            report = audit_in(connection)
            assert report.error is None, report
            assert rebuild_in(connection, unheard).differences == []
    finally:
        database.close()


async def register(fc: FederationCore, text: str, *, tenant: str | None = None) -> None:
    call = fc.call("author", roles=["operator"], tenant=tenant)
    await fc.workflows.register(call, RegisterRequest(workflow_yaml=text))


async def start(
    fc: FederationCore, given: dict[str, Any] | None = None, *, actor: str = "starter", **keys: Any
) -> str:
    """A run of the workflow `wf`; returns its id."""
    request = CreateRunRequest(workflow_id="wf", input_payload=given or {}, **keys)
    return (await fc.runs.create(fc.call(actor), request)).run.run_id


async def begin(fc: FederationCore, *steps: dict[str, Any], **keys: Any) -> str:
    """Register a workflow of `steps`, and start a run of it; returns its id."""
    given = keys.pop("given", None)
    await register(fc, workflow(*steps, **keys))
    return await start(fc, given)


async def until(fc: FederationCore, run_id: str, *statuses: str) -> RunAnswer:
    """The run whole, once it has one of `statuses` (any end, unless they are given)."""
    wanted = statuses or ("completed", "failed", "cancelled")
    call = fc.call("watcher")
    async with asyncio.timeout(30), fc._parts.ledger.watch(f"run:{run_id}") as watch:
        while True:
            row = await fc._parts.ledger.read(require_run, call.tenant, run_id)
            if row.status in wanted:  # the whole is read only where it is worth the while
                answer = await fc.runs.get(call, run_id, logs=True, gates=True, steps=True)
                if answer.run.status in wanted:
                    return answer
            await watch.next()


async def until_gates(fc: FederationCore, run_id: str, count: int) -> list[Gate]:
    """The gates of a run, once there are `count` of them."""
    call = fc.call("watcher")
    async with asyncio.timeout(30), fc._parts.ledger.watch(f"run:{run_id}") as watch:
        while len(await fc._parts.ledger.read(queries.gates_of, run_id)) < count:
            await watch.next()
    return (await fc.runs.get(call, run_id, gates=True)).gates


async def idle(fc: FederationCore) -> None:
    """Let the engine come to rest."""
    async with asyncio.timeout(30):
        while fc.driving:
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # what is done of a task is called a turn later


async def open_gates(fc: FederationCore, run_id: str, count: int = 1) -> list[Gate]:
    """The pending gates of a run that is paused, or will be."""
    answer = await until(fc, run_id, "paused")
    found = [g for g in answer.gates if g.status == "pending"]
    assert len(found) == count, found
    return found


async def approve(
    fc: FederationCore, found: Gate, actor: str = "approver", *, roles: Iterable[str] = ()
) -> Gate:
    request = AnswerGateRequest(status="approved")
    return await fc.gates.answer(fc.call(actor, roles=roles), found.run_id, found.gate_id, request)


async def resume(
    fc: FederationCore, found: Gate, given: dict[str, Any], actor: str = "approver"
) -> None:
    request = ResumeRequest(gate_id=found.gate_id, decision="approve", input=given)
    await fc.gates.resume(fc.call(actor), found.run_id, request)


def codes(logs: list[LogEntry]) -> list[str]:
    return [entry.event_type for entry in logs]


def states(answer: RunAnswer) -> dict[str, str]:
    """Step → status."""
    return {step.step_id: step.status for step in answer.steps}


def decisions(answer: RunAnswer, step_id: str) -> list[str | None]:
    """What policy said of a step, in order."""
    asked = [e for e in answer.logs if e.event_type == "FC-POLICY-001" and e.step_id == step_id]
    return [e.decision for e in asked if str(e.details["action"]).startswith("step.")]


@contextmanager
def editing(folder: Path) -> Iterator[sqlite3.Connection]:
    """What an intruder has who holds the file."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        yield connection
        connection.commit()


def sql(folder: Path, statement: str, *values: object) -> list[Any]:
    """One statement of an intruder."""
    return execute(target_of(folder), statement, *values)
