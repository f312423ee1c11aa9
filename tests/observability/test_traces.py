"""A run is one trace, made of what is durable; and a collector that is slow, wrong or gone is no
matter of the runs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import (
    approve,
    begin,
    bundle,
    flag,
    forbid,
    open_gates,
    py,
    register,
    start,
    until,
    workflow,
    write_bundle,
)
from tests.core_steps import Stage
from tests.observability.collector import Collector, collecting
from tests.observability.measured import measured
from tests.ports import free_port

from federation_core.service import CreateRunRequest, FederationCore
from federation_core.telemetry import Telemetry, trace_id_of
from federation_core.telemetry.otel import QUEUE, OtelTracer

HERE = "tests.observability.trace_steps"


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a collector is given up soon."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@asynccontextmanager
async def traced(
    folder: Path, endpoint: str, *policies: str, **keys: Any
) -> AsyncIterator[FederationCore]:
    """A core whose traces go to `endpoint`; at the end all of them are sent."""
    tracer = OtelTracer(endpoint, "0.0.0")
    telemetry = Telemetry(tracer=tracer)
    try:
        async with FederationCore.open(
            folder,
            policy_dir=write_bundle(folder / "policy", bundle(*policies)),
            python_allow=["tests"],
            telemetry=telemetry,
            **keys,
        ) as fc:
            yield fc
    finally:
        await asyncio.to_thread(telemetry.close)
        sender = tracer._queue._batch_processor._worker_thread
        await asyncio.to_thread(sender.join, 20)  # nothing goes on into the next test
        assert not sender.is_alive()


def step(call: str, **keys: Any) -> dict[str, Any]:
    return {"id": "s", "type": "ACT", "run": "python", "call": f"{HERE}:{call}", **keys}


# The shape of a trace


async def test_a_run_is_a_trace_and_each_attempt_a_span(
    tmp_path: Path, stage: Stage, collector: Collector
) -> None:
    flaky = py("flaky", "flaky", with_={"good_at": 2}, retry={"max_attempts": 2, "backoff": "1ms"})
    async with traced(tmp_path, collector.url) as fc:
        await register(fc, workflow(py("a"), flaky))
        call = fc.call("alice", correlation_id="c-42")
        run_id = (await fc.runs.create(call, CreateRunRequest(workflow_id="wf"))).run.run_id
        answer = await until(fc, run_id)
    run, first = collector.one("run wf"), collector.one("step a")
    assert {span.trace_id for span in collector.spans} == {f"{trace_id_of(run_id):032x}"}
    assert (run.parent_id, run.failed, run.kind) == ("", False, 1)
    assert run.facts == {
        "fedcore.run_id": run_id,
        "fedcore.tenant": "default",
        "fedcore.workflow_id": "wf",
        "fedcore.workflow_version": "1.0.0",
        "fedcore.status": "completed",
        "fedcore.correlation_id": "c-42",
    }
    assert run.resource["service.name"] == "federation-core"
    assert run.resource["service.version"] == "0.0.0"
    attempts = sorted(collector.named("step flaky"), key=lambda s: s.facts["fedcore.attempt"])
    assert [s.facts["fedcore.attempt"] for s in attempts] == [1, 2]
    assert [(s.failed, s.facts.get("error.type")) for s in attempts] == [
        (True, "Busy"),
        (False, None),
    ]
    assert {s.parent_id for s in (first, *attempts)} == {run.span_id}
    decided = [e.hash for e in answer.logs if e.event_type == "FC-POLICY-001" and e.step_id == "a"]
    assert first.facts["fedcore.decision"] == "allow"
    assert [first.facts["fedcore.decision_hash"]] == decided
    assert run.began <= first.began <= first.ended <= attempts[1].ended <= run.ended
    assert len({s.span_id for s in collector.spans}) == len(collector.spans) == 4


async def test_a_gate_is_a_span_as_long_as_people_took(
    tmp_path: Path, stage: Stage, collector: Collector
) -> None:
    async with traced(tmp_path, collector.url, flag("two", approvers="a,b", quorum=2)) as fc:
        run_id = await begin(fc, py("act"))
        [found] = await open_gates(fc, run_id)
        await approve(fc, found, "a")
        await approve(fc, found, "b")
        await until(fc, run_id)
    span, run, act = collector.one("gate"), collector.one("run wf"), collector.one("step act")
    assert (span.facts["fedcore.gate_id"], span.facts["fedcore.gate_status"]) == (
        found.gate_id, "approved",
    )  # fmt: skip
    assert span.parent_id == run.span_id
    assert run.began <= span.began < span.ended <= act.began
    assert not span.failed


async def test_a_denied_step_is_told_with_its_rules(
    tmp_path: Path, stage: Stage, collector: Collector
) -> None:
    async with traced(tmp_path, collector.url, forbid("never")) as fc:
        await until(fc, await begin(fc, py("act")))
    span, run = collector.one("step act"), collector.one("run wf")
    assert (span.failed, span.facts["fedcore.decision"]) == (True, "deny")
    assert [v.string_value for v in span.facts["fedcore.rules"].values] == ["never"]
    assert span.began == span.ended
    assert (run.failed, run.facts["fedcore.status"]) == (True, "failed")
    assert run.facts["error.type"] == "policy_denied"


async def test_the_trace_goes_on_after_a_restart(tmp_path: Path, stage: Stage) -> None:
    """Two processes of one run, which know nothing of each other: one trace, and no span twice."""
    with collecting() as first, collecting() as second:
        async with traced(tmp_path, first.url, flag("two", 'context.step_id == "b"')) as fc:
            run_id = await begin(fc, py("a"), py("b"))
            [found] = await open_gates(fc, run_id)
        async with traced(tmp_path, second.url, flag("two", 'context.step_id == "b"')) as fc:
            await approve(fc, found)
            await until(fc, run_id)
        run = second.one("run wf")
        [before] = first.spans
        assert (before.name, before.trace_id, before.parent_id) == (
            "step a", run.trace_id, run.span_id,
        )  # fmt: skip
        assert {s.name for s in second.spans} == {"run wf", "step b", "gate"}
        assert before.resource["service.instance.id"] != run.resource["service.instance.id"]


async def test_a_child_run_is_linked_to_its_parent(tmp_path: Path, collector: Collector) -> None:
    async with traced(tmp_path, collector.url) as fc:
        await register(fc, workflow(step("current")))
        parent = await start(fc)
        await until(fc, parent)
        child = await start(fc, parent_run_id=parent)
        await until(fc, child)
    runs = {s.facts["fedcore.run_id"]: s for s in collector.named("run wf")}
    assert runs[child].links == [(runs[parent].trace_id, runs[parent].span_id)]
    assert runs[child].trace_id != runs[parent].trace_id


async def test_no_value_reaches_a_trace(tmp_path: Path, collector: Collector) -> None:
    secret = "4111-secret-value"
    failing = {"call": "tests.observability.log_steps:raising", "with": {"secret": "${input.card}"}}
    async with traced(tmp_path, collector.url) as fc:
        run_id = await begin(fc, step("x") | failing, given={"card": secret})
        assert (await until(fc, run_id)).run.status == "failed"
    assert collector.one("step s").facts["error.type"] == "LookupError"
    assert secret not in repr([(s.name, s.facts) for s in collector.spans])


@pytest.mark.parametrize("ratio", ["0", "1"])
async def test_the_standard_sampler_decides_for_the_whole_trace(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, ratio: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "refunds")
    async with traced(tmp_path, collector.url) as fc:
        run_id = await begin(fc, step("current"), output="${steps.s.output}")
        answer = await until(fc, run_id)
    assert answer.run.output_payload.endswith("-01" if ratio == "1" else "-00")
    assert [s.resource["service.name"] for s in collector.spans] == ["refunds"] * int(ratio) * 2


def test_half_of_the_traces_are_half_of_the_runs() -> None:
    """Ids of runs begin with the time; a sampler looks at the end of a trace's."""
    from uuid_utils import uuid7

    traces = [trace_id_of(str(uuid7())) for _ in range(2_000)]
    sampled = sum(t & (1 << 64) - 1 < 1 << 63 for t in traces)
    assert 850 < sampled < 1_150
    assert len(set(traces)) == 2_000


