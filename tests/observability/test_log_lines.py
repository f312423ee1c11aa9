"""One form for every line, whoever writes it, and nothing in it that is a value."""

import asyncio
import contextvars
import io
import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.core_helpers import (
    approve,
    begin,
    flag,
    forbid,
    open_gates,
    py,
    register,
    start,
    until,
    workflow,
)
from tests.core_steps import new_stage

from federation_core.service import AddScheduleRequest, CreateRunRequest, RestartRequest
from federation_core.telemetry import Telemetry, trace_id_of
from federation_core.telemetry.about import Request, about
from federation_core.telemetry.journal import Journal
from federation_core.telemetry.logs import LogFormat, LogLevel, configure_log
from federation_core.telemetry.sink import Sink

pytestmark = pytest.mark.usefixtures("own_log")

HERE = "tests.observability.log_steps"


class Lines:
    """The log of a test, read once it is closed."""

    def __init__(
        self, level: LogLevel = "info", form: LogFormat = "json", *, traced: bool = False
    ) -> None:
        self.stream = io.StringIO()
        self._sink = configure_log(
            level, form, trusted=["tests"], traced=traced, stream=self.stream
        )

    @property
    def text(self) -> str:
        self._sink.close()
        return self.stream.getvalue()

    def named(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if line["event"] == name]


def step(call: str, **given: str) -> dict[str, Any]:
    found = py("s", with_=given)
    return found | {"call": f"{HERE}:{call}", "with": given}


# The form


def test_a_line_of_json_has_an_event_a_level_and_a_time() -> None:
    lines = Lines()
    structlog.get_logger().warning("disk_full", free=0)
    [line] = lines.named("disk_full")
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "disk_full", "level": "warning", "free": 0}


def test_a_line_of_text_is_for_people() -> None:
    lines = Lines(form="text")
    structlog.get_logger().warning("disk_full", free=0)
    assert "[warning  ] disk_full" in lines.text
    assert "free=0" in lines.text
    assert "\x1b" not in lines.text


def test_auto_is_json_where_nobody_looks() -> None:
    lines = Lines(form="auto")
    structlog.get_logger().warning("disk_full")
    assert lines.named("disk_full")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_lines_under_the_level_are_not_written(level: LogLevel) -> None:
    lines, names = Lines(level), ["debug", "info", "warning", "error"]
    for name in names:
        getattr(structlog.get_logger(), name)(name)
        getattr(logging.getLogger("tests"), name)(f"std {name}")
    wanted = names[names.index(level) :]
    found = [json.loads(line)["event"] for line in lines.text.splitlines()]
    assert found == [text for name in wanted for text in (name, f"std {name}")]


def test_a_traceback_is_one_line_without_the_values_of_variables() -> None:
    lines, password = Lines(), "hunter2" * 3
    try:
        int(f"{len(password)} steps")
    except ValueError:
        structlog.get_logger().exception("broke")
        logging.getLogger("tests").exception("broke")
    assert password not in lines.text
    assert [
        "ValueError: invalid literal" in line["exception"] for line in lines.named("broke")
    ] == [True] * 2


def test_a_line_that_a_value_tries_to_break_stays_one_line() -> None:
    lines = Lines()
    structlog.get_logger().info("x", said='a\n{"event": "forged"}\u2028')
    assert len(lines.text.splitlines()) == 1
    assert not lines.named("forged")


# The standard library


def test_libraries_are_heard_from_warnings_on() -> None:
    lines = Lines("debug")
    for name in ("httpx", "httpcore.connection", "sqlalchemy.engine", "testsuite"):
        library = logging.getLogger(name)
        library.setLevel(logging.DEBUG)
        try:
            library.debug("GET https://pay.example/?card=4111")
            library.info("GET https://pay.example/?card=4111")
            library.warning("slow")
        finally:
            library.setLevel(logging.NOTSET)
    assert "4111" not in lines.text
    assert [line["logger"] for line in lines.named("slow")] == [
        "httpx", "httpcore.connection", "sqlalchemy.engine", "testsuite",
    ]  # fmt: skip


