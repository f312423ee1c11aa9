"""What the tests of faults share: lives of processes, the service outside, and beginnings."""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_steps import Stage, new_stage  # noqa: E402
from tests.faults.lives import Nursery, nursery  # noqa: E402
from tests.faults.outside import Outside, outside  # noqa: E402
from tests.faults.theatre import Beginnings, Theatre  # noqa: E402
from tests.restate.outside import Outside as Place  # noqa: E402
from tests.restate.restate_helpers import RestateServer  # noqa: E402
from tests.stores import postgres  # noqa: E402


@pytest.fixture
def stage() -> Stage:
    """What the steps of this test do, and what they wait for."""
    return new_stage()


@pytest.fixture
def url() -> str:
    """A database that nodes share."""
    return postgres().fresh_ledger()


@pytest.fixture(scope="session")
def shared_restate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestateServer]:
    """For tests that do it no harm. The server that registers last is the one it calls."""
    with RestateServer(tmp_path_factory.mktemp("restate")) as server:
        server.start()
        yield server


@pytest.fixture
def restate(tmp_path: Path) -> Iterator[RestateServer]:
    """A Restate of the test's own, not started yet."""
    with RestateServer(tmp_path / "restate") as server:
        yield server


@pytest.fixture(name="outside")
def _outside() -> Iterator[Place]:
    """Where steps that Restate drives have their effects."""
    with Place() as place:
        yield place


@pytest.fixture(scope="session", name="lives")
def _lives() -> Iterator[Nursery]:
    with nursery() as lives:
        yield lives


@pytest.fixture(scope="session", name="service")
def _service() -> Iterator[Outside]:
    """The service outside: it lives through everything."""
    with outside() as service:
        yield service


@pytest.fixture(scope="session", name="memory")
def _memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing: a process that is killed loses nothing that
    it has written, flushed to a disk or not, and memory takes the writes faster."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session", name="beginnings")
def _beginnings(lives: Nursery, service: Outside, memory: Path) -> Beginnings:
    return Beginnings(lives, service, memory)


@pytest.fixture
def theatre(
    lives: Nursery, service: Outside, memory: Path, beginnings: Beginnings
) -> Iterator[Theatre]:
    with TemporaryDirectory(dir=memory) as room:
        yield Theatre(Path(room), lives, service, beginnings)
