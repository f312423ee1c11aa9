"""What policy is asked and what it answers. Plain values: the deciding is in `policy`."""

from typing import Any, Literal

import msgspec

from .actor import Actor

__all__ = ["Decision", "Effect", "Flag", "PolicyMode", "PolicyRequest"]

Effect = Literal["allow", "deny", "flag"]
PolicyMode = Literal["loose", "strict"]


class Flag(msgspec.Struct, frozen=True):
    """A policy that asks for people: who may approve, how many of them, and for how long.

    `approvers` are actor ids or `role:<name>`, empty for anyone who may resolve gates;
    `expires_s` is seconds from the request of the gate, None for no expiry.
    """

    rule: str
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    expires_s: int | None = None

    @property
    def requirement(self) -> tuple[tuple[str, ...], int, int | None]:
        """Flags of one requirement share one gate."""
        return (self.approvers, self.quorum, self.expires_s)


class PolicyRequest(msgspec.Struct, frozen=True):
    """One question: may `actor` do `action` on this workflow or step, in this context?

    `context` holds JSON values under the names of the contract: run_id, workflow_version, step_id,
    step_type, attempt, input, run_input, outputs, metadata, tags, agent, now (seconds).
    """

    actor: Actor
    tenant: str
    action: str
    workflow_id: str
    step_id: str | None
    context: dict[str, Any]


class Decision(msgspec.Struct, frozen=True):
    """The answer. `policy_id` and `policy_hash` name the bundle that decided; `rules_triggered`
    the `@id`s of the determining policies; `flags` is empty unless `decision` is `flag`.

    Where the caller tightened the mode, two bundles were asked; `tightened` is the answer of the
    other one.
    """

    decision: Effect
    reason: str
    policy_id: str
    policy_hash: str
    tier: str
    rules_triggered: tuple[str, ...]
    request_hash: str
    duration_us: int
    flags: tuple[Flag, ...] = ()
    tightened: "Decision | None" = None
