"""`bundle.yaml`: what a bundle says about itself."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ..errors import InvalidInput
from ..spine.decision import PolicyMode
from ..spine.shapes import prepare
from ..spine.workflow_yaml import read

__all__ = ["Manifest", "read_manifest"]

_MAX_LENGTH: Final = 16 * 1024


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tier` is that of policies which name none."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")]
    mode: PolicyMode = "strict"
    tier: Annotated[int, Meta(ge=0, le=99)] = 0
    description: Annotated[str, Meta(max_length=2000)] = ""


prepare(Manifest)


def read_manifest(text: str) -> Manifest:
    """Raises `InvalidInput` with a sentence about what is wrong."""
    if len(text) > _MAX_LENGTH:
        raise InvalidInput(f"it has more than {_MAX_LENGTH} characters")
    document = read(text)
    if document.problems and text.strip():
        first = document.problems[0]
        raise InvalidInput(f"line {first.line}: {first.message}")
    try:
        return msgspec.convert(document.value or {}, Manifest)
    except msgspec.ValidationError as e:
        raise InvalidInput(str(e)) from e
