"""Makes the builders in `tests/` importable under the name that mypy knows them by."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation_core.ledger import Ledger

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """An empty ledger, in `tmp_path / "fedcore.db"`."""
    opened = await Ledger.open(tmp_path / "fedcore.db")
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def _history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.history import make_history

    folder = tmp_path_factory.mktemp("history")
    asyncio.run(make_history(folder))
    return folder


@pytest.fixture
def history(_history: Path, tmp_path: Path) -> Path:
    """A data directory of one's own, in which everything has happened."""
    return Path(shutil.copytree(_history, tmp_path / "history"))


@pytest.fixture(scope="session")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.history import make_small_history

    folder = tmp_path_factory.mktemp("small")
    asyncio.run(make_small_history(folder))
    return folder


@pytest.fixture
def small(_small: Path, tmp_path: Path) -> Path:
    """A data directory of one's own, with one run of one step."""
    return Path(shutil.copytree(_small, tmp_path / "small"))
