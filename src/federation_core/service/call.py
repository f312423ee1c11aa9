"""One call of a use case: who calls, under which correlation and idempotency key."""

from typing import Any

import msgspec

from ..identity import Caller
from ..ledger import Answer
from ..spine.actor import Actor
from ..spine.decision import PolicyMode

__all__ = ["Call", "Key"]


class Key(msgspec.Struct, frozen=True):
    """An idempotency key, and the hash of the request it was sent with."""

    key: str
    request_hash: str


class Call(msgspec.Struct, frozen=True):
    """`mode` is the stricter policy mode that the caller asks for, if any."""

    caller: Caller
    correlation_id: str
    mode: PolicyMode | None = None
    key: Key | None = None

    @property
    def actor(self) -> Actor:
        return self.caller.actor

    @property
    def tenant(self) -> str:
        return self.caller.tenant

    def answer(self, status: int, view: Any, now: int) -> Answer | None:
        """What to remember of the answer, with the change that it tells of."""
        if self.key is None:
            return None
        body = msgspec.json.encode(view)
        return Answer(self.tenant, self.key.key, self.key.request_hash, status, body, now)
