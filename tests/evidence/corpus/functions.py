"""Mutants of the verifier's functions, each held against the corpus in a process of its own.

`python -m tests.evidence.corpus.functions [WORKERS [NAME…]]` (with the extra `mutation`) has mutmut
make them, of every function or of those that are named (`_whole`, `Life.see`), and prints what
lives and what does not end. The corpus is made once, and no test runner is started for a mutant,
so this is some times quicker than `mutmut run`.
"""

import ast
import importlib
import os
import re
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from tests.evidence.corpus.tables import first_difference

from federation_core.evidence import verify

mutation: Any = importlib.import_module("mutmut.mutation.file_mutation")

_LIMIT_S = 30
"""Of processor time."""
_NAME = re.compile(r"x(?:ǁ(?P<owner>\w+)ǁ|_)(?P<name>\w+?)__mutmut_(?P<number>\d+)")


def _mutants() -> Iterator[tuple[str, FunctionType, FunctionType]]:
    """(Its name, the function, what became of it)."""
    source = Path(str(verify.__file__)).read_text(encoding="utf-8")
    text: str = mutation.mutate_file_contents("verify.py", source).code
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and (named := _NAME.fullmatch(node.name)):
            source = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            made = _within(source, node.name, named["owner"])
            owner: Any = verify if named["owner"] is None else getattr(verify, named["owner"])
            function = vars(owner)[named["name"]]
            of = f"{named['owner']}." if named["owner"] else ""
            yield f"{of}{named['name']} {named['number']}", _plain(function), made


def _plain(function: Any) -> FunctionType:
    inner = getattr(function, "__wrapped__", getattr(function, "__func__", function))
    assert isinstance(inner, FunctionType), function
    return inner


def _within(source: str, name: str, owner: str | None) -> FunctionType:
    """The function of this source, as if it stood in the verifier."""
    if owner is not None:
        source = f"class {owner}_:\n{textwrap.indent(source, '    ')}"
    space: dict[str, Any] = dict(vars(verify))
    exec(compile(source, name, "exec", dont_inherit=True), space)
    return _plain(space[name] if owner is None else vars(space[f"{owner}_"])[name])


def _fate(function: FunctionType, made: FunctionType) -> str:
    """What became of it: `found`, `lives`, or `does not end`."""
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
        function.__code__ = made.__code__
        function.__defaults__ = made.__defaults__
        function.__kwdefaults__ = made.__kwdefaults__
        try:
            found = first_difference() is not None
        except BaseException:
            found = True
        os._exit(1 if found else 0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "does not end" if os.WTERMSIG(status) == signal.SIGVTALRM else "found"
    return "found" if os.WEXITSTATUS(status) else "lives"


def main(workers: str = "2", *names: str) -> None:
    assert first_difference() is None
    every = [m for m in _mutants() if not names or m[0].split()[0] in names]
    reader, writer = os.pipe()
    for worker in range(int(workers)):
        if os.fork() == 0:
            for name, function, made in every[worker :: int(workers)]:
                os.write(writer, f"{_fate(function, made)}: {name}\n".encode())
            os._exit(0)
    os.close(writer)
    fates: Counter[str] = Counter()
    with os.fdopen(reader) as told:
        for number, line in enumerate(told, 1):
            fate = line.partition(":")[0]
            fates[fate] += 1
            if fate != "found":
                print(line, end="", flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(every)}", file=sys.stderr, flush=True)
    print(", ".join(f"{count} {fate}" for fate, count in sorted(fates.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
