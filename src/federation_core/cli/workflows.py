"""`fedcore workflow`: check and register workflow files."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ..spine.definition import Workflow
from ..spine.workflow_file import WorkflowProblems, parse_workflow
from ..spine.workflow_warnings import workflow_warnings
from .errors import REFUSED
from .groups import Command, noun
from .inputs import read_text
from .makers import takes
from .output import Output
from .session import Session, output, server
from .tables import fixed, folded, moment, short, table

__all__ = ["app"]

app = noun("Check and register workflow files.")

_Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Workflow files (YAML).")]


@app.command("check", cls=Command)
@takes(output)
def check(out: Output, files: _Files) -> None:
    """Say what is wrong with workflow files, and where.

    One line each, `file:line:column: what is wrong`. Exit status 1 where there is any. What is
    right, but may show a sensitive value elsewhere, is warned of.
    """
    results = [_check(path) for path in files]
    lines = [line for _, told in results for line in told]
    values = [value for value, _ in results]
    out.show(values, *lines)
    if not all(value["ok"] for value in values):
        raise typer.Exit(REFUSED)


def _check(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The verdict on one file, for programs and for people."""
    try:
        text = read_text(path)
    except typer.BadParameter as e:
        problem = {"line": 0, "column": 0, "path": "", "message": e.message}
        told = {"file": str(path), "ok": False, "problems": [problem], "warnings": []}
        return told, [e.message]
    try:
        workflow = parse_workflow(text, source=str(path))
    except WorkflowProblems as e:
        problems = msgspec.to_builtins(e.problems)
        told = {"file": str(path), "ok": False, "problems": problems, "warnings": []}
        return told, str(e).split("\n")
    warnings = workflow_warnings(text)
    lines = [f"{path}: ok, {workflow.id} {workflow.version}, {_count(workflow)}"]
    lines += [f"{path}:{w.line}:{w.column}: warning: {w.message}" for w in warnings]
    return {
        "file": str(path),
        "ok": True,
        "problems": [],
        "warnings": msgspec.to_builtins(warnings),
        "workflow_id": workflow.id,
        "version": workflow.version,
        "definition_hash": workflow.definition_hash,
    }, lines


def _count(workflow: Workflow) -> str:
    steps = len(workflow.steps)
    return f"{steps} step{'s' if steps > 1 else ''}"


@app.command("register", cls=Command)
@takes(server())
def register(session: Session, files: _Files) -> None:
    """Make workflows known to the server, which then executes their runs itself.

    Nothing is sent unless every file is right. To register again what is registered already
    changes nothing; another content under the same version is refused.
    """
    texts = [(path, read_text(path)) for path in files]
    for path, text in texts:
        parse_workflow(text, source=str(path))
    answers = [session.client.register_workflow(text) for _, text in texts]
    rows = [
        [a["workflow_id"], a["version"], "known already" if a["idempotent"] else "registered"]
        for a in answers
    ]
    columns = [folded("WORKFLOW"), fixed("VERSION"), fixed("STATUS")]
    session.out.show(answers, table(columns, rows))


@app.command("list", cls=Command)
@takes(server())
def list_(session: Session) -> None:
    """List the registered workflows, each version."""
    found = session.client.workflows()
    columns = [folded("WORKFLOW"), fixed("VERSION"), fixed("REGISTERED"), fixed("DEFINITION")]
    rows = [
        [w["workflow_id"], w["version"], moment(w["registered_at"]), short(w["definition_hash"])]
        for w in found
    ]
    session.out.show(found, table(columns, rows) if rows else "No workflow is registered.")
