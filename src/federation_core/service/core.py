"""`FederationCore`: the only door. What the API, the CLI and a Python program do goes through it.

async with FederationCore.open("data") as fc:
    call = fc.call("alice")
    await fc.workflows.register(call, RegisterRequest(workflow_yaml=text))
    answer = await fc.runs.create(call, CreateRunRequest(workflow_id="refund"))
    await fc.runs.wait(call, answer.run.run_id, 10)
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ..engine.driver import Driver
from ..engine.governor import Governor
from ..engine.live import LiveRuns
from ..engine.local import LocalEngine
from ..engine.ports import NewId, new_id, system_clock
from ..engine.restate import Restate, RestateEngine
from ..errors import LedgerUnavailable
from ..evidence.collector import Collector, WitnessSetting
from ..evidence.keyring import Keyring
from ..evidence.signer import Signer
from ..executors.registry import Executors
from ..identity import ALL_SCOPES, Caller
from ..ledger import Append, Ledger
from ..ledger.database import Target
from ..ledger.exclusive import Exclusive
from ..ledger.node import LEASE_S
from ..spine.actor import Actor
from ..spine.decision import PolicyMode
from ..spine.envelope import Head
from ..spine.times import Clock
from ..telemetry import Family, Telemetry
from .answers import Answers
from .call import Call
from .catalog import Catalog
from .erasures import Erasures
from .evidence import Evidence
from .gates import Gates
from .log import Log
from .parts import Parts
from .policies import Policies
from .readings import Readings
from .requests import RegisterRequest
from .runs import Runs
from .scheduler import Scheduler
from .schedules import Schedules
from .steps import Steps
from .workflows import Workflows

__all__ = ["FederationCore"]

_CHECK_S = 5.0
"""A ledger that has not answered for so long counts as one that cannot be written."""


class FederationCore:
    """The use cases, by what they are about. Make one with `open`."""

    def __init__(
        self,
        parts: Parts,
        engine: LocalEngine | RestateEngine,
        signer: Signer,
        readings: Readings,
    ) -> None:
        self._parts = parts
        self._engine = engine
        self._readings = readings
        catalog = Catalog(parts.ledger)
        self.runs = Runs(parts, catalog)
        self.schedules = Schedules(parts, self.runs)
        self._scheduler = Scheduler(parts, self.runs)
        self.steps = Steps(parts)
        self.gates = Gates(parts)
        self.workflows = Workflows(parts, catalog)
        self.policies = Policies(parts)
        self.answers = Answers(parts)
        self.evidence = Evidence(parts, signer)
        self.erasures = Erasures(parts)
        self.log = Log(parts, signer)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data_dir: str | Path,
        *,
        database: Target | None = None,
        policy_dir: Path | None = None,
        shipped_policy: str = "strict",
        workflow_dir: Path | None = None,
        tenant: str = "default",
        http_allow: Iterable[str] = (),
        python_allow: Iterable[str] = (),
        require_registration: bool = False,
        signing_key: Path | bytes | None = None,
        previous_signing_key: bytes | None = None,
        witnesses: Iterable[WitnessSetting] = (),
        lease_s: float = LEASE_S,
        restate: Restate | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock = system_clock,
        new_id: NewId = new_id,
    ) -> AsyncIterator["FederationCore"]:
        """Open the system in `data_dir` (made where it is missing) on the running event loop, and
        take up the runs that were under way.

        `signing_key` is the seed of the log's key (32 bytes) or the file that holds it, by default
        one in `data_dir` that is made at the first start. `database` is the file of a SQLite
        database, or the URL of a PostgreSQL one, which other nodes may use as well; then each has a
        `data_dir` of its own, and all of them the same signing key; one that is not heard of for
        `lease_s` seconds counts as dead, and the others take over.

        With `restate`, that is the engine; it drives runs once its endpoint is served
        (`api.build_app`).

        `telemetry` is told what becomes durable, and traces what is executed.

        Raises `OperatorError` where another process uses the directory, `SettingsError` for a
        policy or workflow that cannot be used, `LedgerUnavailable`, `IntegrityError`.
        """
        folder = Path(data_dir)
        async with AsyncExitStack() as stack:
            stack.enter_context(Exclusive(folder))
            target = database or folder / "fedcore.db"
            if isinstance(target, Path) and target.parent.resolve() != folder.resolve():
                stack.enter_context(Exclusive(target.parent))
            ledger = await Ledger.open(target, lease_s=lease_s)
            stack.push_async_callback(ledger.close)
            telemetry = telemetry or Telemetry()
            if telemetry.observes:
                ledger.listen(telemetry.committed)
            own_file = folder / "signing.key"
            keys = await Keyring.open(
                ledger,
                tenant=tenant,
                clock=clock,
                file=signing_key if isinstance(signing_key, Path) else own_file,
                seed=signing_key if isinstance(signing_key, bytes) else None,
                previous=previous_signing_key,
            )
            signer = Signer(ledger, keys, clock)
            await signer.start()
            stack.push_async_callback(signer.close)
            watched = tuple(witnesses)
            executors = Executors.build(python_allow=python_allow, http_allow=http_allow)
            executors.tracer = telemetry.tracer
            stack.push_async_callback(executors.aclose)
            governor = Governor(tenant)
            runs = LiveRuns(ledger)
            driver = Driver(ledger, runs, governor, executors, clock=clock, new_id=new_id)
            engine: LocalEngine | RestateEngine = (
                LocalEngine(driver, ledger, clock)
                if restate is None
                else RestateEngine(driver, ledger, clock, restate)
            )
            stack.push_async_callback(engine.close)
            parts = Parts(
                ledger=ledger,
                runs=runs,
                governor=governor,
                engine=engine,
                clock=clock,
                new_id=new_id,
                default_tenant=tenant,
                require_registration=require_registration,
                witness_keys=tuple(w.key.text for w in watched),
            )
            collector = Collector(ledger, signer, watched)
            measured = (ledger, engine, executors, signer, collector, telemetry)
            readings = Readings(ledger, clock, measured)
            stack.push_async_callback(readings.close)
            core = cls(parts, engine, signer, readings)
            await core.policies.restore(policy_dir, shipped_policy)
            if workflow_dir is not None:
                await core._register_folder(workflow_dir)
            await engine.start()
            core._scheduler.start()
            stack.push_async_callback(core._scheduler.close)
            if watched:
                collector.start()
                stack.push_async_callback(collector.close)
            yield core

    async def _register_folder(self, folder: Path) -> None:
        call = self.call("system", kind="system")
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            request = RegisterRequest(workflow_yaml=path.read_text(encoding="utf-8"))
            await self.workflows.register(call, request, source=str(path))

    def call(
        self,
        actor_id: str,
        *,
        tenant: str | None = None,
        roles: Iterable[str] = (),
        kind: str = "service",
        mode: PolicyMode | None = None,
        correlation_id: str | None = None,
    ) -> Call:
        """A call by somebody whom this process trusts: every scope, and the roles given."""
        tenant = tenant or self._parts.default_tenant
        caller = Caller(
            actor=Actor(actor_id, kind, tuple(roles)),
            tenant=tenant,
            scopes=ALL_SCOPES,
            token_id="in-process",  # noqa: S106 (a name, not a secret)
        )
        return Call(
            caller=caller,
            correlation_id=correlation_id or f"t:{tenant}|c:{self._parts.new_id()}",
            mode=mode,
        )

    async def check(self) -> None:
        """Raises `LedgerUnavailable` where the ledger cannot be written now."""
        nothing = Append("", "", Head(), [])
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._parts.ledger.append(nothing)
        except TimeoutError as e:
            why = f"The ledger has not answered for {_CHECK_S:g} s; whoever writes waits for it."
            raise LedgerUnavailable(why) from e

    @property
    def default_tenant(self) -> str:
        return self._parts.default_tenant

    async def families(self) -> list[Family]:
        """What is measured of the system, for whoever watches it."""
        return await self._readings.families()

    @property
    def driving(self) -> int:
        """Managed runs that are being driven now."""
        return self._engine.driving

    @property
    def restate(self) -> RestateEngine | None:
        """The engine, where that is Restate."""
        return self._engine if isinstance(self._engine, RestateEngine) else None

    @property
    def engine_available(self) -> bool:
        """Whether runs are driven now; where not, they wait in the ledger."""
        return self.restate is None or self.restate.available

    @property
    def commits(self) -> int:
        """Ledger transactions since the start."""
        return self._parts.ledger.commits
