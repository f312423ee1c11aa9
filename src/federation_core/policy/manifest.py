"""`bundle.yaml`: what a bundle says about itself."""

from typing import Annotated, Final

import msgspec
import yaml
from msgspec import Meta

from ..errors import InvalidInput
from ..spine.decision import PolicyMode

__all__ = ["Manifest", "read_manifest"]

_MAX_LENGTH: Final = 16 * 1024


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tier` is that of policies which name none."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")]
    mode: PolicyMode = "strict"
    tier: Annotated[int, Meta(ge=0, le=99)] = 0
    description: Annotated[str, Meta(max_length=2000)] = ""


def read_manifest(text: str) -> Manifest:
    """Raises `InvalidInput` with a sentence about what is wrong."""
    if len(text) > _MAX_LENGTH:
        raise InvalidInput(f"It has more than {_MAX_LENGTH} characters.")
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        keys = [k.value for k, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if len(set(map(str, keys))) != len(keys):
            raise InvalidInput("A key stands twice; each may stand once.")
        return msgspec.convert(yaml.safe_load(text), Manifest)
    except yaml.YAMLError as e:
        raise InvalidInput(f"It is not YAML: {' '.join(str(e).split())}.") from e
    except (msgspec.ValidationError, ValueError, RecursionError) as e:
        raise InvalidInput(f"{e}.") from e
