"""Who acts, and through whom."""

import msgspec

__all__ = ["SYSTEM", "Actor"]


class Actor(msgspec.Struct, frozen=True):
    """The one who answers for an action.

    `via` names the delegate through which it came (a console, a gateway), where that is not the
    actor; `roles` are what a token asserts, and what `role:<name>` approvers are matched against.
    """

    actor_id: str
    kind: str = "service"
    roles: tuple[str, ...] = ()
    via: str | None = None

    def is_entitled(self, approvers: tuple[str, ...]) -> bool:
        """Whether a gate that asks for `approvers` (actor ids, `role:<name>`) may count this
        actor. A gate that names nobody takes anybody who may resolve gates at all."""
        by_name = not approvers or self.actor_id in approvers
        return by_name or self.entitling_role(approvers) is not None

    def entitling_role(self, approvers: tuple[str, ...]) -> str | None:
        """The role by which `approvers` ask this actor; None where they ask by name, or anyone, or
        somebody else."""
        if not approvers or self.actor_id in approvers:
            return None
        return next((r for r in sorted(self.roles) if f"role:{r}" in approvers), None)


SYSTEM = Actor("system", kind="system")
"""The server itself, for what no caller asked for: timers, activation at start, recovery."""