# Out of the steps


@pytest.mark.parametrize("call", ["current", "current_async"])
async def test_a_function_finds_its_step_as_the_current_span(
    tmp_path: Path, collector: Collector, call: str
) -> None:
    async with traced(tmp_path, collector.url) as fc:
        run_id = await begin(fc, step(call), output="${steps.s.output}")
        answer = await until(fc, run_id)
    span = collector.one("step s")
    assert answer.run.output_payload == f"00-{span.trace_id}-{span.span_id}-01"


async def test_without_a_tracer_a_function_finds_none(tmp_path: Path) -> None:
    async with FederationCore.open(
        tmp_path, policy_dir=write_bundle(tmp_path / "p", bundle()), python_allow=["tests"]
    ) as fc:
        answer = await until(fc, await begin(fc, step("current"), output="${steps.s.output}"))
    assert answer.run.output_payload == f"00-{0:032x}-{0:016x}-00"


class Service:
    """Keeps the headers of what it is asked."""

    def __init__(self, status: int) -> None:
        self.asked: list[dict[str, str]] = []
        self._status = status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        self.asked.append({name.lower(): value for name, _, value in lines})
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self._status)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(status: int = 200) -> AsyncIterator[tuple[Service, int]]:
    service = Service(status)
    async with await asyncio.start_server(service.serve, "127.0.0.1", 0) as server:
        yield service, server.sockets[0].getsockname()[1]