def test_arguments_that_do_not_fit_are_said_and_not_told() -> None:
    lines = Lines()
    logging.getLogger("tests").info("paid %d", "card 4111")
    [line] = lines.named("log_line_lost")
    assert (line["logger"], line["template"]) == ("tests", "paid %d")
    assert "4111" not in lines.text


@pytest.mark.parametrize(("number", "name"), [(5, None), (25, "info"), (99, "critical")])
def test_levels_of_ones_own_are_the_one_below(number: int, name: str | None) -> None:
    lines = Lines()
    logging.getLogger("tests").log(number, "odd")
    assert [line["level"] for line in lines.named("odd")] == ([name] if name else [])


# What a line is about


def test_a_subject_is_told_in_its_task_and_threads_and_not_elsewhere() -> None:
    lines = Lines()
    context = contextvars.copy_context()
    context.run(about, Request("r-1", "c-1", "acme"))
    log = structlog.get_logger()
    context.run(log.info, "inside", tenant="said")
    threading.Thread(target=context.copy().run, args=(log.info, "thread")).start()
    log.info("outside")
    [inside], [outside] = lines.named("inside"), lines.named("outside")
    assert (inside["request_id"], inside["correlation_id"]) == ("r-1", "c-1")
    assert inside["tenant"] == "said"  # what is said goes before what is known
    assert "request_id" not in outside
    assert "run_id" not in inside


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("by_logging", "scored ann"),
        ("by_root", "scored ann"),
        ("by_structlog", "scored"),
        ("by_context", "scored"),
    ],
)
async def test_what_a_step_logs_says_where_it_comes_from(
    tmp_path: Path, call: str, event: str
) -> None:
    lines = Lines(traced=True)
    async with core_with_log(tmp_path) as fc:
        await register(fc, workflow(step(call, name="ann")))
        request = CreateRunRequest(workflow_id="wf")
        asked = fc.call("alice", correlation_id="c-42")
        run_id = (await fc.runs.create(asked, request)).run.run_id
        assert (await until(fc, run_id)).run.status == "completed"
    [line] = lines.named(event)
    assert {k: line[k] for k in ("tenant", "run_id", "step_id", "attempt", "correlation_id")} == {
        "tenant": "default",
        "run_id": run_id,
        "step_id": "s",
        "attempt": 1,
        "correlation_id": "c-42",
    }
    assert line["level"] == "info"
    assert line["trace_id"] == f"{trace_id_of(run_id):032x}"
    assert (line.get("risk"), line.get("logger")) == (
        (3, HERE) if call == "by_logging" else (None, "root" if call == "by_root" else None)
    )


async def test_steps_side_by_side_do_not_lend_each_other_their_names(tmp_path: Path) -> None:
    lines = Lines()
    names = [f"n{i}" for i in range(20)]
    async with core_with_log(tmp_path) as fc:
        await register(
            fc,
            workflow(
                *(step("by_logging", name=n) | {"id": n, "needs": []} for n in names), name="wf"
            ),
        )
        runs = [await start(fc) for _ in range(3)]
        for run_id in runs:
            await until(fc, run_id)
    for name in names:
        found = lines.named(f"scored {name}")
        assert [line["step_id"] for line in found] == [name] * 3
        assert {line["run_id"] for line in found} == set(runs)


