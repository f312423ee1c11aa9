"""The git step: the report, all of it, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from federation_core.errors import OperatorError
from federation_core.proofs.repository import plan


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "prover")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "prover@example.invalid")
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("REPORT/\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def report(folder: Path, text: str = "proved") -> Path:
    (folder / "REPORT").mkdir(exist_ok=True)
    path = folder / "REPORT" / "report.md"
    path.write_text(text)
    return path


def test_it_commits_the_report_and_nothing_else(repository: Path) -> None:
    (repository / "mine.txt").write_text("half done")
    git(repository, "add", "mine.txt")
    step = plan(repository / "REPORT" / "PROOFS", "proof-1")
    made = step.take([report(repository)], "Proof")
    assert (
        made == git(repository, "rev-parse", "HEAD") == git(repository, "rev-parse", "proof-1^{}")
    )
    assert git(repository, "show", "--format=%s", "--name-only") == "Proof\n\nREPORT/report.md"
    assert git(repository, "status", "--porcelain") == "A  mine.txt"


def test_a_report_that_is_committed_already(repository: Path) -> None:
    first = plan(repository, None).take([report(repository)], "Proof")
    assert plan(repository, "again").take([report(repository)], "Proof") == first
    assert git(repository, "tag") == "again"


def test_files_that_an_earlier_proof_left_are_removed(repository: Path) -> None:
    old = repository / "REPORT" / "PROOFS"
    old.mkdir(parents=True)
    (old / "a").write_text("a")
    plan(repository, None).take([old], "Proof")
    (old / "a").unlink()
    (old / "b").write_text("b")
    plan(repository, None).take([old], "Proof again")
    assert git(repository, "ls-files", "REPORT") == "REPORT/PROOFS/b"


def test_outside_a_repository(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="lies in no git repository"):
        plan(tmp_path / "not" / "there" / "yet", None)


@pytest.mark.parametrize("tag", ["two words", "-f", "a..b", ""])
def test_a_tag_that_cannot_be_one(repository: Path, tag: str) -> None:
    with pytest.raises(OperatorError, match="tag"):
        plan(repository, tag)


def test_a_tag_that_is_there(repository: Path) -> None:
    git(repository, "tag", "proof-1")
    with pytest.raises(OperatorError, match="already"):
        plan(repository, "proof-1")


def test_what_git_says_is_passed_on(repository: Path) -> None:
    with pytest.raises(OperatorError, match="git add failed: "):
        plan(repository, None).take([repository / "missing"], "Proof")
