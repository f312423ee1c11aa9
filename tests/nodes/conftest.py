"""Makes the builders in `tests/` importable under the name that mypy knows them by."""

import sys
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_steps import Stage, new_stage  # noqa: E402
from tests.log_helpers import warnings  # noqa: E402
from tests.stores import postgres  # noqa: E402

__all__ = ["warnings"]


@pytest.fixture
def stage() -> Stage:
    """What the steps of this test do, on whichever node, and what they wait for."""
    return new_stage()


@pytest.fixture
def url() -> str:
    """The database that the nodes share."""
    return postgres().fresh_ledger()
