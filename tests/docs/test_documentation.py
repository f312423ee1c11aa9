"""Nothing documented can drift: examples run, and what is named exists."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from federation_core.spine.workflow_file import parse_workflow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return defined | assigned


def test_every_test_that_the_promises_name_exists() -> None:
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    file = None
    named = re.findall(r"`(tests/[\w/]+\.py)?(?:::)?(\w+)?`", page)
    checked = 0
    for path, name in named:
        file = ROOT / path if path else file
        if name and file is not None and (path or name.startswith("test_")):
            assert name in names_in(file), f"{file} has no {name}"
            checked += 1
    assert checked >= 25


def test_the_readme_names_every_make_target_it_uses() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"there is no make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_workflow_and_the_program_of_the_readme_run(tmp_path: Path) -> None:
    (workflow,) = blocks(README, "yaml")
    (program,) = blocks(README, "python")
    assert parse_workflow(workflow).id == "hello"
    (tmp_path / "hello.yaml").write_text(workflow, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'paid': 5}"


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """Its `fedcore` lines, word for word, against a real development server."""
    fedcore = Path(sys.executable).parent / "fedcore"
    (workflow,) = blocks(README, "yaml")
    (tmp_path / "hello.yaml").write_text(workflow, encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)  # as it stands in a checkout
    script = next(b for b in blocks(README, "sh") if "fedcore workflow register" in b)
    server = subprocess.Popen(
        [fedcore, "serve", "--dev", "--port", "0", "--data-dir", tmp_path / "data"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert server.stdout is not None
        greeting = server.stdout.readline()
        url = re.search(r"http://\S+", greeting)
        assert url is not None, greeting
        script = script.replace(
            "RUN_ID",
            "$(fedcore runs list --json | python3 -c "
            "'import json,sys; print(json.load(sys.stdin)[0][\"run_id\"])')",
        )
        bash = shutil.which("bash") or "bash"
        done = subprocess.run(
            [bash, "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env={
                "PATH": f"{fedcore.parent}:/usr/bin:/bin",
                "FEDCORE_URL": url[0],
                "FEDCORE_DATA_DIR": str(tmp_path / "data"),
                "HOME": str(tmp_path),
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("completed") >= 3
        assert "paused" in done.stdout
        assert "Run completed successfully" in done.stdout
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0
        if server.stdout is not None:
            server.stdout.close()
