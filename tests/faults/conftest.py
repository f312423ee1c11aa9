"""What the tests of faults share: lives of processes, the service outside, and beginnings."""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.faults.lives import Nursery, nursery  # noqa: E402
from tests.faults.outside import Outside, outside  # noqa: E402
from tests.faults.theatre import Beginnings, Theatre  # noqa: E402


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
