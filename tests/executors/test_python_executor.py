"""Functions of allow-listed modules, and the ways around the list that are closed."""

import asyncio
import concurrent.futures
import contextvars
import functools
import subprocess  # noqa: F401 - a module that an attacker would like to reach through this one
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from shutil import rmtree  # noqa: F401 - likewise: a function that is here, but is not ours
from typing import Any, NoReturn
from uuid import UUID

import pytest

from federation_core.errors import SettingsError
from federation_core.executors import StepContext, StepError, run_step
from federation_core.executors.python import PythonExecutor, check_prefix
from federation_core.executors.registry import Executors
from federation_core.spine.definition import PythonWork, StepSpec, StepType

HERE = __name__
release = threading.Event()
tag: contextvars.ContextVar[str] = contextvars.ContextVar("tag", default="none")


@dataclass
class Score:
    risk: str
    parts: tuple[int, ...]


class Level(Enum):
    HIGH = "high"


class CallableThing:
    def __call__(self) -> str:
        return "called"


instance = CallableThing()
partial = functools.partial(print, "x")


def add(a: int, b: int = 1) -> int:
    return a + b


async def add_async(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


def with_ctx(a: int, *, ctx: StepContext) -> list[Any]:
    return [a, ctx.attempt, ctx.idempotency_key]


async def with_ctx_async(ctx: StepContext) -> str:
    return ctx.step_id


def takes_anything(**values: Any) -> list[str]:
    return sorted(values)


def positional_only(a: int, /) -> int:
    return a


def thread_and_tag() -> list[str]:
    return [threading.current_thread().name, tag.get()]


async def thread_async() -> str:
    return threading.current_thread().name


def structured() -> Score:
    return Score("high", (1, 2))


def various() -> dict[str, Any]:
    return {"level": Level.HIGH, "set": {3, 1, 2}, "nested": [(1, (2,))]}


def returns(kind: str) -> Any:
    return {
        "decimal": Decimal("1.10"),
        "bytes": b"x",
        "datetime": datetime(2026, 1, 1, tzinfo=UTC),
        "uuid": UUID(int=1),
        "object": object(),
        "int keys": {1: 2},
        "mixed set": {1, "a"},
        "nan": float("nan"),
        "large": 2**53,
        "deep in a struct": Score("x", (Decimal(1),)),  # type: ignore[arg-type]
    }[kind]


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def generator() -> Iterator[int]:
    yield 1


def mutates(order: dict[str, Any]) -> dict[str, Any]:
    order["items"].append("stolen")
    return order


def raises(kind: str) -> NoReturn:
    raise {
        "value": ValueError("no"),
        "exit": SystemExit(1),
        "interrupt": KeyboardInterrupt(),
        "stop": StopIteration(),
        "cancelled": asyncio.CancelledError(),
        "future cancelled": concurrent.futures.CancelledError(),
        "generator exit": GeneratorExit(),
        "step": StepError("Declined", "final", retriable=False),
    }[kind]


async def exits() -> NoReturn:
    raise SystemExit(1)


def blocks() -> str:
    release.wait(10)
    return "late"


def _private() -> None: ...


def wrapped_elsewhere() -> None: ...


wrapped_elsewhere.__module__ = "os"


@pytest.fixture
async def python() -> AsyncIterator[PythonExecutor]:
    executor = PythonExecutor([HERE], threads=2)
    yield executor
    release.set()
    await executor.aclose()
    release.clear()


async def call(executor: PythonExecutor, name: str, ctx: StepContext, /, **given: Any) -> Any:
    work = PythonWork(name if ":" in name else f"{HERE}:{name}")
    return await executor.execute(work, given, ctx, {})


async def failure(
    executor: PythonExecutor, name: str, ctx: StepContext, /, **given: Any
) -> StepError:
    with pytest.raises(StepError) as caught:
        await call(executor, name, ctx, **given)
    return caught.value


@pytest.mark.parametrize("name", ["add", "add_async"])
async def test_input_is_the_keyword_arguments(
    python: PythonExecutor, ctx: StepContext, name: str
) -> None:
    assert await call(python, name, ctx, a=2) == 3
    assert await call(python, name, ctx, a=2, b=5) == 7


async def test_context_is_passed_where_it_is_asked_for(
    python: PythonExecutor, ctx: StepContext
) -> None:
    assert await call(python, "with_ctx", ctx, a=1) == [1, 2, "run-1:act:2"]
    assert await call(python, "with_ctx_async", ctx) == "act"
    assert await call(python, "takes_anything", ctx, a=1, ctx=2) == ["a", "ctx"]


async def test_input_cannot_stand_in_for_the_context(
    python: PythonExecutor, ctx: StepContext
) -> None:
    assert (await failure(python, "with_ctx", ctx, a=1, ctx={})).type == "InputRefused"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("add", {}),
        ("add", {"a": 1, "c": 2}),
        ("add_async", {"b": 1}),
        ("positional_only", {"a": 1}),
    ],
)
async def test_input_that_does_not_fit_is_refused_for_good(
    python: PythonExecutor, ctx: StepContext, name: str, given: dict[str, Any]
) -> None:
    refusal = await failure(python, name, ctx, **given)
    assert (refusal.type, refusal.retriable) == ("InputRefused", False)


