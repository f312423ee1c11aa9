"""The package computes: it reads no file, clock or socket, draws no randomness, knows no room."""

import ast
from pathlib import Path
from types import FunctionType

import pytest

import federation_core.transparency
from federation_core.errors import FederationError, IntegrityError, InvalidInput
from federation_core.transparency import errors

ROOT = Path(federation_core.transparency.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
ALLOWED = {
    "base64",
    "collections",
    "cryptography",
    "functools",
    "hashlib",
    "msgspec",
    "re",
    "typing",
}
IMPURE = {"__import__", "eval", "exec", "generate", "input", "now", "open", "print", "urandom"}
NOTES = {"checkpoint", "cosignature", "ed25519", "encoding", "keys", "note", "signatures"}
TREES = {"proofs", "tile_paths", "tiles"}


def nodes(module: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))


def imported(module: Path) -> list[tuple[int, str]]:
    """The level (0 absolute, 1 this package, 2 the whole) and the name of each import."""
    names: list[tuple[int, str]] = []
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append((node.level, node.module or ""))
    return names


def test_there_is_a_package_to_walk() -> None:
    assert {f"{name}.py" for name in NOTES | TREES | {"tree", "errors"}} <= {
        m.name for m in MODULES
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_a_module_imports_nothing_impure(module: Path) -> None:
    for level, name in imported(module):
        if level == 0:
            assert name.partition(".")[0] in ALLOWED, f"imports {name}"
        else:
            assert level == 1 or name == "errors", f"imports {name}, another room"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_a_module_calls_nothing_impure(module: Path) -> None:
    calls = [node.func for node in nodes(module) if isinstance(node, ast.Call)]
    for call in calls:
        called = call.id if isinstance(call, ast.Name) else getattr(call, "attr", "")
        assert called not in IMPURE, f"calls {called}"


@pytest.mark.parametrize("name", sorted(TREES | {"tree"}))
def test_the_mathematics_of_trees_does_not_know_signed_texts(name: str) -> None:
    known = {module for level, module in imported(ROOT / f"{name}.py") if level == 1}
    assert not known & NOTES


@pytest.mark.parametrize("name", sorted(NOTES))
def test_signed_texts_know_what_a_hash_and_a_size_is_and_no_more_of_trees(name: str) -> None:
    known = {module for level, module in imported(ROOT / f"{name}.py") if level == 1}
    assert not known & TREES


@pytest.mark.parametrize("name", federation_core.transparency.__all__)
def test_every_public_name_is_told(name: str) -> None:
    value = getattr(federation_core.transparency, name)
    assert value.__doc__ or not isinstance(value, type | FunctionType)


def test_every_error_has_a_code_of_its_own_and_somebody_who_acts() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "TransparencyError"]
    assert len({kind.code for kind in kinds}) == len(kinds) > 0
    for kind in kinds:
        assert issubclass(kind, errors.TransparencyError)
        assert issubclass(kind, FederationError)
        assert issubclass(kind, IntegrityError) != issubclass(kind, InvalidInput)
        assert kind("why").error_code == kind.code
