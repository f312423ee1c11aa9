"""Checkpoints: over durable events only, one after the other, and compared at the start."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.ledger_helpers import CLOCK, fill

from federation_core.errors import IntegrityError, StaleAppend
from federation_core.evidence import log_queries
from federation_core.evidence.keyring import Keyring
from federation_core.evidence.signer import Signer
from federation_core.ledger import Append, Ledger
from federation_core.ledger.tree import LogTree
from federation_core.spine.actor import SYSTEM
from federation_core.spine.envelope import Head
from federation_core.transparency import open_checkpoint, verify_consistency, verify_inclusion


@asynccontextmanager
async def signing(folder: Path) -> AsyncIterator[tuple[Ledger, Signer]]:
    ledger = await Ledger.open(folder / "x.db")
    try:
        file = folder / "signing.key"
        keys = await Keyring.open(ledger, tenant="default", clock=CLOCK, file=file)
        signer = Signer(ledger, keys, CLOCK)
        await signer.start()
        yield ledger, signer
        await signer.close()
    finally:
        await ledger.close()


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "x.db") as db:
        db.execute(statement)
    db.close()


async def test_a_checkpoint_covers_what_is_durable(tmp_path: Path) -> None:
    async with signing(tmp_path) as (ledger, signer):
        assert await signer.sign() is None
        events = await fill(ledger, 300)
        await signer.covering(300)
        assert signer.newest is not None
        checkpoint = open_checkpoint(signer.newest.text.encode(), signer.keys.key.verifier)
        assert (checkpoint.origin, checkpoint.size) == (ledger.log, 300)
        for index in (0, 255, 256, 299):
            proof = await ledger.read(log_queries.inclusion, index, 300)
            leaf = bytes.fromhex(events[index].hash)
            verify_inclusion(leaf, index, 300, proof, checkpoint.root)
        assert await signer.sign() == signer.newest
        await fill(ledger, 5)
        newer = await signer.sign()
        assert newer is not None
        proof = await ledger.read(log_queries.consistency, 300, 305)
        verify_consistency(300, 305, proof, checkpoint.root, bytes.fromhex(newer.root))


async def test_it_is_signed_by_itself_and_when_it_ends(tmp_path: Path) -> None:
    async with signing(tmp_path) as (ledger, signer):
        await fill(ledger, 3)
        await signer.wait_newer(2)
        await fill(ledger, 2)
    async with signing(tmp_path) as (_, signer):
        assert signer.newest is not None
        assert signer.newest.size == 5


async def test_of_two_signers_one_is_refused(tmp_path: Path) -> None:
    """Compare-and-swap: the second does not know of the first one's checkpoint."""
    async with signing(tmp_path) as (ledger, signer):
        await fill(ledger, 3)
        await signer.sign()
        row = (4, "00" * 32, "another", "", 0, 0)
        for after in (-1, 2, 4):
            append = Append("", "", Head(), [], rows={"checkpoints": [row]})
            append.after_checkpoint = after
            with pytest.raises(StaleAppend):
                await ledger.append(append)
        newest = await ledger.read(log_queries.newest_checkpoint)
        assert newest == signer.newest


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM events WHERE position = 4", "has 4 events"),
        ("UPDATE events SET hash = substr(hash, 3) || 'ff' WHERE position = 2", "has other ones"),
        ("UPDATE checkpoints SET note = replace(note, '5', '6')", "not one that this log signed"),
    ],
    ids=["rolled-back", "changed", "forged"],
)
async def test_a_log_that_is_not_what_was_signed_is_not_gone_on_with(
    tmp_path: Path, statement: str, told: str
) -> None:
    async with signing(tmp_path) as (ledger, _):
        await fill(ledger, 5)
    change(tmp_path, statement)
    with pytest.raises(IntegrityError, match=told) as refused:
        async with signing(tmp_path):
            pass
    assert "fedcore ledger verify" in refused.value.detail


async def test_who_stops_waiting_does_not_part_what_is_stored_from_what_is_known(
    tmp_path: Path,
) -> None:
    async with signing(tmp_path) as (ledger, signer):
        for count in range(1, 6):
            await fill(ledger, 1)
            waiting = asyncio.ensure_future(signer.sign())
            for _ in range(count):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            newest = await signer.sign()
            assert newest is not None
            assert newest.size == count
            assert await ledger.read(log_queries.newest_checkpoint) == newest


async def test_a_checkpoint_that_another_process_stored_is_gone_on_from(tmp_path: Path) -> None:
    async with signing(tmp_path) as (ledger, signer):
        await fill(ledger, 3)
        keys = await Keyring.open(
            ledger, tenant="default", clock=CLOCK, file=tmp_path / "signing.key"
        )
        other = Signer(ledger, keys, CLOCK)
        await other.sign()
        await signer.sign()
        await fill(ledger, 1)
        newest = await signer.sign()
        assert newest is not None
        assert newest.size == 4


async def test_a_checkpoint_covers_what_was_asked_for_although_another_was_stored_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with signing(tmp_path) as (ledger, signer):
        await fill(ledger, 3)
        keys = await Keyring.open(
            ledger, tenant="default", clock=CLOCK, file=tmp_path / "signing.key"
        )
        other = Signer(ledger, keys, CLOCK)
        tree, looked = Ledger.tree, list[int]()

        async def other_first(self: Ledger) -> LogTree:
            found = await tree(self)
            if not looked:
                looked.append(found.size)
                await other.sign()
                await fill(ledger, 1)
                return await tree(self)
            return found

        monkeypatch.setattr(Ledger, "tree", other_first)
        await signer.covering(4)
        assert signer.newest is not None
        assert signer.newest.size == 4


async def test_events_after_the_last_checkpoint_are_gone_on_with(tmp_path: Path) -> None:
    """A crash between the two writes: the next start signs what is there."""
    async with signing(tmp_path) as (ledger, _):
        await fill(ledger, 5)
    change(tmp_path, "DELETE FROM checkpoints")
    async with signing(tmp_path) as (_, signer):
        await signer.covering(5)
        assert signer.newest is not None
        assert signer.newest.size == 5


async def test_after_a_rotation_the_new_key_signs(tmp_path: Path) -> None:
    async with signing(tmp_path) as (ledger, signer):
        await fill(ledger, 5)
        first = await signer.sign()
        old = signer.keys.key.verifier
        await signer.rotate(SYSTEM, "yearly")
        second = await signer.sign()
        assert first is not None
        assert second is not None
        assert open_checkpoint(first.text.encode(), old).size == 5
        assert open_checkpoint(second.text.encode(), signer.keys.key.verifier).size == 6
    async with signing(tmp_path) as (_, signer):
        assert signer.newest is not None
        assert signer.newest.size == 6