async def test_input_must_be_an_object(python: PythonExecutor, ctx: StepContext) -> None:
    with pytest.raises(StepError, match="must be an object"):
        await python.execute(PythonWork(f"{HERE}:add"), [1], ctx, {})


async def test_function_cannot_change_what_the_run_knows(
    python: PythonExecutor, ctx: StepContext
) -> None:
    order = {"items": ["book"]}
    assert await call(python, "mutates", ctx, order=order) == {"items": ["book", "stolen"]}
    assert order == {"items": ["book"]}


async def test_synchronous_functions_have_their_own_threads(
    python: PythonExecutor, ctx: StepContext
) -> None:
    tag.set("mine")
    thread, seen = await call(python, "thread_and_tag", ctx)
    assert thread.startswith("fedcore-python")
    assert seen == "mine"
    assert await call(python, "thread_async", ctx) == threading.current_thread().name


async def test_structures_become_json(python: PythonExecutor, ctx: StepContext) -> None:
    assert await call(python, "structured", ctx) == {"risk": "high", "parts": [1, 2]}
    assert await call(python, "various", ctx) == {
        "level": "high",
        "set": [1, 2, 3],
        "nested": [[1, [2]]],
    }


@pytest.mark.parametrize(
    "kind",
    [
        "decimal",
        "bytes",
        "datetime",
        "uuid",
        "object",
        "int keys",
        "mixed set",
        "nan",
        "large",
        "deep in a struct",
    ],
)
async def test_result_without_a_plain_json_form_is_refused(ctx: StepContext, kind: str) -> None:
    executors = Executors.build(python_allow=[HERE])
    spec = StepSpec(id="s", type=StepType.ACT, work=PythonWork(f"{HERE}:returns"))
    with pytest.raises(StepError) as caught:
        await run_step(executors, spec, {"kind": kind}, ctx, {})
    await executors.aclose()
    assert (caught.value.type, caught.value.retriable) == ("OutputRefused", False)


@pytest.mark.parametrize("name", ["endless", "generator"])
async def test_result_that_never_ends_is_refused(
    python: PythonExecutor, ctx: StepContext, name: str
) -> None:
    assert (await failure(python, name, ctx)).type == "OutputRefused"


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("value", "ValueError"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("stop", "StopIteration"),
        ("cancelled", "CancelledError"),
        ("future cancelled", "CancelledError"),
        ("generator exit", "GeneratorExit"),
        ("step", "Declined"),
    ],
)
async def test_nothing_but_a_step_error_leaves_the_thread(
    python: PythonExecutor, ctx: StepContext, kind: str, type_: str
) -> None:
    assert (await failure(python, "raises", ctx, kind=kind)).type == type_


async def test_async_function_that_exits_fails_its_step_only(ctx: StepContext) -> None:
    executors = Executors.build(python_allow=[HERE])
    spec = StepSpec(id="s", type=StepType.ACT, work=PythonWork(f"{HERE}:exits"))
    with pytest.raises(StepError) as caught:
        await run_step(executors, spec, {}, ctx, {})
    await executors.aclose()
    assert caught.value.type == "SystemExit"


