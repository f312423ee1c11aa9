"""One call, a time limit, and an answer that is JSON or a `StepError`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.executors import StepContext, StepError, run_step
from federation_core.spine.definition import ExpressionWork, StepSpec, StepType, Work


class Calls:
    """An executor that does what it is told."""

    def __init__(self, action: Callable[[StepContext], Awaitable[Any]]) -> None:
        self._action = action

    async def execute(
        self, work: Work, step_input: Any, ctx: StepContext, scope: Mapping[str, Any], /
    ) -> Any:
        return await self._action(ctx)


WORK = ExpressionWork(1)


def spec(timeout_ms: int = 5_000, work: Work | None = WORK) -> StepSpec:
    return StepSpec(id="act", type=StepType.ACT, work=work, timeout_ms=timeout_ms)


async def run(
    action: Callable[[StepContext], Awaitable[Any]], ctx: StepContext, **options: Any
) -> Any:
    limit = options.pop("max_output_bytes", 1024 * 1024)
    return await run_step(Calls(action), spec(**options), {}, ctx, {}, max_output_bytes=limit)


async def forever(ctx: StepContext) -> None:
    await asyncio.Event().wait()


def returning(value: Any) -> Callable[[StepContext], Awaitable[Any]]:
    async def action(ctx: StepContext) -> Any:
        return value

    return action


def raising(error: BaseException) -> Callable[[StepContext], Awaitable[Any]]:
    async def action(ctx: StepContext) -> Any:
        raise error

    return action


async def failure_of(
    action: Callable[[StepContext], Awaitable[Any]], ctx: StepContext, **options: Any
) -> StepError:
    with pytest.raises(StepError) as caught:
        await run(action, ctx, **options)
    return caught.value


async def test_output_is_what_the_executor_returned(ctx: StepContext) -> None:
    assert await run(returning({"a": [1, "x", None, True, 1.5]}), ctx) == {
        "a": [1, "x", None, True, 1.5]
    }


async def test_gate_has_no_work_to_run(ctx: StepContext) -> None:
    assert (await failure_of(forever, ctx, work=None)).type == "NoWork"


async def test_timeout_is_a_retriable_failure(ctx: StepContext) -> None:
    failure = await failure_of(forever, ctx, timeout_ms=10)
    assert (failure.type, failure.retriable) == ("Timeout", True)
    assert "10 ms" in failure.message


async def test_deadline_of_the_run_is_kept_when_it_is_nearer(ctx: StepContext) -> None:
    from msgspec.structs import replace

    near = replace(ctx, deadline=asyncio.get_running_loop().time())
    assert (await failure_of(forever, near)).type == "Timeout"


async def test_executor_sees_the_deadline_of_its_step(ctx: StepContext) -> None:
    seen: list[float] = []

    async def action(inner: StepContext) -> None:
        seen.append(inner.deadline)

    before = asyncio.get_running_loop().time()
    await run(action, ctx, timeout_ms=5_000)
    assert before + 5 <= seen[0] <= before + 6


async def test_result_of_a_step_that_swallows_its_timeout_is_thrown_away(ctx: StepContext) -> None:
    async def stubborn(inner: StepContext) -> str:
        try:
            await forever(inner)
        except asyncio.CancelledError:
            return "late"
        return "never"

    assert (await failure_of(stubborn, ctx, timeout_ms=10)).type == "Timeout"


async def test_step_that_fails_while_it_is_timed_out_has_timed_out(ctx: StepContext) -> None:
    async def clumsy(inner: StepContext) -> None:
        try:
            await forever(inner)
        finally:
            raise ValueError

    assert (await failure_of(clumsy, ctx, timeout_ms=10)).type == "Timeout"


async def test_step_error_that_says_nothing_is_recorded_as_what_it_is(ctx: StepContext) -> None:
    class Mine(StepError):
        def __init__(self) -> None:
            Exception.__init__(self, "something of mine")

    failure = await failure_of(raising(Mine()), ctx)
    assert (failure.type, failure.message) == ("Mine", "something of mine")
    assert not failure.retriable


async def test_timeout_error_of_the_step_itself_keeps_its_own_name(ctx: StepContext) -> None:
    assert (await failure_of(raising(TimeoutError("socket")), ctx)).type == "TimeoutError"


async def test_cancellation_passes_through(ctx: StepContext) -> None:
    started = asyncio.Event()

    async def action(inner: StepContext) -> None:
        started.set()
        await forever(inner)

    task = asyncio.create_task(run(action, ctx))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_false_cancellation_is_a_failure_of_the_step(ctx: StepContext) -> None:
    failure = await failure_of(raising(asyncio.CancelledError()), ctx)
    assert failure.type == "CancelledError"


@pytest.mark.parametrize(
    ("error", "type_", "message", "retriable"),
    [
        (ValueError("bad amount"), "ValueError", "bad amount", True),
        (ValueError(), "ValueError", "ValueError", True),
        (SystemExit(3), "SystemExit", "3", True),
        (BaseException("odd"), "BaseException", "odd", True),
        (MemoryError(), "MemoryError", "MemoryError", True),
        (ExceptionGroup("two", [ValueError("a")]), "ExceptionGroup", "two (1 sub-exception)", True),
        (InvalidInput("no such field"), "InvalidInput", "no such field", False),
        (StepError("Declined", "the card", retriable=True), "Declined", "the card", True),
    ],
)
async def test_any_exception_becomes_a_step_error(
    ctx: StepContext, error: BaseException, type_: str, message: str, retriable: bool
) -> None:
    failure = await failure_of(raising(error), ctx)
    assert (failure.type, failure.message, failure.retriable) == (type_, message, retriable)
    assert failure is error or failure.__cause__ is error


async def test_exception_that_cannot_be_printed_still_has_a_message(ctx: StepContext) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = await failure_of(raising(MuteError()), ctx)
    assert failure.type == "MuteError"
    assert failure.message


async def test_interrupt_from_the_keyboard_ends_the_process_not_the_step(ctx: StepContext) -> None:
    coroutine = run(raising(KeyboardInterrupt()), ctx)
    with pytest.raises(KeyboardInterrupt):
        await coroutine


async def test_long_message_is_cut(ctx: StepContext) -> None:
    failure = await failure_of(raising(ValueError("x" * 5_000)), ctx)
    assert len(failure.message) == 2_000
    assert failure.message.endswith("x…")


@given(st.text(st.characters(), max_size=50))
def test_message_can_always_be_stored(text: str) -> None:
    failure = StepError(text, text)
    for part in (failure.type, failure.message):
        assert "\0" not in part
        part.encode()


@pytest.mark.parametrize(
    "output",
    [object(), b"x", (1,), {1: 2}, float("nan"), sys.maxsize, "\ud800", {"a": {"b": {3, 4}}}],
)
async def test_output_that_is_no_json_is_refused(ctx: StepContext, output: Any) -> None:
    failure = await failure_of(returning(output), ctx)
    assert (failure.type, failure.retriable) == ("OutputRefused", False)


async def test_deep_output_is_refused(ctx: StepContext) -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert (await failure_of(returning(deep), ctx)).type == "OutputRefused"


async def test_output_is_measured_in_bytes_of_json(ctx: StepContext) -> None:
    assert await run(returning("é" * 4), ctx, max_output_bytes=10) == "éééé"
    failure = await failure_of(returning("é" * 5), ctx, max_output_bytes=10)
    assert failure.type == "OutputRefused"
    assert "12 bytes; at most 10" in failure.message


async def test_log_lines_say_where_they_come_from(ctx: StepContext) -> None:
    from structlog.testing import capture_logs

    with capture_logs() as lines:
        ctx.logger.info("charged", amount=3)
    assert lines == [
        {
            "event": "charged",
            "log_level": "info",
            "amount": 3,
            "run_id": "run-1",
            "step_id": "act",
            "attempt": 2,
            "tenant": "acme",
            "correlation_id": "t:acme|c:1",
        }
    ]
