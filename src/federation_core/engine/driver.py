"""The driver: takes a run on until it waits or ends."""

import asyncio

import structlog

from ..errors import LedgerUnavailable, StaleAppend
from ..executors.registry import Executors
from ..ledger import Ledger
from ..ledger.kin import is_awaited
from ..ledger.node import NodeFenced, live_nodes
from ..spine.definition import ExpressionWork
from ..spine.run import Run
from ..spine.steps import Running
from ..telemetry import about
from .children import Children
from .compiled import CompiledWorkflow, compile_workflow
from .execution import Job, Outcome, execute
from .governor import Governor
from .live import LiveRun, LiveRuns
from .ports import Clock, NewId
from .progress import Progress

__all__ = ["Driver"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class Driver:
    """Shared by all runs; a call of `drive` is one driver at work on one run."""

    def __init__(
        self,
        ledger: Ledger,
        runs: LiveRuns,
        governor: Governor,
        executors: Executors,
        *,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._ledger = ledger
        self._runs = runs
        self._governor = governor
        self._executors = executors
        self._clock = clock
        self._new_id = new_id
        self._children = Children(ledger, runs, governor, clock=clock, new_id=new_id)
        self._compiled: dict[str, CompiledWorkflow] = {}
        self.draining = False
        """Set to let what is executing end and be recorded, and begin nothing new."""

    async def drive(self, run_id: str, nudge: asyncio.Event) -> int | None:
        """Drive until the run ends or waits for people or time; `nudge` tells it that something
        changed. Returns when to come back (microseconds since the epoch), None for not at all.

        An outcome that the ledger cannot take now is kept and offered again: what was done is not
        forgotten because the disk was full for a while.
        """
        work = _Work(self._executors, nudge)
        try:
            while True:
                nudge.clear()
                outcomes = work.ended()
                progress = await self._advance(run_id, work.executing, outcomes)
                if progress is None:
                    work.offer_again(outcomes)
                    continue
                work.settle(outcomes)
                if progress.run.is_ended:
                    return None
                for permit in progress.turn.permits:
                    self._must_hold_lease()
                    await work.begin(progress.jobs[permit.step_id])
                if progress.joins:
                    await self._tend(progress, work)
                if not work.executing and (self.draining or not nudge.is_set()):
                    return self._due(progress)
                await self._wait(nudge, self._due(progress))
        finally:
            work.cancel()

    async def _tend(self, progress: Progress, work: "_Work") -> None:
        """Look after the steps that wait for child runs. They hold nothing here: whoever waits for
        children alone is let go, and woken when one of them ends."""
        try:
            work.take(await self._children.tend(progress.run, progress.joins))
        except NodeFenced:
            raise
        except LedgerUnavailable as e:
            structlog.get_logger().warning(
                "ledger_unavailable", run_id=progress.run.run_id, why=e.detail
            )
            soon = self._clock() + int(_LONGEST_PAUSE * 1_000_000)
            progress.wake_at = min(progress.wake_at or soon, soon)

    async def _advance(
        self, run_id: str, executing: set[str], outcomes: list[Outcome]
    ) -> Progress | None:
        """One turn, appended. None where it has to be taken again."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._runs.hold(run_id) as live:
                    return await self._turn(live, executing, outcomes)
            except StaleAppend:
                await asyncio.sleep(0)
                return None
            except NodeFenced:
                raise
            except LedgerUnavailable as e:
                structlog.get_logger().warning("ledger_unavailable", run_id=run_id, why=e.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _turn(self, live: LiveRun, executing: set[str], outcomes: list[Outcome]) -> Progress:
        about(live.run)
        basis = self._ledger.basis(live.run.tenant)
        progress = Progress(
            live,
            self._governor,
            self._compile(live),
            now=self._clock(),
            new_id=self._new_id,
            log=self._ledger.log,
            node=self._ledger.node,
        )
        progress.record(outcomes)
        if await self._is_orphan(live):
            progress.abandon()
        elif not self.draining:
            await progress.advance(executing | await self._elsewhere(live.run, executing))
        await live.commit(progress.turn, progress.payloads, basis=basis)
        return progress

    async def _is_orphan(self, live: LiveRun) -> bool:
        """Whether the step that this run executes does not wait for it any more. It is asked before
        every decision of a child run."""
        run = live.run
        if run.parent_step is None or run.is_ended:
            return False
        return not await self._ledger.read(is_awaited, run.run_id)

    async def _elsewhere(self, run: Run, executing: set[str]) -> set[str]:
        """The steps that other nodes are executing, as long as nobody took those for dead. A step
        that waits for a child run is nobody's."""
        own, theirs = self._ledger.node, dict[str, str]()
        for step_id in run.in_flight:
            state = run.steps[step_id].state
            if step_id not in executing and isinstance(state, Running) and state.node:
                theirs[step_id] = state.node
        nodes = {node for node in theirs.values() if node != own}
        if not nodes:
            return set()
        alive = await self._ledger.read(live_nodes, sorted(nodes))
        return {step_id for step_id, node in theirs.items() if node in alive}

    def _must_hold_lease(self) -> None:
        """A process that slept, or was cut off, for longer than its lease executes nothing: another
        node may have taken the step over."""
        if not self._ledger.may_execute:
            raise NodeFenced(
                "The lease of this node ran out before a step of it began.", node=self._ledger.node
            )

    def _compile(self, live: LiveRun) -> CompiledWorkflow | None:
        run = live.run
        if run.definition is None or run.definition_hash is None:
            return None
        known = self._compiled.get(run.definition_hash)
        if known is None:
            known = self._compiled[run.definition_hash] = compile_workflow(run.definition)
        return known

    def _due(self, progress: Progress) -> int | None:
        """When to come back, by the clock as it is now: it may have been set back since the turn
        began, and a pause of a second is none of an hour."""
        wake_at, turn = progress.wake_at, progress.turn
        if wake_at is None or turn.set_back:
            return wake_at
        return min(wake_at, self._clock() + wake_at - turn.now)

    async def _wait(self, nudge: asyncio.Event, wake_at: int | None) -> None:
        if wake_at is None:
            await nudge.wait()
            return
        seconds = max(0.0, (wake_at - self._clock()) / 1_000_000)
        try:
            async with asyncio.timeout(seconds):
                await nudge.wait()
        except TimeoutError:
            return


class _Work:
    """The executions of one driver."""

    def __init__(self, executors: Executors, nudge: asyncio.Event) -> None:
        self._executors = executors
        self._nudge = nudge
        self._executing: set[str] = set()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._ended: list[Outcome] = []

    @property
    def executing(self) -> set[str]:
        """Steps whose end is not in the ledger yet."""
        return self._executing

    async def begin(self, job: Job) -> None:
        """Execute in a task of its own; an expression is computed here and now, for it waits for
        nothing."""
        step_id = job.permit.step_id
        self._executing.add(step_id)
        if isinstance(job.spec.work, ExpressionWork):
            self._ended.append(await execute(self._executors, job))
            self._nudge.set()
            return
        task = asyncio.create_task(execute(self._executors, job), name=f"{job.run_id}:{step_id}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Outcome]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._ended.append(task.result())  # `execute` raises nothing
            self._nudge.set()

    def take(self, outcomes: list[Outcome]) -> None:
        """Outcomes of what did not execute here."""
        if outcomes:
            self._ended.extend(outcomes)
            self._nudge.set()

    def ended(self) -> list[Outcome]:
        """Outcomes to be recorded; they stay `executing` until `settle`."""
        ended, self._ended = self._ended, []
        return ended

    def offer_again(self, outcomes: list[Outcome]) -> None:
        self._ended = outcomes + self._ended

    def settle(self, outcomes: list[Outcome]) -> None:
        """`outcomes` are durable."""
        for outcome in outcomes:
            self._executing.discard(outcome.step_id)

    def cancel(self) -> None:
        """Cut off what is still executing: the run has ended, or this process stops."""
        for task in self._tasks:
            run_id, _, step_id = task.get_name().partition(":")
            structlog.get_logger().info("step_cut_off", run_id=run_id, step_id=step_id)
            task.cancel()