async def test_timeout_does_not_wait_for_the_thread(
    python: PythonExecutor, ctx: StepContext
) -> None:
    executors = Executors.build(python_allow=[HERE])
    spec = StepSpec(id="s", type=StepType.ACT, work=PythonWork(f"{HERE}:blocks"), timeout_ms=50)
    with pytest.raises(StepError) as caught:
        await run_step(executors, spec, {}, ctx, {})
    assert caught.value.type == "Timeout"
    release.set()
    await executors.aclose()


@pytest.mark.parametrize(
    ("prefix", "module", "is_allowed"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", True),
        ("a.b", "a.bc", False),
        ("a.b", "a", False),
        ("a", "a.b.c", True),
        ("a", "ab", False),
    ],
)
async def test_prefix_covers_whole_names(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ctx: StepContext,
    prefix: str,
    module: str,
    is_allowed: bool,
) -> None:
    root = f"fc_{abs(hash(tmp_path)):x}"  # modules stay imported, so each case has its own root
    folder = tmp_path
    for part in f"{root}.{module}".split("."):
        folder /= part
        folder.mkdir()
        (folder / "__init__.py").write_text("def f(): return 'called'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    executor = PythonExecutor([f"{root}.{prefix}"])
    name = f"{root}.{module}:f"
    if is_allowed:
        assert await call(executor, name, ctx) == "called"
    else:
        assert (await failure(executor, name, ctx)).type == "CallRefused"
    await executor.aclose()


async def test_nothing_is_allowed_by_default(ctx: StepContext) -> None:
    executor = PythonExecutor()
    assert (await failure(executor, "add", ctx)).type == "CallRefused"
    await executor.aclose()


@pytest.mark.parametrize(
    "name",
    [
        f"{HERE}:_private",
        f"{HERE}:__builtins__",
        f"{HERE}:instance",
        f"{HERE}:partial",
        f"{HERE}:Score",
        f"{HERE}:Score.__init__",
        f"{HERE}:add.__globals__",
        f"{HERE}:subprocess.run",
        f"{HERE}:rmtree",
        f"{HERE}:wrapped_elsewhere",
        f"{HERE}:subprocess",
        f"{HERE}:HERE",
        f"{HERE}.__init__:add",
        f"{HERE}:add ",
        f"{HERE}:add\n",
        f"{HERE}:",
        f"..{HERE}:add",
        f"{HERE}:add:add",
        f"{HERE}/x:add",
        "os:system",
        ":add",
    ],
)
async def test_way_around_the_allow_list_is_closed(
    python: PythonExecutor, ctx: StepContext, name: str
) -> None:
    refusal = await failure(python, name, ctx)
    assert (refusal.type, refusal.retriable) == ("CallRefused", False)


@pytest.mark.parametrize(
    ("source", "name", "type_"),
    [
        ("raise SystemExit(1)", "f", "SystemExit"),
        ("import no_such_module_anywhere", "f", "ModuleNotFoundError"),
        ("x = (", "f", "SyntaxError"),
        ("", "f", "AttributeError"),
    ],
)
async def test_module_that_cannot_be_imported_fails_the_step_for_good(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ctx: StepContext,
    source: str,
    name: str,
    type_: str,
) -> None:
    module = f"fc_broken_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    executor = PythonExecutor([module])
    refusal = await failure(executor, f"{module}:{name}", ctx)
    await executor.aclose()
    assert (refusal.type, refusal.retriable) == (type_, False)


@pytest.mark.parametrize(
    "prefix", ["", "a-b", "a..b", ".a", "a.", "a b", "_a", "a.__b__", "é", "*"]
)
def test_prefix_that_names_no_module_is_a_mistake_in_the_settings(prefix: str) -> None:
    with pytest.raises(SettingsError, match="must read like"):
        check_prefix(prefix)


def test_functions_here_are_what_they_seem() -> None:
    functions: list[Callable[..., Any]] = [_private, wrapped_elsewhere]
    assert [f() for f in functions] == [None, None]
