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
        if not approvers:
            return True
        return self.actor_id in approvers or any(f"role:{r}" in approvers for r in self.roles)


SYSTEM = Actor("system", kind="system")
"""The server itself, for what no caller asked for: timers, activation at start, recovery."""
