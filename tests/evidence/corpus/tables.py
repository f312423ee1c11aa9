"""Mutants of what mutmut leaves alone: the tables and limits of the verifier, and its properties.

`python -m tests.evidence.corpus.tables [WORKERS]` (with the extra `mutation`) makes each change
that mutmut would make inside a function to everything outside of one, and holds it against the
corpus; it prints those that live, and how many there were.
"""

import functools
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.evidence.corpus.calls import said
from tests.evidence.corpus.verdicts import (
    call_groups,
    expected,
    life_groups,
    pack_groups,
    short,
    verdict_of,
)

from federation_core.evidence import verify

cst: Any = importlib.import_module("libcst")
metadata: Any = importlib.import_module("libcst.metadata")
mutators: Any = importlib.import_module("mutmut.mutation.mutators")

_SOURCE = Path(str(verify.__file__))
_FOLDER = tempfile.TemporaryDirectory(prefix="packs-")
_LIMIT_S = 30
"""Of processor time."""


class _Outside(cst.CSTVisitor):  # type: ignore[misc]
    """Every change to what stands outside of the functions that mutmut changes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, Any]] = []

    def on_visit(self, node: Any) -> bool:
        if isinstance(node, cst.Annotation | cst.Decorator):
            return False
        if isinstance(node, cst.FunctionDef) and not node.decorators:
            return False
        if isinstance(node, cst.Assign) and getattr(node.targets[0].target, "value", "") in (
            "__all__",
            "Json",
        ):
            return False
        for kind, operator in mutators.mutation_operators:
            if isinstance(node, kind):
                self.found += [(node, other) for other in operator(node)]
        return True


def _mutants() -> Iterator[tuple[str, str]]:
    """(What was changed, the source with it)."""
    source = _SOURCE.read_text(encoding="utf-8")
    data = source.encode()
    wrapper = metadata.MetadataWrapper(cst.parse_module(source))
    spans = wrapper.resolve(metadata.ByteSpanPositionProvider)
    outside = _Outside()
    wrapper.module.visit(outside)
    for old, new in outside.found:
        begin, end = spans[old].start, spans[old].start + spans[old].length
        text = wrapper.module.code_for_node(new)
        line = data[:begin].count(b"\n") + 1
        what = f"{line}: {' '.join(data[begin:end].decode().split())[:90]} -> {text.strip()[:90]}"
        yield what, (data[:begin] + text.encode() + data[end:]).decode()


def first_difference() -> str | None:
    """The first case of the corpus of which the verifier says something else than it should."""
    should = expected()
    for group, calls in call_groups().items():
        for name, call, arguments in calls:
            if said(call, arguments) != should[group][name]:
                return name
    for name, point in (("verify_signature", _signature), ("_decode_point", _point)):
        setattr(verify, name, point)
    for group, lives in life_groups().items():
        for life in lives:
            if life.verdict() != should[group][life.name]:
                return life.name
    for group, cases in pack_groups().items():
        for case in cases:
            if short(verdict_of(case, Path(_FOLDER.name))) != should[group][case.name]:
                return case.name
    return None


_signature = functools.cache(verify.verify_signature)
_point = functools.cache(verify._decode_point)


def _lives(source: str) -> int:
    """In a process of its own: 0 where nobody sees the change."""
    try:
        exec(compile(source, str(_SOURCE), "exec"), verify.__dict__)
        return int(first_difference() is not None)
    except BaseException:  # whatever it is, it is another verdict
        return 1


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    assert first_difference() is None
    running: dict[int, str] = {}
    count = alive = 0
    for what, source in _mutants():
        count += 1
        pid = os.fork()
        if not pid:
            signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
            os._exit(_lives(source))
        running[pid] = what
        while len(running) >= workers:
            alive += _reap(running)
    while running:
        alive += _reap(running)
    sys.stdout.write(f"{count} mutants, {alive} live\n")


def _reap(running: dict[int, str]) -> int:
    pid, status = os.wait()
    what = running.pop(pid)
    if status == 0:
        sys.stdout.write(f"{what}\n")
        sys.stdout.flush()
    return status == 0


if __name__ == "__main__":
    main()
