"""What the tests of faults share: lives of processes, the service outside, and beginnings."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_helpers import write_bundle  # noqa: E402
from tests.faults.lives import Kill, Nursery, nursery  # noqa: E402
from tests.faults.outside import Effect, Outside, outside  # noqa: E402
from tests.faults.workload import BUNDLE  # noqa: E402

CUT_SHORT = Kill("FC-STEP-001", "after")

Begin = Callable[[tuple[str, ...], Path], Path]


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


@pytest.fixture(name="room")
def _room(memory: Path) -> Iterator[Path]:
    """A folder for one test."""
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session", name="begin")
def _begin(lives: Nursery, service: Outside, memory: Path) -> Begin:
    """Put a data directory into a folder in which the given chapters were played; returns it."""
    made: dict[tuple[str, ...], tuple[Path, list[Effect]]] = {}

    def beginning(chapters: tuple[str, ...]) -> tuple[Path, list[Effect]]:
        if chapters not in made:
            base = Path(mkdtemp(dir=memory))
            if chapters:
                before, effects = beginning(chapters[:-1])
                service.restart(effects)
                shutil.copytree(before, base, dirs_exist_ok=True)
                cut = chapters[-1] == "cut short"
                chapter = "short" if cut else chapters[-1]
                kill = CUT_SHORT if cut else None
                life = lives.live(base / "data", chapter, service.url, kill)
                assert life.killed if cut else life.status == 0, life.said
            else:
                service.restart([])
                write_bundle(base / "policy", BUNDLE)
            made[chapters] = base, service.effects
        return made[chapters]

    def begin(chapters: tuple[str, ...], folder: Path) -> Path:
        before, effects = beginning(chapters)
        service.restart(effects)
        shutil.copytree(before, folder, dirs_exist_ok=True)
        return folder / "data"

    return begin
