"""One development server and one production server for all tests; each test has its own tenant."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.api_helpers import ALIAS, CANONICAL, Family, Http, Server, serving  # noqa: E402


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("dev")) as server:
        yield server


@pytest.fixture(scope="session")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("prod"), dev=False) as server:
        yield server


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def http(dev: Server, tenant: str) -> Iterator[Http]:
    """Alice, in a tenant of her own, on the development server."""
    with dev.client(tenant=tenant) as client:
        yield client


@pytest.fixture(params=[CANONICAL, ALIAS], ids=str)
def paths(request: pytest.FixtureRequest) -> Family:
    family: Family = request.param
    return family
