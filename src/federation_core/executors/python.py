"""`run: python`: call a function of an allow-listed module.

Synchronous functions run on a bounded pool of threads, `async` ones on the event loop. A thread
cannot be stopped: a synchronous function whose run is cancelled, or that outlives its timeout, goes
on to its end, its result is thrown away, and it holds its thread until then, unless it looks at
`ctx.cancelled`. An `async` function is cancelled; it must yield.
"""

import asyncio
import contextvars
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from ..errors import SettingsError
from ..spine.definition import PythonWork
from .base import StepContext, StepError, as_step_error

__all__ = ["PythonExecutor", "check_prefix"]

T = TypeVar("T")

_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_PREFIX = re.compile(rf"{_NAME}(\.{_NAME})*")
_CALL = re.compile(rf"(?P<module>{_NAME}(?:\.{_NAME})*):(?P<name>{_NAME})")
_NOT_PLAIN = (bytes, bytearray, memoryview, date, datetime, time, timedelta, Decimal, UUID)
"""Types of which JSON has no plain form. The function decides how it writes them, not we."""


class _Target(msgspec.Struct, frozen=True):
    function: Callable[..., Any]
    signature: inspect.Signature
    is_async: bool

    def arguments(self, step_input: Any, ctx: StepContext) -> dict[str, Any]:
        """The keyword arguments of the call. Raises `StepError` where they do not fit."""
        if not isinstance(step_input, dict):
            raise StepError("InputRefused", "The input of a python step must be an object.")
        arguments: dict[str, Any] = _copied(step_input)  # the function may change what it gets
        if self._takes_ctx:
            if "ctx" in arguments:
                raise StepError("InputRefused", "The input 'ctx' is taken by the StepContext.")
            arguments["ctx"] = ctx
        try:
            self.signature.bind(**arguments)
        except TypeError as e:
            raise StepError("InputRefused", f"The step's input does not fit: {e}.") from e
        return arguments

    @property
    def _takes_ctx(self) -> bool:
        parameter = self.signature.parameters.get("ctx")
        return parameter is not None and parameter.kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )


class PythonExecutor:
    """Calls `module:function(**input)`, where `module` is one of `allow` or lies below one.

    A function that has a parameter `ctx` is given the `StepContext`. What it returns must be JSON
    (dataclasses, structs, enums, tuples and sets of one kind are converted).
    """

    def __init__(self, allow: Iterable[str] = (), *, threads: int = 16) -> None:
        self._allow = tuple(map(check_prefix, allow))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fedcore-python")
        self._targets: dict[str, _Target] = {}
        self._calls: set[Future[Any]] = set()

    async def execute(
        self, work: PythonWork, step_input: Any, ctx: StepContext, scope: Mapping[str, Any]
    ) -> Any:
        del scope  # a function sees its input only
        target = self._targets.get(work.call)
        if target is None:
            target = await self._in_thread(lambda: self._find(work.call))
            self._targets[work.call] = target
        function, arguments = target.function, target.arguments(step_input, ctx)
        if target.is_async:
            return _plain(await function(**arguments))
        return await self._in_thread(lambda: _plain(function(**arguments)))

    @property
    def calls(self) -> int:
        """Calls that were given to the threads and have not ended, those included that nobody
        waits for any more."""
        return len(self._calls)

    async def aclose(self) -> None:
        """Take no more calls. Does not wait for the functions that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        context = contextvars.copy_context()
        done = self._threads.submit(context.run, _contained, call)
        self._calls.add(done)
        done.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(done)

    def _find(self, call: str) -> _Target:
        match = _CALL.fullmatch(call)
        if match is None:
            raise StepError("CallRefused", f"{call!r} must read `module:function`, both public.")
        self._check_allowed(match["module"], call)
        try:
            function = getattr(importlib.import_module(match["module"]), match["name"])
        except BaseException as e:
            raise as_step_error(e, retriable=False) from e
        if not inspect.isfunction(function):
            raise StepError("CallRefused", f"{call!r} is not a function written in Python.")
        self._check_allowed(str(function.__module__), call)  # `from subprocess import run`
        return _Target(function, inspect.signature(function), inspect.iscoroutinefunction(function))

    def _check_allowed(self, module: str, call: str) -> None:
        if not any(module == prefix or module.startswith(f"{prefix}.") for prefix in self._allow):
            raise StepError(
                "CallRefused",
                f"{call!r} comes from {module!r}, which FEDCORE_PYTHON_ALLOW does not list.",
            )


def check_prefix(prefix: str) -> str:
    """The prefix itself; raises `SettingsError` where it names no public module."""
    if not _PREFIX.fullmatch(prefix):
        raise SettingsError(
            f"{prefix!r} is no module to allow; it must read like `package.module`."
        )
    return prefix


def _contained(call: Callable[[], T]) -> T:
    """Nothing but a `StepError` leaves the thread, neither an exit nor a false cancellation."""
    try:
        return call()
    except StepError:
        raise
    except BaseException as e:
        raise as_step_error(e) from e


def _plain(result: Any) -> Any:
    """The result in new dicts and lists, which the function that made it cannot change any more."""
    try:
        return _copied(msgspec.to_builtins(result, builtin_types=_NOT_PLAIN, order="deterministic"))
    except (TypeError, RecursionError) as e:
        raise StepError("OutputRefused", f"The function's result is no JSON: {e}.") from e


def _copied(value: Any) -> Any:
    """A deep copy in plain dicts and lists."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value