def calling(
    folder: Path, collector: Collector, port: int
) -> AbstractAsyncContextManager[FederationCore]:
    return traced(folder, collector.url, http_allow=[f"127.0.0.1:{port}"])


def http_step(port: int, **headers: str) -> dict[str, Any]:
    request = {"method": "POST", "url": f"http://127.0.0.1:{port}/x?card=4111", "headers": headers}
    return {"id": "s", "type": "ACT", "run": "http", "request": request}


async def test_an_http_step_takes_its_trace_along(tmp_path: Path, collector: Collector) -> None:
    async with serving() as (service, port), calling(tmp_path, collector, port) as fc:
        answer = await until(fc, await begin(fc, http_step(port)))
        assert answer.run.status == "completed"
    span, above = collector.one("POST"), collector.one("step s")
    assert service.asked[0]["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert (span.parent_id, span.trace_id, span.kind) == (above.span_id, above.trace_id, 3)
    assert span.facts == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
    }


async def test_a_header_of_the_workflow_stays(tmp_path: Path, collector: Collector) -> None:
    own = f"00-{'ab' * 16}-{'cd' * 8}-00"
    async with serving() as (service, port), calling(tmp_path, collector, port) as fc:
        await until(fc, await begin(fc, http_step(port, TraceParent=own)))
    assert service.asked[0]["traceparent"] == own
    assert collector.one("POST").parent_id == collector.one("step s").span_id


async def test_without_a_tracer_no_header_is_sent(tmp_path: Path) -> None:
    async with (
        serving() as (service, port),
        FederationCore.open(
            tmp_path,
            policy_dir=write_bundle(tmp_path / "p", bundle()),
            http_allow=[f"127.0.0.1:{port}"],
        ) as fc,
    ):
        await until(fc, await begin(fc, http_step(port)))
    assert "traceparent" not in service.asked[0]


@pytest.mark.parametrize(("status", "error"), [(503, "503"), (None, "ConnectError")])
async def test_a_request_that_fails_is_told(
    tmp_path: Path, collector: Collector, status: int | None, error: str
) -> None:
    async with serving(status or 200) as (_service, port):
        if status is None:
            port = free_port()  # noqa: PLW2901
        async with calling(tmp_path, collector, port) as fc:
            await until(fc, await begin(fc, http_step(port)))
    span = collector.one("POST")
    assert (span.failed, span.facts["error.type"]) == (True, error)
    assert span.facts.get("http.response.status_code") == status


# A collector that is slow, wrong or gone


async def ten_runs(fc: FederationCore) -> None:
    await register(fc, workflow(step("current_async")))
    for run_id in [await start(fc) for _ in range(10)]:
        assert (await until(fc, run_id)).run.status == "completed"


