"""A real Restate, and a place outside where steps have their effects."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.restate.outside import Outside  # noqa: E402
from tests.restate.restate_helpers import RestateServer  # noqa: E402


@pytest.fixture(scope="session")
def shared_restate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestateServer]:
    """For tests that do it no harm. The server that registers last is the one it calls."""
    with RestateServer(tmp_path_factory.mktemp("restate")) as server:
        server.start()
        yield server


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as place:
        yield place
