"""A world under load: clients that want something, a server, and faults that a seed chooses.

The seed says everything that the harness does; when a process is killed depends on the machine as
well, so a seed that failed is to be tried more than once.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.core_helpers import write_bundle
from tests.faults.clients import SCRIPTS, Client, Shared, Waited, register
from tests.faults.invariants import Findings, examine
from tests.faults.outside import outside
from tests.faults.servers import Clockwork, Server, Setup
from tests.faults.workload import BUNDLE

from federation_core.evidence import verify
from federation_core.evidence.audit import audit

__all__ = ["Outcome", "play"]

_DEADLINE_S = 60
_HOUR = 3_600
_WAIT_S = 6.0
_GRACE_S = 20.0


class Outcome(NamedTuple):
    """How a seed went. `kills` were made, `faults` say which."""

    seed: int
    kills: int
    steps: int
    runs: int
    findings: Findings
    faults: list[str]


class World:
    """One seed's: a server at a time on one data directory."""

    def __init__(self, seed: int, setup: Setup, shared: Shared) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.setup, self.shared = setup, shared
        self.server: Server | None = None
        self.kills = self.steps = 0
        self.faults: list[str] = []
        self.clients: list[Client] = []

    def up(self, kill: tuple[int, str] | None = None) -> Server:
        """Start a server. One that is to kill itself may do so before it listens."""
        server = self.server = Server(self.setup, kill=kill)
        if server.greet():
            self.shared.urls = [server.url]
        else:
            assert kill is not None, f"the server does not start: {server.tell()}"
        return server

    def down(self, how: str) -> None:
        """The server is gone, or is killed now."""
        self.shared.urls = []
        assert self.server is not None
        self.server.kill()
        assert self.server.was_killed, self.server.tell()
        self.kills += 1
        self.faults.append(how)

    def begin(self) -> None:
        """The clients begin, once the workflows are registered."""
        self.up()
        Client("register", self.shared, register, "").run()
        self.down("killed when all was registered")
        self.clients = [
            Client(f"{script.__name__} {n}", self.shared, script, f"{self.seed}-{n}")
            for n, script in enumerate(SCRIPTS)
        ]
        for client in self.clients:
            client.start()

    @property
    def is_busy(self) -> bool:
        return any(client.is_alive() for client in self.clients)

    def fault(self) -> None:
        """One fault of the kinds that there are."""
        if self.rng.random() < 0.2:
            seconds = self.rng.choice([_HOUR, -_HOUR, 0])
            self.setup.clock.set(seconds)
            self.steps += 1
            self.faults.append(f"the clock goes wrong by {seconds} s")
        if self.rng.random() < 0.7:
            when = self.rng.choice(["before", "after"])
            number = self.rng.choice([self.rng.randint(1, 20), self.rng.randint(9, 90)])
            server = self.up((number, when))
            end = time.monotonic() + _WAIT_S
            while server.process.poll() is None and self.is_busy and time.monotonic() < end:
                time.sleep(0.01)
            self.down(f"killed {when} write {number}" if server.was_killed else "killed idle")
        else:
            self.up()
            pause = self.rng.uniform(0, 1.5)
            time.sleep(pause)
            self.down(f"killed after {pause:.3f} s")

    def tell(self) -> str:
        stuck = [f"{c.name}: {c.error!r}" for c in self.clients if c.error or c.is_alive()]
        return "\n".join([*self.faults, *stuck, self.server.tell() if self.server else ""])


@contextmanager
def _made(seed: int, folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        service = stack.enter_context(outside())
        setup = Setup(
            folder=folder,
            policy=write_bundle(folder / "policy", BUNDLE),
            outside=service.url,
            clock=Clockwork(folder / "clock"),
        )
        shared = Shared(service, time.monotonic() + _DEADLINE_S)
        world = World(seed, setup, shared)
        try:
            yield world
        finally:
            shared.deadline = 0
            if world.server is not None:
                world.server.kill()


def play(seed: int, folder: Path) -> Outcome:
    """The world of this seed, in a folder of its own. Raises `AssertionError` where it does not
    come to its end, with all that is known."""
    with _made(seed, folder) as world:
        world.begin()
        try:
            for _ in range(world.rng.randint(2, 5)):
                if world.is_busy:
                    world.fault()
            return _ended(world)
        except (AssertionError, subprocess.TimeoutExpired) as e:
            raise AssertionError(f"seed {seed}: {e}\n{world.tell()}") from e


def _ended(world: World) -> Outcome:
    """Without further faults all comes to its end."""
    server = world.up()
    for client in world.clients:
        client.join(max(0.0, world.shared.deadline - time.monotonic()) + _GRACE_S)
        if client.is_alive():
            raise Waited(f"{client.name} waits for ever")
        if client.error is not None:
            raise AssertionError(f"{client.name}: {client.error!r}") from client.error
    shared = world.shared
    trust = Client("trust", shared, register, "").ask("GET", "/ledger/trust").content
    status = server.stop()
    assert status == 0, f"the server ended with {status}"
    folder = world.setup.folder / "data"
    findings = examine(folder / "fedcore.db", shared.outside, shared.acknowledged)
    findings.wrong.extend(_disbelieved(folder, shared, trust))
    return Outcome(world.seed, world.kills, world.steps, findings.runs, findings, world.faults)


def _disbelieved(folder: Path, shared: Shared, trust: bytes) -> Iterator[str]:
    """The checkpoints and packs that clients were shown, and that do not hold."""
    for note in shared.checkpoints:
        report = audit(folder / "fedcore.db", seen=note)
        if report.error is not None:
            yield f"a checkpoint that was shown does not hold: {report.error}"
    whom = folder.parent / "trust.txt"
    whom.write_bytes(trust)
    for number, pack in enumerate(shared.packs):
        file = folder.parent / f"{number}.zip"
        file.write_bytes(pack)
        command = [sys.executable, verify.__file__, str(file), "--trust", str(whom)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            yield f"a pack that was handed out does not verify: {said.stdout}{said.stderr}"
