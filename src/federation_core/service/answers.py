"""Idempotency: the same request again gets the first answer again."""

from ..errors import Conflict
from ..ledger import Answer, Append, queries
from ..spine.envelope import Head
from .call import Call
from .parts import Parts

__all__ = ["Answers"]


class Answers:
    """`fc.answers`. An answer is stored in one transaction with the change that it tells of."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, call: Call) -> Answer | None:
        """What was answered to this call's key. Raises `Conflict` where the key was used with
        another request."""
        if call.key is None:
            return None
        found = await self._parts.ledger.read(queries.answer, call.tenant, call.key.key)
        if found is not None and found.request_hash != call.key.request_hash:
            raise Conflict(
                f"The idempotency key {call.key.key!r} was used with another request; "
                "take a new key for a new request.",
                code="idempotency_key_reused",
            )
        return found

    async def remember(self, call: Call, status: int, body: bytes) -> None:
        """Keep a later, fuller form of the answer (a creation that was waited for)."""
        if call.key is not None:
            answer = Answer(
                call.tenant, call.key.key, call.key.request_hash, status, body, self._parts.clock()
            )
            await self._parts.ledger.append(Append("", call.tenant, Head(), [], answer=answer))
