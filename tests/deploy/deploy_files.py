"""What is in `deploy/` and the Dockerfile, read as data."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from federation_core import app
from federation_core.api.application import OPERATIONS
from federation_core.engine.local import LocalEngine
from federation_core.settings import Settings

__all__ = [
    "COMPOSE",
    "DRAIN_S",
    "KUBERNETES",
    "PATHS",
    "ROOT",
    "SETTINGS",
    "check_value",
    "dockerfile",
    "manifests",
    "read_yaml",
    "seconds",
    "variables",
]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
KUBERNETES = ROOT / "deploy" / "kubernetes"

_OF_RESTATE = frozenset({"restate_url", "restate_endpoint"})
SETTINGS = frozenset(Settings.__struct_fields__) - {"origins"} | _OF_RESTATE
PATHS = frozenset(operation.path for operation in OPERATIONS)

_SIGNING_S = 5.0
"""For the last checkpoint, and to end the process."""

DRAIN_S = (
    app._GRACE_S + inspect.signature(LocalEngine.close).parameters["grace"].default + _SIGNING_S
)
"""How long a server may take from SIGTERM to its end."""


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def manifests() -> Iterator[tuple[Path, Json]]:
    """Every object in `deploy/kubernetes`, but for what kustomize and policies read."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.parent.name not in ("policies", "workflows") and path.stem != "kustomization":
            for document in yaml.safe_load_all(path.read_text("utf-8")):
                yield path, document


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions as (name in capitals, the rest on one line)."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = (line.partition(" ") for line in lines if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in pairs]


def seconds(text: str) -> float:
    """`45s`, `2m`."""
    match = re.fullmatch(r"(\d+)(s|m)", text)
    assert match is not None, text
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


def variables(environment: Mapping[str, Any]) -> dict[str, str]:
    """The settings among environment variables: name of the setting → value."""
    return {
        name.removeprefix("FEDCORE_").lower(): str(value)
        for name, value in environment.items()
        if name.startswith("FEDCORE_")
    }


def check_value(name: str, value: str, *, folders: frozenset[str] = frozenset()) -> None:
    """Raises where no setting has this name, or it does not take this value. Of directories in a
    container nothing is known here but that something has to be mounted there."""
    from federation_core import settings

    assert name in SETTINGS, f"FEDCORE_{name.upper()} is no setting"
    if name == "engine":
        assert value in ("local", "restate")
    elif name in _OF_RESTATE:
        assert re.fullmatch(r"http://[a-z.-]+:\d+(/restate)?", value)
    elif name.endswith("_dir"):
        assert value in folders, f"nothing is mounted at {value}"
    else:
        settings._PARSERS[name](value)
