"""The keys of a log: who signs it now, who did before, and how one follows the other.

A key is good for a range of tree sizes, its epoch. A rotation is an event of the stream `log`,
signed by both keys: at leaf index i it ends the old epoch at size i and begins the new one at
i + 1.
"""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

from ..errors import IntegrityError
from ..spine.canonical import sorted_json
from ..transparency import SigningKey, VerifierKey
from ..transparency.ed25519 import verify

__all__ = ["Epoch", "LogKey", "epoch_at", "epochs_of", "rotation_data"]

_PREFIX = b"fc/key-rotation/v1\0"


class LogKey(msgspec.Struct, frozen=True):
    """The key that signs the checkpoints and the workflow receipts of the log `verifier.name`."""

    signing: SigningKey
    verifier: VerifierKey

    @classmethod
    def of(cls, log: str, seed: bytes) -> "LogKey":
        signing = SigningKey.from_seed(seed)
        return cls(signing, VerifierKey.of(log, signing.public))

    @property
    def vkey(self) -> str:
        """`name+hash+base64`, as a trust file has it."""
        return self.verifier.text


class Epoch(msgspec.Struct, frozen=True):
    """`key` signs trees of `first` to `last` leaves, both included; `last` None for the key that
    signs now."""

    key: VerifierKey
    first: int
    last: int | None

    @property
    def line(self) -> bytes:
        """As `keys/history.jsonl` of a pack tells it."""
        return sorted_json({"from": self.first, "key": self.key.text, "to": self.last}) + b"\n"


def _statement(log: str, previous: str, key: str) -> bytes:
    return _PREFIX + sorted_json({"key": key, "log": log, "previous_key": previous})


def rotation_data(old: LogKey, new: LogKey, reason: str) -> dict[str, Any]:
    """The data of an `FC-KEY-001`."""
    statement = _statement(old.verifier.name, old.vkey, new.vkey)
    return {
        "key": new.vkey,
        "key_signature": base64.b64encode(new.signing.sign(statement)).decode(),
        "previous_key": old.vkey,
        "previous_signature": base64.b64encode(old.signing.sign(statement)).decode(),
        "reason": reason,
    }


def epochs_of(first: str, rotations: Iterable[tuple[int, dict[str, Any]]]) -> list[Epoch]:
    """The epochs of a log whose first key was `first`, after `rotations` (leaf index, data of the
    `FC-KEY-001`) in order. Raises `IntegrityError` for a rotation that does not follow."""
    key, begin, epochs = VerifierKey.parse(first), 0, []
    for index, data in rotations:
        following = _follow(key, data)
        epochs.append(Epoch(key, begin, index))
        key, begin = following, index + 1
    return [*epochs, Epoch(key, begin, None)]


def _follow(key: VerifierKey, data: dict[str, Any]) -> VerifierKey:
    try:
        following = VerifierKey.parse(data["key"])
        statement = _statement(key.name, key.text, following.text)
        told = (data["previous_key"], following.name)
        signed = verify(
            key.public, statement, base64.b64decode(data["previous_signature"], validate=True)
        ) and verify(
            following.public, statement, base64.b64decode(data["key_signature"], validate=True)
        )
    except (KeyError, TypeError, ValueError) as e:
        raise IntegrityError("A rotation of the log's key cannot be read.") from e
    if told != (key.text, key.name) or not signed:
        raise IntegrityError("A rotation of the log's key does not follow from the key before it.")
    return following


def epoch_at(epochs: list[Epoch], size: int) -> Epoch:
    """The epoch in which trees of `size` leaves are signed."""
    return next(e for e in epochs if size >= e.first and (e.last is None or size <= e.last))
