"""Signs the log: about once a second while there is something new, and when a run ends.

Durable writes, in order: events and tree in one transaction; then the checkpoint over them, stored
by compare-and-swap; only then is it shown. A crash before the second loses nothing but a signature,
which the next start makes. A checkpoint that could not be stored was never shown, so it cannot
stand against a later one.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from ..errors import (
    FederationError,
    IntegrityError,
    LedgerUnavailable,
    SettingsError,
    StaleAppend,
)
from ..ledger import Append, Ledger
from ..ledger.tree import root_at, tree_size
from ..spine.actor import Actor
from ..spine.envelope import Head
from ..spine.run import FINAL
from ..spine.times import Clock
from ..telemetry.families import Family, gauge
from ..transparency import Checkpoint, TransparencyError, open_checkpoint, sign_checkpoint
from .keyring import Keyring, Told
from .keys import Epoch, epoch_at
from .log_queries import SignedCheckpoint, newest_checkpoint

__all__ = ["Signer"]

T = TypeVar("T")

INTERVAL_S = 1.0
_GAP_S = 0.05
"""Runs that end together share a checkpoint."""


class Signer:
    """Use it on the event loop of its ledger."""

    def __init__(self, ledger: Ledger, keys: Keyring, clock: Clock) -> None:
        self._ledger, self._keys, self._clock = ledger, keys, clock
        self._newest: SignedCheckpoint | None = None
        self._turn = asyncio.Lock()
        self._new, self._urgent = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stored = asyncio.Condition()
        self._under_way: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Compare the log with the last checkpoint that was signed, and begin. Raises
        `IntegrityError` where it is not what was signed."""
        self._newest = await self._ledger.read(newest_checkpoint)
        if self._newest is not None:
            await self._check(self._newest)
        self._ledger.listen(self._committed)
        self._ledger.listen_elsewhere(lambda _: self._new.set())
        self._new.set()
        self._task = asyncio.create_task(self._work(), name="signer")

    async def _check(self, last: SignedCheckpoint) -> None:
        size = await self._ledger.read(tree_size)
        root = await self._ledger.read(root_at, last.size) if size >= last.size else b""
        key = epoch_at(self._keys.epochs, last.size).key
        try:
            signed = open_checkpoint(last.text.encode(), key)
        except TransparencyError as e:
            raise IntegrityError(
                f"The last checkpoint, at {last.size} events, is not one that this log signed "
                f"({e.detail}) {_ADVICE}",
                code="checkpoint_forged",
            ) from e
        if size < last.size or (signed.size, signed.root) != (last.size, root):
            what = f"has {size} events" if size < last.size else "has other ones"
            raise IntegrityError(
                f"The log is not what was signed: the last checkpoint is over {last.size} events, "
                f"and the database {what}. {_ADVICE}",
                code="log_changed",
                size=size,
                signed_size=last.size,
            )

    def _committed(self, appends: list[Append]) -> None:
        for append in appends:
            if append.events:
                self._new.set()
                if append.run_status in FINAL:
                    self._urgent.set()

    async def _work(self) -> None:
        while True:
            await self._new.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await self._urgent.wait()
            self._new.clear()
            self._urgent.clear()
            try:
                await self.sign()
            except LedgerUnavailable as e:
                structlog.get_logger().warning("checkpoint_not_stored", why=e.detail)
                self._new.set()
            except FederationError as e:
                structlog.get_logger().critical("signing_stopped", why=e.detail)
                return
            await asyncio.sleep(_GAP_S)

    async def sign(self) -> SignedCheckpoint | None:
        """Sign and store a checkpoint over all that is durable, unless the newest one is; returns
        the newest, None where the log is empty."""
        return await self._whole(self._sign())

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also where who waits for it is cancelled: what was stored and what
        is known here must not part."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, work: "asyncio.Future[Any]") -> None:
        self._under_way.discard(work)
        if not work.cancelled():
            work.exception()  # whoever waited was told; the others left, and asyncio need not tell

    async def _sign(self) -> SignedCheckpoint | None:
        async with self._turn:
            if self._ledger.is_shared:
                await self._catch_up()
            while not await self._is_signed():
                pass
        async with self._stored:  # another node may have stored what is the newest now
            self._stored.notify_all()
        return self._newest

    async def _is_signed(self) -> bool:
        """Sign and store, unless the newest checkpoint is over all that is durable. False where
        another node was faster."""
        tree = await self._ledger.tree()
        last = self._newest
        if tree.size <= (last.size if last else 0):
            return True
        root = tree.root()
        note = sign_checkpoint(
            Checkpoint(self._ledger.log, tree.size, root), self._keys.key.signing
        )
        row = (tree.size, root.hex(), note.encode().decode(), "", 0, self._clock())
        append = Append("", "", Head(), [], rows={"checkpoints": [row]})
        append.after_checkpoint = last.size if last else -1
        append.expects = {"log": self._keys.head}  # nobody has rotated the key meanwhile
        try:
            await self._ledger.append(append)
        except StaleAppend:
            await self._catch_up()
            return False
        self._newest = SignedCheckpoint(*row)
        return True

    async def refreshed(self) -> SignedCheckpoint | None:
        """The newest checkpoint, with what other nodes have stored of it."""
        if self._ledger.is_shared:
            async with self._turn:
                with suppress(LedgerUnavailable):  # then what it was is shown
                    with suppress(SettingsError):  # to show it, this node need not have the key
                        await self._keys.refresh()
                    await self._look()
        return self._newest

    async def _catch_up(self) -> None:
        """Another node may have signed meanwhile, or rotated the key. Raises `IntegrityError` where
        that is over another log than this one, `SettingsError` where this node's key is old."""
        await self._keys.refresh()
        await self._look()

    async def _look(self) -> None:
        found = await self._ledger.read(newest_checkpoint)
        if found is not None and (self._newest is None or found.size != self._newest.size):
            await self._check(found)
        self._newest = found

    async def covering(self, size: int) -> None:
        """Return when a checkpoint over at least `size` events is stored."""
        if self._newest is None or self._newest.size < size:
            await self.sign()

    async def wait_newer(self, size: int) -> None:
        """Return when a checkpoint over more than `size` events is stored."""
        async with self._stored:
            await self._stored.wait_for(lambda: self._newest and self._newest.size > size)

    async def cosigned(self, checkpoint: SignedCheckpoint) -> None:
        """Store what witnesses added to a checkpoint."""
        row = tuple(getattr(checkpoint, name) for name in checkpoint.__struct_fields__)
        await self._ledger.append(Append("", "", Head(), [], rows={"checkpoints": [row]}))
        if self._newest and self._newest.size == checkpoint.size:
            self._newest = checkpoint

    @property
    def newest(self) -> SignedCheckpoint | None:
        """The newest checkpoint, as it is stored."""
        return self._newest

    def families(self) -> Iterator[Family]:
        """What it measures of itself."""
        up = int(self._task is not None and not self._task.done())
        yield gauge("fedcore_signer_up", "Whether checkpoints are signed.", up)
        newest, size = self._newest, self._ledger.size
        if newest is not None:
            age = max(0, self._clock() - newest.signed_at) / 1_000_000
            yield gauge("fedcore_checkpoint_age_seconds", "Age of the newest checkpoint.", age)
        if size is not None:
            signed = newest.size if newest else 0
            behind = max(0, size - signed)
            yield gauge("fedcore_checkpoint_size", "Events under the newest one.", signed)
            yield gauge("fedcore_checkpoint_behind_events", "Events that it misses.", behind)

    @property
    def keys(self) -> Keyring:
        return self._keys

    async def rotate(self, actor: Actor, reason: str, told: Told = lambda _: None) -> Epoch:
        """Change the key; nothing is signed meanwhile. See `Keyring.rotate`."""
        return await self._whole(self._rotate(actor, reason, told))

    async def _rotate(self, actor: Actor, reason: str, told: Told) -> Epoch:
        async with self._turn:
            return await self._keys.rotate(actor, reason, told)

    async def close(self) -> None:
        """Sign what is not signed yet, and end."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            try:
                await self.sign()
            except FederationError as e:
                structlog.get_logger().warning("checkpoint_not_stored", why=e.detail)


_ADVICE = (
    "Nothing was started, for a log that goes on from here would contradict what was shown. Run "
    "`fedcore ledger verify` to see where it is wrong; bring back a copy of the database that is "
    "as new as that checkpoint; keep this one as evidence."
)
