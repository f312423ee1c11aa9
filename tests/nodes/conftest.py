"""Makes the builders in `tests/` importable under the name that mypy knows them by."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_steps import Stage, new_stage  # noqa: E402
from tests.log_helpers import Warnings  # noqa: E402
from tests.stores import postgres  # noqa: E402


@pytest.fixture
def stage() -> Stage:
    """What the steps of this test do, on whichever node, and what they wait for."""
    return new_stage()


@pytest.fixture
def url() -> str:
    """The database that the nodes share."""
    return postgres().fresh_ledger()


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    """What the nodes say to their operator."""
    seen = Warnings()
    structlog.configure(processors=[seen])
    yield seen
    structlog.reset_defaults()
