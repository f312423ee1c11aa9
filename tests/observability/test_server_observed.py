"""A real server: what it measures is documented, what it logs says what it is about, and what it
sends to a collector never holds it up."""

import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.api_helpers import Http, Server, serving
from tests.core_helpers import py, workflow
from tests.observability.collector import Collector, collecting

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


class Log:
    """What a server writes to its standard error, read as it comes."""

    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.lines: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(os.fdopen(reading),))
        self._thread.start()

    def _read(self, stream: TextIO) -> None:
        with stream:
            for line in stream:
                with self._more:
                    self.lines.append(json.loads(line))
                    self._more.notify_all()

    def until(self, event: str, **facts: Any) -> dict[str, Any]:
        """The first line of `event` with these facts, once there is one."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **facts}
            return next((x for x in self.lines if wanted.items() <= _flat(x).items()), None)

        with self._more:
            line = self._more.wait_for(found, 20)
            assert line, f"no {event} with {facts}"
            return line

    def close(self) -> None:
        os.close(self.writing)
        self._thread.join()


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if isinstance(v, str | int)}


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    found = Log()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(
    collector: Collector, log: Log, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("data"),
        stderr=log.writing,
        log_level="debug",
        log_format="json",
        otlp_endpoint=collector.url,
        python_allow=["tests"],
    ) as found:
        yield found


def samples(server: Server) -> dict[str, dict[tuple[str, ...], float]]:
    """Name as rules spell it → labels → value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            labels = tuple(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def families(server: Server) -> set[str]:
    """Names of families: those of counters end in `_total`."""
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
        if family.name.startswith("fedcore_")
    }


def work(http: Http, name: str = "job") -> str:
    """An external run with a step and a gate, and a managed one."""
    text = workflow(py("act", kind="DECIDE", with_={"n": 1}), name=f"{name}-managed")
    assert http.post("/workflows/register", json={"workflow_yaml": text}).status_code < 300
    run_id = http.running(workflow_id=name)
    http.post(f"/workflows/runs/{run_id}/steps", json={"step_id": name, "status": "running"})
    http.gate(run_id, step_id=name, gate_name=name)
    managed: dict[str, Any] = http.post(
        "/workflows/runs",
        json={"workflow_id": f"{name}-managed"},
        headers={"Prefer": "wait=20"},
    ).json()["run"]
    assert managed["status"] == "completed", managed
    return run_id


def test_every_measure_is_documented_and_every_documented_one_is_there(server: Server) -> None:
    with server.client() as http:
        work(http)
    documented = set(re.findall(r"^\| `(fedcore_\w+)", PAGE, re.MULTILINE))
    assert families(server) == documented


def test_the_rules_watch_measures_that_are_there(server: Server) -> None:
    with server.client() as http:
        work(http)
    found = samples(server)
    rules = [r for group in yaml.safe_load(RULES.read_text())["groups"] for r in group["rules"]]
    assert len(rules) > 10
    names = families(server)
    for rule in rules:
        named = set(re.findall(r"fedcore_\w+", rule["expr"]))
        assert named or rule["alert"] == "FedcoreDown"
        for name in named:
            assert name in names or name.removesuffix("_bucket") in names, (rule["alert"], name)
        for name, chosen in re.findall(r"(fedcore_\w+)\{(\w+=\"\w+\")\}", rule["expr"]):
            label, _, value = chosen.replace('"', "").partition("=")
            labels = {entry for key in found[name] for entry in key}
            is_known = f"{label}={value}" in labels or name == "fedcore_http_requests_total"
            assert is_known or label == "effect", (rule["alert"], chosen)
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["alert"] in PAGE, f"docs/observability.md does not name {rule['alert']}"


def test_what_callers_make_up_adds_no_series(server: Server) -> None:
    with server.client() as http:
        work(http, "first")
    samples(server)  # a reading is a request too
    before = {name: set(found) for name, found in samples(server).items()}
    for n in range(8):
        with server.client(tenant=f"tenant-{n}", actor=f"actor-{n}") as http:
            work(http, f"made-up-{n}")
    assert {name: set(found) for name, found in samples(server).items()} == before


def test_requests_at_once_do_not_lend_each_other_their_names(server: Server, log: Log) -> None:
    """Lines of each run say the correlation id and the tenant that it was asked for under."""
    text = workflow(py("act", "by_logging"), name="wf").replace(
        "tests.core_steps", "tests.observability.log_steps"
    )

    def ask(n: int) -> tuple[str, str, str]:
        with server.client(tenant=f"at-once-{n}") as http:
            http.post("/workflows/register", json={"workflow_yaml": text})
            answer = http.post(
                "/workflows/runs",
                json={"workflow_id": "wf"},
                headers={"X-Correlation-Id": f"c-{n}", "Prefer": "wait=20"},
            )
            assert answer.json()["run"]["status"] == "completed", answer.text
            return answer.json()["run"]["run_id"], f"at-once-{n}", f"c-{n}"

    with ThreadPoolExecutor(12) as pool:
        asked = list(pool.map(ask, range(24)))
    for run_id, tenant, correlation in asked:
        log.until("run_ended", run_id=run_id)
        told = [line for line in log.lines if line.get("run_id") == run_id]
        events = [line["event"] for line in told]
        assert {"run_created", "step_started", "scored act", "run_ended"} <= set(events)
        assert {line["tenant"] for line in told} == {tenant}
        step = told[events.index("scored act")]
        assert (step["correlation_id"], step["step_id"]) == (correlation, "act")
        assert "request_id" not in step  # the run is not the request that it began with
        assert len({line["trace_id"] for line in told}) == 1


def test_a_log_that_nobody_reads_and_a_collector_that_hangs_stop_nothing(tmp_path: Path) -> None:
    """Standard error is a pipe, it is full, and stays so. The server works, and ends when it is
    told to."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    settings = {"log_level": "debug", "python_allow": ["tests"]}
    try:
        with (
            collecting(answers=False) as hung,
            serving(tmp_path, stderr=writing, otlp_endpoint=hung.url, **settings) as server,
            server.client() as http,
        ):
            for n in range(3):
                work(http, f"job-{n}")
            hung.until(lambda c: c.requests > 0)
            assert server.stop() == 0
    finally:
        os.close(reading)
        os.close(writing)


def test_the_last_spans_and_lines_are_there_when_it_has_stopped(tmp_path: Path) -> None:
    with collecting() as collector:
        with (
            (tmp_path / "log").open("w") as log,
            serving(
                tmp_path / "data",
                stderr=log.fileno(),
                otlp_endpoint=collector.url,
                python_allow=["tests"],
            ) as server,
            server.client() as http,
        ):
            work(http)
            assert server.stop() == 0
        assert collector.one("run job-managed").facts["fedcore.status"] == "completed"
        assert collector.one("step act")
        created = collector.named("create_run")
        assert {link[0] for span in created for link in span.links} >= {
            collector.one("run job-managed").trace_id
        }
        assert '"run_ended"' in (tmp_path / "log").read_text()
