"""A world under load: clients that want something, servers, and harm that a seed chooses.

The seed says everything that the harness does; when a process is killed depends on the machine as
well, so a seed that failed is to be tried more than once.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
from tests.core_helpers import write_bundle
from tests.faults.clients import SCRIPTS, Client, Shared, Waited, register
from tests.faults.disk import Disk
from tests.faults.invariants import Findings, examine
from tests.faults.network import Network
from tests.faults.outside import outside
from tests.faults.servers import Clockwork, Server, Setup
from tests.faults.workload import BUNDLE
from tests.ports import free_ports
from tests.postgres import Postgres
from tests.restate.balancer import Balancer
from tests.restate.restate_helpers import RestateServer, cluster, eventually

from federation_core.evidence import verify
from federation_core.evidence.audit import audit
from federation_core.ledger.database import Target

__all__ = ["LEASE_S", "Outcome", "Place", "Slot", "World", "play"]

LEASE_S = 2
"""The lease of a node, in seconds."""
_DEADLINE_S = 90
_GRACE_S = 20.0
_SURPRISES = ('"exception":', "Traceback", '"run_stopped"', '"request_crashed"', "Exception")
_SHARED = {
    "FEDCORE_SIGNING_KEY": "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=",
    "FEDCORE_NODE_LEASE": str(LEASE_S),
}


class Place(NamedTuple):
    """Where a world stands: on which kind of `database`, driven by which `engine`, with how many
    servers of our own and of Restate; and what harm may come to it."""

    database: str
    engine: str
    nodes: int
    restate: int
    harms: "tuple[Callable[[World], None], ...]"


class Outcome(NamedTuple):
    """How a seed went: how often each fault (a key of `report.FAULTS`) was made, and what was."""

    made: Counter[str]
    findings: Findings
    faults: list[str]


class Slot:
    """Where a server stands: it may die, and another one comes in its place."""

    def __init__(self, name: str, setup: Setup, network: Network | None) -> None:
        self.name, self.setup, self.network = name, setup, network
        self.server: Server | None = None
        self.is_reached = False
        """Whether clients may ask it."""


class World:
    """One seed's. `server` is the PostgreSQL, where there is one; `disk` what its data is on."""

    def __init__(
        self, seed: int, place: Place, folder: Path, server: Postgres | None, disk: Disk
    ) -> None:
        self.seed, self.place, self.folder = seed, place, folder
        self.rng = random.Random(seed)
        self.postgres, self.disk = server, disk
        self.clock = Clockwork(folder / "clock")
        self.restates: list[RestateServer] = []
        self.slots: list[Slot] = []
        self.clients: list[Client] = []
        self.made: Counter[str] = Counter()
        self.faults: list[str] = []

    def stand(self, stack: ExitStack) -> None:
        """Make everything that servers need, and no server yet."""
        self.outside = stack.enter_context(outside())
        self.shared = Shared(self.outside, time.monotonic() + _DEADLINE_S)
        self.target: Target = self.disk.folder / f"seed{self.seed}" / "fedcore.db"
        ports = free_ports(self.place.nodes)
        environ, arguments = self._engine(stack, ports)
        setup = Setup(
            folder=self.folder,
            policy=write_bundle(self.folder / "policy", BUNDLE),
            outside=self.outside.url,
            clock=self.clock,
            environ=environ,
            arguments=arguments,
        )
        if self.postgres is None:
            setup = setup._replace(data=self.target.parent, port=ports[0])
            self.slots = [Slot("node", setup, None)]
            return
        self.target = url = self.postgres.fresh()
        meddles = self.place.engine == "local" and self.rng.random() < 0.5
        if meddles:
            self.note("two-drivers", "every node drives every run")
        for number, port in enumerate(ports):
            network = stack.enter_context(Network(self.postgres.port))
            far = url.replace(f":{self.postgres.port}/", f":{network.port}/")
            name = f"node{number}"
            own = setup._replace(
                database_url=far, port=port, data=self.folder / name, meddles=meddles
            )
            self.slots.append(Slot(name, own, network))

    def _engine(self, stack: ExitStack, ports: list[int]) -> tuple[dict[str, str], tuple[str, ...]]:
        environ = dict(_SHARED if self.postgres else {})
        if not self.place.restate:
            return environ, ()
        here = self.folder / "restate"
        one = self.place.restate == 1
        self.restates = [RestateServer(here)] if one else cluster(here, self.place.restate)
        for server in self.restates:
            stack.enter_context(server)
            server.begin()
        for server in self.restates:
            eventually(server.answers)
        ingress, admin, endpoint = (
            stack.enter_context(Balancer(urls)).url
            for urls in (
                [s.ingress for s in self.restates],
                [s.admin for s in self.restates],
                [f"http://127.0.0.1:{port}" for port in ports],
            )
        )
        environ["FEDCORE_RESTATE_ADMIN_URL"] = admin
        environ["FEDCORE_RESTATE_ENDPOINT"] = f"{endpoint}/restate"
        return environ, ("--engine", "restate", "--restate-url", ingress)

    def note(self, fault: str, how: str) -> None:
        """Harm was done."""
        self.made[fault] += 1
        self.faults.append(how)

    def reach(self) -> None:
        """Clients ask the servers that can be asked."""
        self.shared.urls = [s.server.url for s in self.slots if s.server and s.is_reached]

    def up(self, slot: Slot, kill: tuple[int, str] | None = None) -> Server:
        """Start a server. One that is to kill itself may do so before it listens."""
        server = slot.server = Server(slot.setup, slot.name, kill)
        if server.greet():
            slot.is_reached = True
            self.reach()
        else:
            assert kill is not None, f"the server does not start: {server.tell()}"
        return server

    def down(self, slot: Slot, how: str) -> None:
        """The server is gone, or is killed now."""
        slot.is_reached = False
        self.reach()
        assert slot.server is not None
        slot.server.kill()
        assert slot.server.was_killed, slot.server.tell()
        self.note("kill", how)

    def begin(self) -> None:
        """The clients begin, once the workflows are registered."""
        for slot in self.slots:
            self.up(slot)
        Client("register", self.shared, register, "").run()
        self.clients = [
            Client(f"{script.__name__} {n}", self.shared, script, f"{self.seed}-{n}")
            for n, script in enumerate(SCRIPTS)
        ]
        for client in self.clients:
            client.start()

    @property
    def is_busy(self) -> bool:
        return any(client.is_alive() for client in self.clients)

    def pause(self, longest: float) -> float:
        """Let the world go on for a while."""
        seconds = self.rng.uniform(0, longest)
        time.sleep(seconds)
        return seconds

    def end(self) -> bytes:
        """Without further harm all comes to its end. Returns whom an auditor is to trust."""
        for client in self.clients:
            client.join(max(0.0, self.shared.deadline - time.monotonic()) + _GRACE_S)
            if client.is_alive():
                raise Waited(f"{client.name} waits for ever")
            if client.error is not None:
                raise AssertionError(f"{client.name}: {client.error!r}") from client.error
        trust = Client("trust", self.shared, register, "").ask("GET", "/ledger/trust").content
        for slot in self.slots:
            assert slot.server is not None
            status = slot.server.stop()
            assert status == 0, f"{slot.name} ended with {status}"
        return trust

    def close(self) -> None:
        """Nothing is left of it."""
        self.shared.deadline = 0
        for slot in self.slots:
            if slot.server is not None:
                slot.server.kill()

    def surprises(self) -> Iterator[str]:
        """What servers log of errors that nobody has foreseen, whatever was done to them."""
        for slot in self.slots:
            for line in Server.log_of(slot.setup, slot.name).read_text("utf-8").splitlines():
                if any(sign in line for sign in _SURPRISES):
                    yield f"{slot.name} logged: {line}"

    def tell(self) -> str:
        stuck = [f"{c.name}: {c.error!r}" for c in self.clients if c.error or c.is_alive()]
        servers = [s.server.tell() for s in self.slots if s.server]
        return "\n".join([*self.faults, *stuck, *self._queued(), *servers])

    def _queued(self) -> Iterator[str]:
        """What Restate has not done yet."""
        for server in self.restates:
            with suppress(httpx.TransportError):  # it is the one that is away
                yield from map(str, server.rows("SELECT * FROM sys_invocation"))


