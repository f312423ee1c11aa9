"""A policy bundle: what its files say, checked and compiled.

A bundle is flat: `bundle.yaml`, one or more `*.cedar`, perhaps `schema.cedarschema`. Everything
here is pure; `folder` reads files.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ..errors import FieldError, IntegrityError, InvalidInput, SettingsError
from ..spine.canonical import sha256, value_hash
from ..spine.decision import PolicyMode
from .annotations import PolicyInfo
from .manifest import Manifest, read_manifest
from .parsing import parse_policies, schema_problems
from .reads import Reads
from .slices import ParsedPolicy, Slices

__all__ = [
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "Bundle",
    "bundle_hash",
    "check_bundle",
    "file_problem",
    "load_bundle",
]

MAX_FILES: Final = 100
MAX_FILE_BYTES: Final = 256 * 1024
MANIFEST: Final = "bundle.yaml"
SCHEMA: Final = "schema.cedarschema"

_CEDAR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.cedar\Z")


class Bundle(msgspec.Struct, frozen=True, eq=False):
    """A bundle that may decide. `bundle_hash` names its exact bytes; `tier` is that of policies
    which name none, and of a deny that no policy made."""

    bundle_id: str
    version: str
    mode: PolicyMode
    tier: str
    description: str
    bundle_hash: str
    files: Mapping[str, bytes]
    policies: tuple[PolicyInfo, ...]
    reads: Reads
    slices: Slices

    def sees(self, attribute: str) -> bool:
        """Whether any policy looks at `context.<attribute>`. What none looks at need not be
        loaded for a decision, except `input`, which is always put to the policy."""
        return self.reads.sees(attribute)

    @property
    def outputs_seen(self) -> frozenset[str] | None:
        """The steps whose outputs policies look at; None where it cannot be told: all of them."""
        return self.reads.outputs


def bundle_hash(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the RFC 8785 form of `{"files": {name: sha256 of its bytes}}`."""
    return value_hash({"files": {name: sha256(data) for name, data in files.items()}})


def file_problem(name: str, size: int) -> str | None:
    """What is wrong with a file's name or size (bytes), None where nothing is."""
    if name not in (MANIFEST, SCHEMA) and not _CEDAR_NAME.match(name):
        return f"only {MANIFEST}, {SCHEMA} and *.cedar belong in a bundle, in one folder"
    if size > MAX_FILE_BYTES:
        return f"it has more than {MAX_FILE_BYTES} bytes; split it"
    return None


def load_bundle(files: Mapping[str, bytes], *, expected_hash: str | None = None) -> Bundle:
    """Check and compile a bundle. Raises `IntegrityError` where `expected_hash` is another than
    its own, `SettingsError` that lists every problem in `errors` (`path` is the file)."""
    files = dict(files)
    actual = bundle_hash(files)
    if expected_hash is not None and expected_hash != actual:
        raise IntegrityError(
            f"The policy bundle has the hash {actual}, expected {expected_hash}.",
            expected=expected_hash,
            actual=actual,
        )
    problems: list[FieldError] = []
    texts = _texts(files, problems)
    manifest = _manifest(texts, problems)
    policies = _policies(texts, str(manifest.tier) if manifest else "0", problems)
    if problems or manifest is None:
        raise _unusable(problems)
    return Bundle(
        bundle_id=manifest.id,
        version=manifest.version,
        mode=manifest.mode,
        tier=str(manifest.tier),
        description=manifest.description,
        bundle_hash=actual,
        files=MappingProxyType(files),
        policies=tuple(policy.info for policy in policies),
        reads=Reads.of(policy.form for policy in policies),
        slices=Slices(policies),
    )


def check_bundle(files: Mapping[str, bytes]) -> list[str]:
    """Every problem as `file: what is wrong`; empty where the bundle can be used."""
    try:
        load_bundle(files)
    except SettingsError as e:
        return [f"{problem.path}: {problem.message}" for problem in e.errors]
    return []


def _texts(files: Mapping[str, bytes], problems: list[FieldError]) -> dict[str, str]:
    texts: dict[str, str] = {}
    if len(files) > MAX_FILES:
        problems.append(FieldError(".", f"a bundle has at most {MAX_FILES} files"))
        return texts
    for name in sorted(files):
        problem = file_problem(name, len(files[name]))
        if problem is None:
            try:
                texts[name] = files[name].decode("utf-8")
            except UnicodeDecodeError as e:
                problem = f"it is not UTF-8: {e.reason} at byte {e.start}"
        if problem is not None:
            problems.append(FieldError(name, problem))
    return texts


def _manifest(texts: Mapping[str, str], problems: list[FieldError]) -> Manifest | None:
    if MANIFEST not in texts:
        problems.append(FieldError(MANIFEST, "it is missing; it says the bundle's id and version"))
        return None
    try:
        return read_manifest(texts[MANIFEST])
    except InvalidInput as e:
        problems.append(FieldError(MANIFEST, e.detail))
        return None


def _policies(
    texts: Mapping[str, str], default_tier: str, problems: list[FieldError]
) -> list[ParsedPolicy]:
    found: list[ParsedPolicy] = []
    sound = True
    for name, text in texts.items():
        if name.endswith(".cedar"):
            parsed, wrong = parse_policies(name, text, default_tier)
            found += parsed
            problems += wrong
            sound = sound and not wrong
    if not found and sound:
        problems.append(
            FieldError("*.cedar", "there is no policy; the bundle would deny everything")
        )
    problems += _twice(found)
    if SCHEMA in texts and sound:
        problems += schema_problems(SCHEMA, texts[SCHEMA], found)
    return found


def _twice(policies: list[ParsedPolicy]) -> list[FieldError]:
    seen: dict[str, str] = {}
    problems = []
    for info in (policy.info for policy in policies):
        if info.id in seen:
            problems.append(
                FieldError(info.file, f'@id("{info.id}") stands in {seen[info.id]} already')
            )
        seen.setdefault(info.id, info.file)
    return problems


def _unusable(problems: list[FieldError]) -> SettingsError:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    detail = f"The policy bundle cannot be used: {first.path}: {first.message.rstrip('.')}{more}."
    return SettingsError(detail, errors=problems)
