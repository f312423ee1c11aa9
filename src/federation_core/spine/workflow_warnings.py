"""What is no mistake in a workflow file, and yet may not be what its writer means: values of
sensitive steps that the record shows elsewhere."""

from collections.abc import Iterator
from typing import Any

from .expressions import Listing, Template
from .items import ITEM_NAMES
from .workflow_problems import Problem
from .workflow_yaml import read

__all__ = ["workflow_warnings"]

_TEMPLATES = ("with", "value", "request")

_FROM_INPUT = (
    "the step is sensitive, but the input of the run that it reads is recorded as it is, without "
    "a salt, and is in every evidence pack that has values: where what it reads there is sensitive "
    "itself, start the run with a reference to it"
)


def workflow_warnings(text: str) -> list[Problem]:
    """Of a file that `parse_workflow` has taken, in its order."""
    document = read(text)
    steps: list[dict[str, Any]] = document.value["steps"]
    secret = {step["id"] for step in steps if step.get("sensitive")}
    found = []
    for i, step in enumerate(steps):
        for key, names, references in _reads(step):
            path = f"/steps/{i}/{key}"
            if step["id"] in secret:
                if "input" in names:
                    found.append(document.problem(path, _FROM_INPUT))
            elif taken := sorted(references & secret):
                told = (
                    f"it reads the output of {', '.join(taken)}, which is sensitive, and the step "
                    "is not: what it takes and gives is recorded without a salt, and is in every "
                    "evidence pack that has values"
                )
                found.append(document.problem(path, told))
    return sorted(found)


def _reads(step: dict[str, Any]) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    """Where its values come from: the key, the names, and the steps that it reads there."""
    local = ITEM_NAMES if "foreach" in step else ()
    for key in _TEMPLATES:
        if key in step:
            template = Template.compile(step[key], local)
            yield key, template.names, template.references
    if "foreach" in step:
        listing = Listing.compile(step["foreach"])
        yield "foreach", listing.names, listing.references
