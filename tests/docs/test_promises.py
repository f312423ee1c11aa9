"""Each promise names tests beside it, and pytest finds every one of them where the page says."""

import re
import subprocess
import sys

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


def test_pytest_collects_every_test_that_is_named() -> None:
    """It refuses to begin where it cannot find one that it was given."""
    ids = sorted(set(named(PAGE)))
    assert len(ids) >= 90
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-n", "0", *ids],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
