"""The log's key: made once, kept, rotated, and never taken for another's."""

import stat
from pathlib import Path

import pytest
from tests.ledger_helpers import CLOCK, fill

from federation_core.errors import Conflict, IntegrityError, SettingsError
from federation_core.evidence.keyring import Keyring
from federation_core.evidence.keys import LogKey, epoch_at, epochs_of, rotation_data
from federation_core.ledger import Ledger
from federation_core.spine.actor import SYSTEM

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))


def untold(_: object) -> None:
    """Nobody asked with an idempotency key."""


async def ring(
    ledger: Ledger, folder: Path, seed: bytes | None = None, previous: bytes | None = None
) -> Keyring:
    return await Keyring.open(
        ledger,
        tenant="default",
        clock=CLOCK,
        file=folder / "signing.key",
        seed=seed,
        previous=previous,
    )


@pytest.fixture
async def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = await Ledger.open(tmp_path / "x.db")
    yield opened
    await opened.close()


async def test_the_first_start_makes_a_key_that_only_its_owner_can_read(
    ledger: Ledger, tmp_path: Path
) -> None:
    first = await ring(ledger, tmp_path)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600
    again = await ring(ledger, tmp_path)
    assert again.key.vkey == first.key.vkey
    assert first.key.verifier.name == ledger.log
    assert [(e.first, e.last) for e in again.epochs] == [(0, None)]


async def test_another_key_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    await ring(ledger, tmp_path, seed=SEED)
    with pytest.raises(SettingsError, match="not the key of this log"):
        await ring(ledger, tmp_path, seed=OTHER)
    with pytest.raises(SettingsError, match="not the key of this log"):
        await ring(ledger, tmp_path, seed=OTHER, previous=bytes(32))


async def test_a_lost_key_is_not_replaced_by_a_new_one(ledger: Ledger, tmp_path: Path) -> None:
    await ring(ledger, tmp_path)
    (tmp_path / "signing.key").unlink()
    with pytest.raises(SettingsError, match="is gone"):
        await ring(ledger, tmp_path)
    assert not (tmp_path / "signing.key").exists()


async def test_a_rotation_divides_the_sizes(ledger: Ledger, tmp_path: Path) -> None:
    keys = await ring(ledger, tmp_path)
    old = keys.key.vkey
    await fill(ledger, 5)
    epoch = await keys.rotate(SYSTEM, "yearly", untold)
    assert (epoch.first, epoch.last) == (6, None)
    assert [(e.first, e.last) for e in keys.epochs] == [(0, 5), (6, None)]
    assert epoch_at(keys.epochs, 5).key.text == old
    assert epoch_at(keys.epochs, 6).key.text == keys.key.vkey != old
    again = await ring(ledger, tmp_path)
    assert again.epochs == keys.epochs
    assert again.key.vkey == keys.key.vkey


@pytest.mark.parametrize("recorded", [False, True], ids=["before", "after"])
async def test_a_rotation_that_a_crash_cut_short_is_finished_or_undone(
    ledger: Ledger, tmp_path: Path, recorded: bool
) -> None:
    """The crash comes before the event is durable, or before the file is renamed."""
    keys = await ring(ledger, tmp_path)
    file, pending = tmp_path / "signing.key", tmp_path / "signing.key.next"
    old = file.read_text()
    await keys.rotate(SYSTEM, "yearly", untold) if recorded else None
    new = file.read_text()
    if recorded:
        file.write_text(old)
    pending.write_text(new if recorded else "x")
    if not recorded:
        pending.write_text(old[::-1])
    pending.chmod(0o600)
    again = await ring(ledger, tmp_path)
    assert again.key.vkey == keys.key.vkey
    assert file.read_text() == new
    assert not pending.exists()


async def test_a_key_from_outside_is_rotated_by_who_keeps_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    keys = await ring(ledger, tmp_path, seed=SEED)
    with pytest.raises(Conflict, match="FEDCORE_PREVIOUS_SIGNING_KEY"):
        await keys.rotate(SYSTEM, "yearly", untold)
    turned = await ring(ledger, tmp_path, seed=OTHER, previous=SEED)
    assert turned.key.vkey == LogKey.of(ledger.log, OTHER).vkey
    assert len(turned.epochs) == 2
    await ring(ledger, tmp_path, seed=OTHER, previous=SEED)
    assert len((await ring(ledger, tmp_path, seed=OTHER)).epochs) == 2
    assert not (tmp_path / "signing.key").exists()


def test_a_rotation_that_the_old_key_did_not_sign_does_not_follow() -> None:
    old, new, thief = (LogKey.of("log", bytes([n]) * 32) for n in (1, 2, 3))
    told = rotation_data(old, new, "x")
    assert len(epochs_of(old.vkey, [(7, told)])) == 2
    forged = rotation_data(thief, new, "x") | {"previous_key": old.vkey}
    for wrong in (
        forged,
        told | {"key": thief.vkey},
        told | {"key_signature": told["previous_signature"]},
        told | {"previous_signature": "?"},
        {k: v for k, v in told.items() if k != "key_signature"},
        rotation_data(thief, new, "x"),
    ):
        with pytest.raises(IntegrityError):
            epochs_of(old.vkey, [(7, wrong)])
