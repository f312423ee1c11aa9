"""The git step: the evidence into a commit of its own, locally, nothing pushed."""

import subprocess
from pathlib import Path

import msgspec

from ..errors import OperatorError

__all__ = ["GitStep", "plan", "source_revision"]


class GitStep(msgspec.Struct, frozen=True):
    """`root` is the work tree that takes the evidence; `tag` the annotated tag to set."""

    root: Path
    tag: str | None

    def take(self, paths: list[Path], message: str) -> str:
        """Commit `paths` and nothing else that may be staged; the commit's hash. Raises
        `OperatorError` with what git says."""
        names = [str(path) for path in paths]
        _git(self.root, "add", "--all", "--force", "--", *names)
        if _git(self.root, "status", "--porcelain", "--", *names):
            _git(self.root, "commit", "--quiet", "--message", message, "--only", "--", *names)
        if self.tag is not None:
            _git(self.root, "tag", "--annotate", "--message", message, self.tag)
        return _git(self.root, "rev-parse", "HEAD")


def plan(out: Path, tag: str | None) -> GitStep:
    """Raises `OperatorError`, before anything has been done, where `out` lies in no work tree, or
    the tag is there already or cannot be one."""
    existing = next(p for p in (out.absolute(), *out.absolute().parents) if p.is_dir())
    try:
        root = _git(existing, "rev-parse", "--show-toplevel")
    except OperatorError as e:
        raise OperatorError(
            f"{out} lies in no git repository, so the proof cannot be committed; "
            "run it in one, or leave out --commit and --tag.",
            code="no_repository",
        ) from e
    if tag is not None:
        _check_tag(existing, tag)
    return GitStep(Path(root), tag)


def _check_tag(folder: Path, tag: str) -> None:
    try:
        _git(folder, "check-ref-format", f"refs/tags/{tag}")
    except OperatorError as e:
        raise OperatorError(f"{tag!r} cannot be the name of a tag; choose another.") from e
    if tag.startswith("-") or _git(folder, "tag", "--list", tag):
        raise OperatorError(
            f"There is a tag {tag!r} already, or it cannot be one; choose another name.",
            code="tag_exists",
        )


def source_revision() -> str:
    """The commit that this very code was taken from, and whether it was changed since."""
    package = Path(__file__).parents[1]
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        revision = _git(package, "rev-parse", "HEAD")
        changed = _git(package, "status", "--porcelain", "--", str(package))
    except OperatorError:
        return "unknown (not run from a git checkout)"
    return f"{revision} (with changes that are not committed)" if changed else revision


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as e:
        raise OperatorError(f"git cannot be run: {e.strerror}.", code="no_git") from e
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise OperatorError(f"git {arguments[0]} failed: {said}", code="git_failed")
    return done.stdout.strip()
