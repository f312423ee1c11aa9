"""What every executor's test needs: the context of an attempt."""

import pytest

from federation_core.executors import StepContext


@pytest.fixture
def ctx() -> StepContext:
    return StepContext(
        run_id="run-1",
        step_id="act",
        attempt=2,
        idempotency_key="run-1:act:2",
        tenant="acme",
        actor_id="ann",
        correlation_id="t:acme|c:1",
    )
