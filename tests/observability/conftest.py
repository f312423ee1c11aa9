"""Makes the builders in `tests/` importable under the name that mypy knows them by, and leaves the
process's log as it was."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.core_steps import Stage, new_stage  # noqa: E402
from tests.log_helpers import warnings  # noqa: E402

__all__ = ["warnings"]


@pytest.fixture
def stage() -> Stage:
    """What the steps of this test do, and what they wait for."""
    return new_stage()


@pytest.fixture
def own_log() -> Iterator[None]:
    """A test may configure the log of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
