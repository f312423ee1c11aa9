"""Makes the builders in `tests/` importable under the name that mypy knows them by."""

import sys
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_steps import Stage, new_stage  # noqa: E402
from tests.log_helpers import warnings  # noqa: E402
from tests.stores import each_store  # noqa: E402

__all__ = ["each_store", "warnings"]


@pytest.fixture
def stage() -> Stage:
    """What the steps of this test do, and what they wait for."""
    return new_stage()