@pytest.mark.usefixtures("_quick")
async def test_a_collector_that_hangs_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation_core.telemetry.otel._DELAY_MS", 1)
    monkeypatch.setattr("federation_core.telemetry.otel._CLOSE_S", 0.1)
    with collecting(answers=False) as hung:
        async with traced(tmp_path, hung.url) as fc:
            await ten_runs(fc)
            await asyncio.to_thread(hung.until, lambda c: c.requests > 0)
            await ten_runs_more(fc)
            found = await measured(fc)
            assert found["fedcore_spans", "made"] == 40
            assert found["fedcore_spans", "exported"] == 0


async def ten_runs_more(fc: FederationCore) -> None:
    for run_id in [await start(fc) for _ in range(10)]:
        assert (await until(fc, run_id)).run.status == "completed"


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("status", [None, 400, 503], ids=["gone", "refuses", "overloaded"])
async def test_a_collector_that_takes_nothing_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    monkeypatch.setattr("federation_core.telemetry.otel._CLOSE_S", 0.1)
    with collecting(status=status or 200) as wrong:
        if status is None:
            wrong.server.server_close()
        async with traced(tmp_path, wrong.url) as fc:
            await ten_runs(fc)
        tracer = fc._readings._parts[-1].tracer  # type: ignore[attr-defined]
        counts = {s[0][0]: s[1] for f in tracer.families() for s in f.samples}
        assert counts["made"] == 20
        assert counts["exported"] == 0


@pytest.mark.usefixtures("_quick")
async def test_the_queue_is_bounded_and_the_oldest_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation_core.telemetry.otel.QUEUE", 5)
    monkeypatch.setattr("federation_core.telemetry.otel._BATCH", 5)
    monkeypatch.setattr("federation_core.telemetry.otel._DELAY_MS", 3_600_000)
    monkeypatch.setattr("federation_core.telemetry.otel._CLOSE_S", 0.1)
    assert QUEUE == 8_192
    with collecting(answers=False) as hung:
        async with traced(tmp_path, hung.url) as fc:
            await ten_runs(fc)
            queue = fc._engine._driver._executors.tracer._queue  # type: ignore[union-attr]
            assert len(queue._batch_processor._queue) <= 5


# Requests of the API


async def test_a_request_continues_its_callers_trace_and_links_the_run(
    tmp_path: Path, collector: Collector
) -> None:
    import httpx
    from tests.api_helpers import SECRET, bearer

    from federation_core.api import Auth, build_app

    theirs, above = "ab" * 16, "cd" * 8
    async with traced(tmp_path, collector.url) as fc:
        auth = Auth(secret=SECRET, mode="development", default_tenant="default")
        app = build_app(fc, auth, tracer=fc._engine._driver._executors.tracer)
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {bearer()}", "X-Correlation-Id": "c-42"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            answer = await http.post(
                "/workflows/runs",
                json={"workflow_id": "job"},
                headers=headers | {"traceparent": f"00-{theirs}-{above}-01", "tracestate": "a=b"},
            )
            run_id = answer.json()["run"]["run_id"]
            await http.get(f"/workflows/runs/{run_id}", headers=headers)
            await http.get("/workflows/runs", headers=headers | {"traceparent": "nonsense"})
            await http.get(
                "/workflows/runs", headers=headers | {"traceparent": f"00-{theirs}-{above}-00"}
            )
            await http.get("/health")
            await http.get("/metrics")
    made, got, listed = collector.spans
    assert (made.name, made.trace_id, made.parent_id, made.kind) == ("create_run", theirs, above, 2)
    assert made.facts == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "fedcore.operation": "create_run",
        "fedcore.request_id": answer.headers["X-Request-Id"],
        "fedcore.correlation_id": "c-42",
        "fedcore.tenant": "default",
        "fedcore.run_id": run_id,
    }
    assert [trace for trace, _ in made.links] == [f"{trace_id_of(run_id):032x}"]
    assert got.links == made.links
    assert (got.parent_id, listed.parent_id, listed.links) == ("", "", [])
    assert len({made.trace_id, got.trace_id, listed.trace_id}) == 3
