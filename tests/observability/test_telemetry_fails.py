"""Telemetry that breaks, or is not installed, touches nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import begin, core, py, until
from tests.core_steps import Stage
from tests.log_helpers import Warnings
from tests.observability.measured import measured

from federation_core.telemetry import Family, Meter, Telemetry
from federation_core.telemetry.durable import Appended

ROOT = Path(__file__).resolve().parents[2]


class Broken:
    """Raises wherever it is asked."""

    def committed(self, appends: Sequence[Appended], /) -> None:
        raise ZeroDivisionError

    def step(self, run_id: str, step_id: str, attempt: int) -> Any:
        raise ZeroDivisionError

    def request(self, headers: Any) -> Any:
        raise ZeroDivisionError

    def families(self) -> Iterator[Family]:
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


class BrokenLater(Broken):
    """Raises at the end of what it began."""

    def step(self, run_id: str, step_id: str, attempt: int) -> Any:
        return self

    def request(self, headers: Any) -> Any:
        return self

    def leave(self) -> None:
        raise ZeroDivisionError

    def ended(self, *_anything: Any) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("broken", [Broken(), BrokenLater()], ids=["at-once", "at-the-end"])
async def test_an_observer_that_raises_is_said_and_told_again(
    tmp_path: Path, stage: Stage, warnings: Warnings, broken: Broken
) -> None:
    telemetry = Telemetry(meter=Meter(), journal=broken, tracer=broken)
    async with core(tmp_path, telemetry=telemetry) as fc:
        for version in ("1.0.0", "1.0.1"):
            answer = await until(fc, await begin(fc, py("a"), py("b"), version=version))
            assert answer.run.status == "completed"
        found = await measured(fc)
    assert found["fedcore_runs_ended", "completed"] == 2
    said = [e for e in warnings.events if e["event"] == "telemetry_failed"]
    assert len([e for e in said if e.get("observer") == type(broken).__name__]) == 1


async def test_requests_are_answered_whatever_the_tracer_does(
    tmp_path: Path, warnings: Warnings
) -> None:
    import httpx

    from federation_core.api import Auth, build_app

    async with core(tmp_path) as fc:
        for broken in (Broken(), BrokenLater()):
            auth = Auth(secret="s", mode="development", default_tenant="default")
            app = build_app(fc, auth, tracer=broken)
            transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
                assert (await http.get("/health")).status_code == 200
    assert [e["event"] for e in warnings.events] == ["telemetry_failed"] * 2


# Without the extra `otel`

_WITHOUT = """
import sys, os, json
for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter"):
    sys.modules[name] = None
from federation_core.errors import SettingsError
from federation_core.telemetry.setup import observed
endpoint, environ = json.loads(sys.argv[1])
try:
    with observed(level="info", form="json", endpoint=endpoint, trusted=[], version="0",
                  environ=environ) as telemetry:
        print("tracer", telemetry.tracer)
except SettingsError as e:
    print(e.detail)
print(sorted(m for m in sys.modules if m.startswith("opentelemetry") and sys.modules[m]))
"""


def _without(endpoint: str | None, **environ: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT, json.dumps([endpoint, environ])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr


def test_where_nothing_is_traced_the_library_is_not_even_imported() -> None:
    assert _without(None) == (["tracer None", "[]"], "")
    variable = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "OTEL_SDK_DISABLED": "true"}
    assert _without(None, **variable) == (["tracer None", "[]"], "")


def test_an_endpoint_without_the_library_is_a_mistake_of_the_settings() -> None:
    (said, _), errors = _without("http://127.0.0.1:4318")
    assert said == (
        "FEDCORE_OTLP_ENDPOINT is set, and traces cannot be sent: "
        "pip install 'federation-core[otel]' brings what sends traces."
    )
    assert errors == ""


def test_a_variable_that_others_set_is_none() -> None:
    (said, _), errors = _without(None, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert said == "tracer None"
    assert json.loads(errors)["event"] == "traces_not_sent"
