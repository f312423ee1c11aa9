"""Where the log's key comes from, and how another takes its place."""

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import Conflict, SettingsError, StaleAppend
from ..identity.signing_keys import load_or_create_seed
from ..ledger import Answer, Append, Ledger, queries
from ..spine.actor import SYSTEM, Actor
from ..spine.envelope import Head, seal
from ..spine.times import Clock
from .keys import Epoch, LogKey, epochs_of, rotation_data
from .log_queries import rotations

__all__ = ["Keyring", "Told"]

Told = Callable[[Epoch], Answer | None]
"""What to remember of the answer to who rotates, given the epoch that begins."""

_STREAM = "log"
_META = "signing_key"


class Keyring:
    """The key that signs now, and the epochs of those before it. Make one with `open`.

    Where the key is the server's own it is a file, and a rotation makes the new one beside it, puts
    the rotation into the log, and renames. A crash in between is finished at the next start: the
    log says which key is the right one.
    """

    def __init__(
        self, ledger: Ledger, tenant: str, clock: Clock, file: Path | None, key: LogKey
    ) -> None:
        self._ledger, self._tenant, self._clock, self._file = ledger, tenant, clock, file
        self.key = key
        self.epochs: list[Epoch] = []
        self.head = Head()
        """The end of the stream of rotations, as far as this node knows."""

    @classmethod
    async def open(
        cls,
        ledger: Ledger,
        *,
        tenant: str,
        clock: Clock,
        file: Path,
        seed: bytes | None = None,
        previous: bytes | None = None,
    ) -> "Keyring":
        """Take the key from `seed`, else from `file`, which is made for a log that has no key yet.

        Where the log's key is `previous`, it is rotated to `seed`. Raises `SettingsError` for a key
        that is not this log's, `IntegrityError` for a history of keys that does not hold.
        """
        first = await ledger.read(queries.setting, _META)
        own = seed is None
        if first is None:
            key = LogKey.of(ledger.log, load_or_create_seed(file) if seed is None else seed)
            await ledger.append(Append("", tenant, Head(), [], rows={"meta": [(_META, key.vkey)]}))
            first = await ledger.read(queries.setting, _META) or ""  # another node may be faster
        head = await ledger.read(queries.head, _STREAM)
        epochs = epochs_of(first, await ledger.read(rotations))
        current = epochs[-1].key.text
        candidates = [_read(ledger.log, f) for f in (file, _next(file))] if own else []
        if seed is not None:
            candidates = [LogKey.of(ledger.log, seed)]
        found = next((k for k in candidates if k is not None and k.vkey == current), None)
        ring = cls(ledger, tenant, clock, file if own else None, found or candidates[0] or _none())
        ring.epochs, ring.head = epochs, head
        if found is not None:
            if own:
                ring._settle()
            return ring
        if previous is not None and seed is not None:
            old = LogKey.of(ledger.log, previous)
            if old.vkey == current:
                ring.key = old
                await ring._record(
                    LogKey.of(ledger.log, seed), SYSTEM, "the settings name a new key"
                )
                return ring
        raise SettingsError(
            f"The signing key that was given is not the key of this log, {current}. Give that one "
            "back; or, to rotate, give the new one together with the one before it "
            "(FEDCORE_PREVIOUS_SIGNING_KEY)."
        )

    def _settle(self) -> None:
        """Finish, or undo, a rotation that a crash cut short."""
        assert self._file is not None
        pending = _next(self._file)
        if not pending.exists():
            return
        present = _read(self._ledger.log, self._file)
        if present is not None and present.vkey == self.key.vkey:
            pending.unlink()
        else:
            pending.replace(self._file)

    async def rotate(self, actor: Actor, reason: str, told: Told) -> Epoch:
        """Make a new key the one that signs, and store what is `told` with that. Raises `Conflict`
        where the key came from outside (then whoever keeps it brings the new one), or the
        idempotency key of the answer was taken meanwhile."""
        if self._file is None:
            raise Conflict(
                "The signing key comes from the settings; set FEDCORE_SIGNING_KEY to the new one, "
                "FEDCORE_PREVIOUS_SIGNING_KEY to the present one, and start the server anew.",
                code="key_from_settings",
            )
        pending = _next(self._file)
        pending.unlink(missing_ok=True)
        new = LogKey.of(self._ledger.log, load_or_create_seed(pending))
        await self._record(new, actor, reason, told)
        pending.replace(self._file)
        _sync(self._file.parent)
        return self.epochs[-1]

    async def refresh(self) -> None:
        """Learn of a rotation by another node. Raises `SettingsError` where the key of this one is
        not the log's any more."""
        head = await self._ledger.read(queries.head, _STREAM)
        if head == self.head:
            return
        self.epochs = epochs_of(self.epochs[0].key.text, await self._ledger.read(rotations))
        self.head = head
        if self.epochs[-1].key.text != self.key.vkey:
            raise SettingsError(
                f"The signing key of this log is {self.epochs[-1].key.text} now; give this node "
                "that one and start it again. Until then the other nodes sign."
            )

    async def _record(
        self, new: LogKey, actor: Actor, reason: str, told: Told = lambda _: None
    ) -> None:
        def answer_at(index: int) -> bytes:
            answer = told(Epoch(new.verifier, index + 1, None))
            return b"" if answer is None else answer.body

        while True:
            head = await self._ledger.read(queries.head, _STREAM)
            last_at = await self._ledger.read(queries.last_at, _STREAM)
            event = seal(
                log=self._ledger.log,
                stream=_STREAM,
                tenant=self._tenant,
                head=head,
                code="FC-KEY-001",
                data=rotation_data(self.key, new, reason),
                actor=actor,
                at=max(self._clock(), last_at),
            )
            append = Append(_STREAM, self._tenant, head, [event], answer_at=answer_at)
            append.answer = told(Epoch(new.verifier, 0, None))
            try:
                await self._ledger.append(append)
            except StaleAppend:
                continue
            break
        self.key = new  # the head last: until it is known, `refresh` reads the epochs again
        self.epochs = epochs_of(self.epochs[0].key.text, await self._ledger.read(rotations))
        self.head = event.next_head


def _next(file: Path) -> Path:
    return file.with_name(f"{file.name}.next")


def _read(log: str, file: Path) -> LogKey | None:
    return LogKey.of(log, load_or_create_seed(file)) if file.exists() else None


def _none() -> LogKey:
    raise SettingsError(
        "The signing key of this log is gone; bring its file back. Without it nothing can be "
        "signed as this log."
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
