"""A full disk, a lock, a read-only file: the ledger says so, nothing is half done, and it works
again when the cause is gone."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.children import child
from tests.ledger_helpers import follow, full_disk, no_more_writes, stored

from federation_core.errors import IntegrityError, LedgerUnavailable, OperatorError
from federation_core.evidence.audit import audit
from federation_core.ledger import Append, Ledger, sqlite
from federation_core.ledger.exclusive import Exclusive
from federation_core.ledger.maintenance import rebuild
from federation_core.service import FederationCore
from federation_core.spine.canonical import sha256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fedcore.db"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 20 ms for somebody else's lock."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)


def large(append: Append) -> Append:
    """With an object that needs new pages."""
    text = append.events[0].hash * 1_600
    append.objects = {sha256(text.encode()): text}
    return append


async def test_a_full_disk_refuses_an_append_whole_and_later_takes_it(
    ledger: Ledger, path: Path
) -> None:
    first = follow(ledger.log, "made:a")
    await ledger.append(first)
    second = large(follow(ledger.log, "made:a", first))
    with full_disk(ledger):
        for _ in range(3):
            with pytest.raises(LedgerUnavailable, match=r"full.*Free some disk space"):
                await ledger.append(second)
        assert await stored(ledger) == [first.events[0].hash]
        assert audit(path).error is None
    await ledger.append(second)
    assert await stored(ledger) == [first.events[0].hash, second.events[0].hash]
    assert audit(path).error is None


async def test_a_full_disk_refuses_everybody_in_the_batch_or_nobody(
    ledger: Ledger, path: Path
) -> None:
    appends = [large(follow(ledger.log, f"made:{i}")) for i in range(20)]
    with full_disk(ledger):
        outcomes = await asyncio.gather(*map(ledger.append, appends), return_exceptions=True)
        assert {type(o) for o in outcomes} == {LedgerUnavailable}
        assert await stored(ledger) == []
    await asyncio.gather(*map(ledger.append, appends))
    assert len(await stored(ledger)) == 20
    assert audit(path).error is None


async def test_a_commit_that_the_disk_refuses_is_undone(ledger: Ledger, path: Path) -> None:
    first = follow(ledger.log, "made:a")
    await ledger.append(first)
    second = large(follow(ledger.log, "made:a", first))
    with no_more_writes():
        outcome = (await asyncio.gather(ledger.append(second), return_exceptions=True))[0]
    assert isinstance(outcome, LedgerUnavailable)
    assert await stored(ledger) == [first.events[0].hash]
    await ledger.append(second)
    assert await stored(ledger) == [first.events[0].hash, second.events[0].hash]
    assert audit(path).error is None


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_another_process_has_locked(tmp_path: Path) -> None:
    path = tmp_path / "fedcore.db"
    ledger = await Ledger.open(path)
    first = follow(ledger.log, "made:a")
    with child("hold_database", path) as other:
        assert other.line() == "held"
        with pytest.raises(LedgerUnavailable, match=r"locked.*Another process"):
            await ledger.append(first)
        assert await stored(ledger) == []  # readers are not in its way
        other.end()
    await ledger.append(first)
    assert await stored(ledger) == [first.events[0].hash]
    await ledger.close()


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_is_locked_while_it_is_opened(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    with child("hold_database", path) as other:
        assert other.line() == "held"
        with pytest.raises(LedgerUnavailable, match="locked"):
            await Ledger.open(path)
        other.end()
    await (await Ledger.open(path)).close()


async def test_a_lock_that_ends_in_time_is_only_a_delay(ledger: Ledger, path: Path) -> None:
    with child("hold_database", path) as other:
        assert other.line() == "held"
        waiting = asyncio.ensure_future(ledger.append(follow(ledger.log, "made:a")))
        await asyncio.sleep(0)
        other.end()
        await waiting


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root is not held back by the permissions of files; become nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


async def test_a_read_only_file(reachable: Path) -> None:
    path = reachable / "fedcore.db"
    ledger = await Ledger.open(path)
    await ledger.append(follow(ledger.log, "made:a"))
    await ledger.close()
    before = path.read_bytes()
    path.chmod(0o444)
    reachable.chmod(0o555)
    with unprivileged(), pytest.raises(LedgerUnavailable, match=r"readonly|unable to open"):
        await Ledger.open(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


async def test_a_folder_that_cannot_be_written(reachable: Path) -> None:
    reachable.chmod(0o555)
    with unprivileged(), pytest.raises(OperatorError, match="cannot be used"):
        async with FederationCore.open(reachable / "data"):
            pass
    with unprivileged(), pytest.raises(LedgerUnavailable, match="Check that its folder exists"):
        await Ledger.open(reachable / "fedcore.db")


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises((LedgerUnavailable, IntegrityError), match="not a database"):
        await Ledger.open(path)


async def test_one_process_at_a_time_holds_a_data_directory(tmp_path: Path) -> None:
    with child("hold_directory", tmp_path) as other:
        assert other.line() == "held"
        with pytest.raises(OperatorError) as caught:
            async with FederationCore.open(tmp_path):
                pass
        assert caught.value.error_code == "data_dir_in_use"
        assert str(other.process.pid) in caught.value.detail
        assert not (tmp_path / "fedcore.db").exists()
        with pytest.raises(OperatorError, match="Another process"):
            rebuild(tmp_path / "fedcore.db")
        other.kill()  # whoever is gone holds nothing, however they went
    async with FederationCore.open(tmp_path):
        with pytest.raises(OperatorError, match=f"Another process \\({os.getpid()}\\)"):
            Exclusive(tmp_path)


async def test_the_same_database_under_another_data_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "fedcore.db"
    async with FederationCore.open(tmp_path / "one", database=path):
        with pytest.raises(OperatorError, match="Another process"):
            async with FederationCore.open(tmp_path / "two", database=path):
                pass
        with pytest.raises(OperatorError, match="Another process"):
            rebuild(path)