@contextmanager
def _made(world: World) -> Iterator[None]:
    with ExitStack() as stack:
        world.stand(stack)
        try:
            yield
        finally:
            world.close()


def play(seed: int, place: Place, folder: Path, server: Postgres | None, disk: Disk) -> Outcome:
    """The world of this seed at this place. Raises `AssertionError` where it does not come to its
    end, with all that is known."""
    world = World(seed, place, folder, server, disk)
    with _made(world):
        try:
            world.begin()
            for _ in range(world.rng.randint(2, 4)):
                world.pause(0.5)
                if world.is_busy:
                    world.rng.choice(place.harms)(world)
            trust = world.end()
        except (AssertionError, subprocess.SubprocessError) as e:
            raise AssertionError(f"seed {seed}: {e}\n{world.tell()}") from e
        findings = examine(world.target, world.outside, world.shared.acknowledged)
        findings.wrong.extend(_disbelieved(world.target, folder, world.shared, trust))
        findings.wrong.extend(world.surprises())
    return Outcome(world.made, findings, world.faults)


def _disbelieved(target: Target, folder: Path, shared: Shared, trust: bytes) -> Iterator[str]:
    """The checkpoints and packs that clients were shown, and that do not hold."""
    for note in shared.checkpoints:
        report = audit(target, seen=note)
        if report.error is not None:
            yield f"a checkpoint that was shown does not hold: {report.error}"
    whom = folder / "trust.txt"
    whom.write_bytes(trust)
    for number, pack in enumerate(shared.packs):
        file = folder / f"{number}.zip"
        file.write_bytes(pack)
        command = [sys.executable, verify.__file__, str(file), "--trust", str(whom)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            yield f"a pack that was handed out does not verify: {said.stdout}{said.stderr}"
