"""Policy bundles: which decides, and making another one decide."""

from typing import Annotated

import msgspec

from ..identity import Scope
from ..service.policies import Activation
from .context import Ask
from .description import examples
from .operation import operation

__all__ = ["activate_policy", "list_policies"]

_TAG = "policies"


class ActivateRequest(msgspec.Struct, frozen=True):
    """The texts of a bundle's files by their names: `bundle.yaml`, `*.cedar`, and where there is
    one `schema.cedarschema`."""

    files: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=256)]


@operation(
    "POST",
    "/policies",
    tag=_TAG,
    status=201,
    scope=Scope.POLICY_WRITE,
    example=examples.ACTIVATE,
)
async def activate_policy(ask: Ask, body: ActivateRequest) -> Activation:
    """Activate a policy bundle.

    It decides from the next decision on. The bundle that decides now must allow it.
    """
    return await ask.core.policies.activate(ask.call, body.files)


@operation("GET", "/policies", tag=_TAG, scope=Scope.WORKFLOW_READ)
async def list_policies(ask: Ask) -> list[Activation]:
    """List every activation, the oldest first; the one that decides says `active`."""
    return await ask.core.policies.history(ask.call)
