"""The spine touches no file, socket, clock, randomness or thread: time and storage are told it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import federation_core.spine

ROOT = Path(federation_core.spine.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
FORBIDDEN = {
    "asyncio",
    "concurrent",
    "ctypes",
    "httpx",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
    "uuid_utils",
}
ALLOWED = {"urllib.parse"}
IMPURE_CALLS = {"__import__", "eval", "exec", "input", "open", "print"}
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter", "time_ns"}


def nodes(module: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(module.read_text(encoding="utf-8")))


def imported(module: Path) -> Iterator[tuple[int, str]]:
    """The level (0 absolute, 1 the spine, 2 the package) and the name of each import."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_there_is_a_spine_to_walk() -> None:
    assert {"fold.py", "handle.py", "turn.py", "canonical.py"} <= {m.name for m in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_a_module_of_the_spine_imports_nothing_impure(module: Path) -> None:
    for level, name in imported(module):
        top = name.partition(".")[0]
        assert level > 0 or name in ALLOWED or top not in FORBIDDEN, f"imports {name}"
        assert level > 0 or top != "federation_core", "inside the package imports are relative"
        assert level < 2 or name == "errors", f"imports {name}, which is not below the spine"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_a_module_of_the_spine_calls_nothing_impure(module: Path) -> None:
    for node in nodes(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"calls {node.func.id}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"reads a clock: {node.func.attr}"
