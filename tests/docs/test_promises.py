"""Each promise names tests beside it, and every one of them is where the page says."""

import ast
import re
from pathlib import Path

from tests.docs.test_documentation import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
DESIGNED = (
    "No step without a decision",
    "Fail closed",
    "State is the fold of its events",
    "Nothing is changed afterwards",
    "Deny is final",
    "A crash loses nothing that was acknowledged and repeats nothing unasked",
    "A tenant sees itself alone",
)

_DEF = (ast.FunctionDef, ast.AsyncFunctionDef)


def named(text: str) -> list[str]:
    """Node ids; `::name` alone is of the file before it."""
    found, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?((?:::\w+)+)`", text):
        file = path or file
        found.append(f"{file}{name}")
    return found


def test_each_promise_has_its_tests() -> None:
    sections = re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)[1:]
    assert tuple(section.partition("\n")[0] for section in sections) == DESIGNED
    for section in sections:
        assert len(set(named(section))) >= 4, section.partition("\n")[0]


def _defined(path: Path) -> set[str]:
    """What pytest takes for tests in a file: functions, classes and their methods, by name."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found.add(node.name)
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, _DEF)}
        elif isinstance(node, ast.Assign):  # the test case of a state machine
            found |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, _DEF) and node.name.startswith("test_"):
            found.add(node.name)
    return found


def test_every_test_that_is_named_is_where_the_page_says() -> None:
    ids = sorted(set(named(PAGE)))
    assert len(ids) >= 90
    for each in ids:
        path, _, name = each.partition("::")
        assert Path(path).name.startswith("test_"), each
        assert name in _defined(ROOT / path), each