async def test_an_error_names_the_request_that_had_it(tmp_path: Path) -> None:
    import httpx
    from tests.api_helpers import SECRET as KEY
    from tests.api_helpers import bearer

    from federation_core.api import Auth, build_app

    lines = Lines()
    async with core_with_log(tmp_path) as fc:
        app = build_app(fc, Auth(secret=KEY, mode="development", default_tenant="default"))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    headers = {
        "Authorization": f"Bearer {bearer(KEY)}",
        "X-Tenant-Id": "acme",
        "X-Correlation-Id": "c-9",
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        body = {"workflow_id": "x", "input_payload": {"card": SECRET}}
        answer = await http.post("/workflows/runs", json=body, headers=headers)
    assert answer.status_code >= 500  # the core is closed
    found = lines.named("request_failed") + lines.named("request_crashed")
    [line] = found
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert (line["correlation_id"], line["tenant"]) == ("c-9", "acme")
    assert not {KEY, bearer(KEY), SECRET} & set(lines.text.split())
    assert SECRET not in lines.text


def core_with_log(folder: Path, *policies: str, level: LogLevel = "info", **keys: Any) -> Any:
    """A core that tells what becomes durable."""
    from tests.core_helpers import bundle, write_bundle

    from federation_core.service import FederationCore

    return FederationCore.open(
        folder,
        policy_dir=write_bundle(folder / "policy", bundle(*policies)),
        python_allow=["tests"],
        telemetry=Telemetry(journal=Journal(level)),
        **keys,
    )


# What becomes durable


async def test_a_run_is_told_from_birth_to_end(tmp_path: Path) -> None:
    lines = Lines()
    async with core_with_log(tmp_path, flag("two"), level="info") as fc:
        run_id = await begin(fc, py("act"))
        [found] = await open_gates(fc, run_id)
        await approve(fc, found)
        await until(fc, run_id)
    [born], [asked] = lines.named("run_created"), lines.named("gate_requested")
    [answered], [ended] = lines.named("gate_answered"), lines.named("run_ended")
    assert (born["workflow_id"], born["execution"]) == ("wf", "managed")
    assert {born["run_id"], asked["run_id"], answered["run_id"], ended["run_id"]} == {run_id}
    assert asked["gate_id"] == answered["gate_id"] == found.gate_id
    assert (answered["actor"], answered["status"], ended["status"]) == (
        "approver", "approved", "completed",
    )  # fmt: skip
    assert not lines.named("step_started")
    assert [line["code"] for line in lines.named("recorded")].count("FC-WF-001") == 1


async def test_what_goes_wrong_is_a_warning(tmp_path: Path) -> None:
    lines = Lines("warning")
    async with core_with_log(tmp_path, forbid("never"), level="warning") as fc:
        await until(fc, await begin(fc, py("act")))
    [line] = lines.named("decided")
    assert (line["effect"], line["rules"], line["level"]) == ("deny", ["never"], "warning")
    assert not lines.named("run_ended")


async def test_at_debug_each_step_is_told(tmp_path: Path) -> None:
    lines = Lines("debug")
    async with core_with_log(tmp_path, level="debug") as fc:
        await until(fc, await begin(fc, py("act")))
    for name in ("step_started", "step_completed"):
        assert [line["step_id"] for line in lines.named(name)] == ["act"]


async def test_a_fan_out_and_a_carried_step_name_their_run(tmp_path: Path) -> None:
    lines = Lines("debug")
    async with core_with_log(tmp_path, forbid("no", 'context.step_id == "b"'), level="debug") as fc:
        run_id = await begin(fc, py("first"), py("b"))
        await until(fc, run_id)
        request = RestartRequest(from_step="b")
        again = (await fc.runs.restart(fc.call("starter"), run_id, request)).run.run_id
        await until(fc, again)
        each = {"id": "each", "type": "TRANSFORM", "foreach": "[1, 2]", "run": "expression"}
        fanned = await begin(fc, each | {"value": "${item}"}, version="2.0.0")
        await until(fc, fanned)
    [told] = lines.named("step_fanned_out")
    assert (told["run_id"], told["step_id"], told["items"]) == (fanned, "each", 2)
    [told] = lines.named("step_carried")
    assert (told["run_id"], told["step_id"]) == (again, "first")
    assert not [e for e in lines.named("recorded") if e["code"].startswith("FC-STEP")]


async def test_a_record_names_what_it_is_about(tmp_path: Path) -> None:
    lines = Lines()
    async with core_with_log(tmp_path) as fc:
        await register(fc, workflow(py("act")))
        request = AddScheduleRequest(schedule_id="nightly", workflow_id="wf", cron="0 0 1 1 *")
        await fc.schedules.add(fc.call("alice"), request)
        await fc.schedules.pause(fc.call("alice"), "nightly")
    found = [e for e in lines.named("recorded") if e["code"].startswith("FC-SCHED")]
    assert len(found) == 2
    assert {line["schedule_id"] for line in found} == {"nightly"}
    [registered] = [e for e in lines.named("recorded") if e["code"] == "FC-WF-001"]
    assert registered["workflow_id"] == "wf"


async def test_what_a_stop_cuts_off_is_told(tmp_path: Path) -> None:
    lines, stage = Lines(), new_stage()
    async with core_with_log(tmp_path) as fc:
        run_id = await begin(fc, py("slow", "hold"))
        await stage.seen("slow began")
        await fc._parts.engine.close(grace=0.0)
    [line] = lines.named("step_cut_off")
    assert (line["run_id"], line["step_id"]) == (run_id, "slow")


# Nothing in a line is a value

SECRET = "4111-secret-value"


async def test_no_value_reaches_the_log_at_any_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs, outputs, metadata, errors, gate inputs, headers, secrets of the environment."""
    from tests.core_helpers import gate, resume

    monkeypatch.setenv("FEDCORE_SECRET_PAY", SECRET)
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps({"card": SECRET}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    lines = Lines("debug")
    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    steps = [
        step("through_a_library", secret="${input.card}") | {"id": "library"},
        {
            "id": "http",
            "type": "ACT",
            "run": "http",
            "request": {
                "method": "GET",
                "url": f"http://127.0.0.1:{port}/?card=${{input.card}}",
                "headers": {"Authorization": {"env": "FEDCORE_SECRET_PAY"}},
            },
        },
        gate("ask"),
        step("raising", secret="${input.card}") | {"id": "raising"},
    ]
    async with core_with_log(tmp_path, level="debug", http_allow=[f"127.0.0.1:{port}"]) as fc:
        run_id = await begin(fc, *steps, given={"card": SECRET})
        [found] = await open_gates(fc, run_id)
        await resume(fc, found, {"card": SECRET})
        answer = await until(fc, run_id)
    service.close()
    await service.wait_closed()
    assert SECRET.encode() in seen[0]
    assert (answer.run.status, answer.steps[-1].status) == ("failed", "failed")
    assert lines.named("step_failed")[0]["error"] == "LookupError"
    assert lines.named("run_ended")
    assert SECRET not in lines.text


# Where lines go


def test_a_reader_that_hangs_holds_up_nobody() -> None:
    """The pipe is full and nobody reads: lines wait, then they are dropped and counted."""
    reading, writing = os.pipe()
    with suppress(BrokenPipeError), os.fdopen(writing, "w", buffering=1) as stream:
        sink = Sink(stream, capacity=10)
        for _ in range(50):
            sink.msg("x" * 65_536)
        assert 38 <= sink.dropped <= 40
        sink.close(seconds=0.01)
        os.close(reading)  # the thread that waited to write finds nobody there
        sink._thread.join(20)
        assert not sink._thread.is_alive()


def test_lines_come_in_order_and_none_is_lost_at_the_end() -> None:
    stream = io.StringIO()
    sink = Sink(stream)
    for n in range(1_000):
        sink.msg(str(n))
    sink.close()
    sink.msg("after")
    assert stream.getvalue().split() == [*map(str, range(1_000)), "after"]
    assert sink.dropped == 0


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    sink = Sink(stream)
    stream.close()
    sink.msg("x")
    sink.close()
    assert sink.dropped == 1
