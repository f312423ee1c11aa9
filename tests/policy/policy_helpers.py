"""Builders for tests of policy: a bundle from Cedar text, and a request."""

from typing import Any

from federation_core.policy import Bundle, load_bundle
from federation_core.spine.actor import Actor
from federation_core.spine.decision import PolicyRequest

MANIFEST = b"id: test\nversion: 1.2.3\n"
PERMIT = '@id("permit") permit (principal, action, resource);'
ALICE = Actor("alice", kind="user", roles=("finance", "ops"))


def bundle_files(*cedar: str, **files: str) -> dict[str, bytes]:
    """Each text of `cedar` as a file of its own, and `schema="…"` as the schema."""
    named = {f"p{i}.cedar": text.encode() for i, text in enumerate(cedar)}
    if "schema" in files:
        named["schema.cedarschema"] = files["schema"].encode()
    return {"bundle.yaml": files.get("manifest", "").encode() or MANIFEST, **named}


def bundle(*cedar: str, **files: str) -> Bundle:
    return load_bundle(bundle_files(*cedar, **files))


def rule(rule_id: str, condition: str, head: str = "permit", notes: str = "") -> str:
    """One policy about everything, with `condition`."""
    scope = "(principal, action, resource)"
    return f'@id("{rule_id}") {notes}\n{head} {scope} when {{ {condition} }};'


def request(
    action: str = "step.act",
    *,
    actor: Actor = ALICE,
    tenant: str = "acme",
    workflow_id: str = "refund",
    step_id: str | None = "act",
    **context: Any,
) -> PolicyRequest:
    return PolicyRequest(actor, tenant, action, workflow_id, step_id, {"now": 1} | context)
