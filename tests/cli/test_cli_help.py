"""The help is there, is quick, and is what the documentation says."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.cli_helpers import Fedcore, run_process

from federation_core import __version__
from federation_core.cli.main import root
from federation_core.cli.reference import commands, help_of, refreshed

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = list(commands())


def test_the_documentation_shows_the_real_help() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert refreshed(text) == text, "run `python -m federation_core.cli.reference docs/cli.md`"


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_documented(line: str) -> None:
    assert f"<!-- help: {line} -->" in DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("line", COMMANDS)
def test_the_reference_is_what_the_program_prints(line: str, fedcore: Fedcore) -> None:
    assert fedcore.ok(*line.split()[1:], "--help") == help_of(line) + "\n"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_help_fits_into_80_columns(line: str) -> None:
    assert max(map(len, help_of(line).splitlines())) <= 80


@pytest.mark.parametrize("name", list(root().modules))
def test_what_the_root_says_of_a_command_is_how_its_own_help_begins(name: str) -> None:
    _, line = root().modules[name]
    assert root().load(name).help.startswith(line)


def test_bare_nouns_show_their_help(fedcore: Fedcore) -> None:
    assert fedcore.ok() == help_of("fedcore") + "\n"
    assert fedcore.ok("gates") == help_of("fedcore gates") + "\n"


def test_the_help_of_a_process_is_the_same() -> None:
    assert run_process("--help", COLUMNS="80") == (0, help_of("fedcore") + "\n", "")


def test_the_first_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from federation_core.cli.main import run; run(['--help']); "
        "print(sorted({'alembic', 'cedarpy', 'httpx', 'litestar', 'rich', 'sqlalchemy'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b"[]\n"


def test_the_version(fedcore: Fedcore) -> None:
    assert fedcore.ok("--version") == f"fedcore {__version__}\n"
    assert fedcore.ok("version").startswith(f"fedcore {__version__} (Python 3.")
    assert fedcore.json("version")["version"] == __version__


def test_a_shell_can_complete_what_is_loaded_late() -> None:
    shell = {"COMP_WORDS": "fedcore gates list --w", "COMP_CWORD": "3"}
    result = run_process(_FEDCORE_COMPLETE="complete_bash", **shell)
    assert (result.status, result.out.split()) == (0, ["--workflow", "--where"])
