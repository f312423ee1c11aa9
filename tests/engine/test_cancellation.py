"""A cancelled run, or one whose step's time is over, stops what is executing on its behalf."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import begin, core, idle, py, states, until
from tests.core_steps import Stage
from tests.kin_helpers import cancel, child_of, kid, register_kid
from tests.ledger_helpers import cut_off

from federation_core.errors import LedgerUnavailable
from federation_core.ledger import Append
from federation_core.ledger.writer import OUTCOME_UNKNOWN, Writer


class Endless:
    """An HTTP server that takes a request, never answers it, and sees its client go."""

    def __init__(self) -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        while await reader.read(1_024):
            pass
        self.left.set()
        writer.close()


@asynccontextmanager
async def endless() -> AsyncIterator[Endless]:
    running = Endless()
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    async with server:
        yield running


def ask(port: int, **keys: Any) -> dict[str, Any]:
    request = {"method": "GET", "url": f"http://127.0.0.1:{port}/"}
    return {"id": "ask", "type": "ACT", "run": "http", "request": request, **keys}


async def test_a_request_that_is_under_way_is_aborted_with_its_run(tmp_path: Path) -> None:
    async with endless() as server:
        allow = [f"127.0.0.1:{server.port}"]
        async with core(tmp_path, http_allow=allow) as fc, asyncio.timeout(20):
            run_id = await begin(fc, ask(server.port))
            await server.asked.wait()
            await cancel(fc, run_id)
            await server.left.wait()
            await idle(fc)
            assert (await until(fc, run_id)).run.status == "cancelled"


async def test_a_request_whose_time_is_over_is_aborted(tmp_path: Path) -> None:
    async with endless() as server:
        allow = [f"127.0.0.1:{server.port}"]
        async with core(tmp_path, http_allow=allow) as fc, asyncio.timeout(20):
            run_id = await begin(
                fc, ask(server.port, timeout="500ms", retry={"max_attempts": 3, "backoff": "1ms"})
            )
            await server.left.wait()
            answer = await until(fc, run_id)
    assert answer.steps[0].error is not None
    assert answer.steps[0].error["type"] == "Timeout"


async def test_a_request_of_a_child_is_aborted_with_its_parent(tmp_path: Path) -> None:
    async with endless() as server:
        allow = [f"127.0.0.1:{server.port}"]
        async with core(tmp_path, http_allow=allow) as fc, asyncio.timeout(20):
            await register_kid(fc, ask(server.port))
            run_id = await begin(fc, kid("sub"))
            await server.asked.wait()
            await cancel(fc, run_id)
            await server.left.wait()
            child = await child_of(fc, run_id, "sub")
            assert (await until(fc, child)).run.status == "cancelled"


@pytest.mark.parametrize("how", ["cancelled", "timeout", "server"])
async def test_a_synchronous_function_learns_that_nobody_waits_for_it(
    tmp_path: Path, stage: Stage, how: str
) -> None:
    keys: dict[str, Any] = {"timeout": "50ms"} if how == "timeout" else {}
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("work", "listen", idempotent=True, **keys))
        await stage.told("work began")
        if how == "cancelled":
            await cancel(fc, run_id)
        elif how == "server":
            await fc._engine.close(grace=0)
        await stage.told("work ended early")
        if how != "server":
            await idle(fc)
            assert states(await until(fc, run_id)) == {"work": "failed"}


async def test_a_function_that_ends_by_itself_was_not_told(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("work", "look"), output="${steps.work.output}")
        assert (await until(fc, run_id)).run.output_payload is False


async def test_a_cancellation_whose_caller_was_cut_off_reaches_the_step(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable, so it holds, whether or not anybody waits for the answer."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        await cut_off(monkeypatch, cancel(fc, run_id))
        await stage.seen("a cut off")
        assert (await until(fc, run_id)).run.status == "cancelled"


async def test_a_cancellation_of_which_nobody_knows_whether_it_is_stored_reaches_the_step(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke between the commit and its answer, and was not back in time."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"))
        await stage.seen("a began")
        writer = fc._parts.ledger._writer
        submit, on_commit = Writer.submit, writer._on_commit

        def unknown(self: Writer, append: Append) -> "asyncio.Future[None]":
            if append.stream != f"run:{run_id}" or append.run_status != "cancelled":
                return submit(self, append)
            monkeypatch.setattr(writer, "_on_commit", lambda _: None)  # this process hears nothing
            told = asyncio.get_running_loop().create_future()

            def fail(_: object) -> None:
                monkeypatch.setattr(writer, "_on_commit", on_commit)
                told.set_exception(LedgerUnavailable("Who knows?", code=OUTCOME_UNKNOWN))

            submit(self, append).add_done_callback(fail)
            return told

        monkeypatch.setattr(Writer, "submit", unknown)
        with pytest.raises(LedgerUnavailable, match="Who knows"):
            await cancel(fc, run_id)
        await stage.seen("a cut off")
        assert (await until(fc, run_id)).run.status == "cancelled"
