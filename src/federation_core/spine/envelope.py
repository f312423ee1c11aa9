"""An event as it is stored: exact bytes, their hash, and the place in its stream.

    {"actor":"approver_1","at":"2026-11-23T12:00:00.000000Z","data":{…},"log":"federation-core/x",
     "prev":"<64 hex>","seq":7,"stream":"run:<id>","tenant":"t","type":"FC-GATE-002","v":1,
     "via":null}

`hash` = SHA-256(0x00 ‖ bytes): the leaf hash of RFC 9162 section 2.1.1, and the link of the chain.
"""

import hashlib
from typing import Any

import msgspec

from ..errors import IntegrityError
from .actor import Actor
from .canonical import ZERO_HASH, sorted_json
from .times import from_rfc3339, to_rfc3339

__all__ = ["Event", "Head", "decode", "leaf_hash", "seal"]

VERSION = 1


class Head(msgspec.Struct, frozen=True):
    """The end of a stream: the next event's `seq`, and the hash it links to."""

    seq: int = 0
    hash: str = ZERO_HASH


class Event(msgspec.Struct, frozen=True):
    """A sealed event. `at` is in microseconds since the epoch; `data` a struct of `events`, or a
    plain dict for the streams that are not runs."""

    stream: str
    seq: int
    type: str
    tenant: str
    actor: str
    via: str | None
    at: int
    data: Any
    prev: str
    body: bytes
    hash: str

    @property
    def next_head(self) -> Head:
        return Head(self.seq + 1, self.hash)


def leaf_hash(body: bytes) -> str:
    """RFC 9162 leaf hash, in hex."""
    return hashlib.sha256(b"\0" + body).hexdigest()


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    actor: str
    at: str
    data: msgspec.Raw
    log: str
    prev: str
    seq: int
    stream: str
    tenant: str
    type: str
    v: int
    via: str | None


def seal(
    *, log: str, stream: str, tenant: str, head: Head, code: str, data: Any, actor: Actor, at: int
) -> Event:
    """Make the event that follows `head`. `data` must keep to the profile (see `events`)."""
    body = sorted_json(
        {
            "actor": actor.actor_id,
            "at": to_rfc3339(at),
            "data": data,
            "log": log,
            "prev": head.hash,
            "seq": head.seq,
            "stream": stream,
            "tenant": tenant,
            "type": code,
            "v": VERSION,
            "via": actor.via,
        }
    )
    return Event(
        stream=stream,
        seq=head.seq,
        type=code,
        tenant=tenant,
        actor=actor.actor_id,
        via=actor.via,
        at=at,
        data=data,
        prev=head.hash,
        body=body,
        hash=leaf_hash(body),
    )


_wire = msgspec.json.Decoder(_Wire)


def decode(body: bytes, kinds: dict[str, Any]) -> Event:
    """Read stored bytes back. Raises `IntegrityError` where they are not an event in its one
    canonical form. Types missing from `kinds` keep their data as a dict."""
    try:
        wire = _wire.decode(body)
        kind = kinds.get(wire.type)
        if kind is None:
            data: Any = msgspec.json.decode(wire.data)
        else:
            data = msgspec.json.decode(wire.data, type=kind)
        at = from_rfc3339(wire.at)
        told = msgspec.structs.asdict(wire) | {"at": to_rfc3339(at), "data": data}
        is_canonical = sorted_json(told) == body
    except Exception as e:
        raise IntegrityError(f"These bytes are not an event: {e}") from e
    if wire.v != VERSION:
        raise IntegrityError(f"The event has version {wire.v}; this program knows {VERSION}.")
    if not is_canonical:
        raise IntegrityError("These bytes are an event, but not in its one canonical form.")
    return Event(
        stream=wire.stream,
        seq=wire.seq,
        type=wire.type,
        tenant=wire.tenant,
        actor=wire.actor,
        via=wire.via,
        at=at,
        data=data,
        prev=wire.prev,
        body=body,
        hash=leaf_hash(body),
    )
