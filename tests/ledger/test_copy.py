"""`fedcore ledger copy`: the same ledger in another database, or nothing."""

import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.stores import execute, postgres

from federation_core.cli.main import run
from federation_core.errors import IntegrityError, OperatorError
from federation_core.evidence.audit import audit
from federation_core.ledger import schema
from federation_core.ledger.copying import copy_ledger
from federation_core.ledger.database import Target, open_database
from federation_core.ledger.exclusive import Exclusive
from federation_core.ledger.maintenance import rebuild


def everything(target: Target) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that is part of the ledger, in the order of its key."""
    database = open_database(target)
    try:
        with database.reader.begin() as c:
            return {
                name: [tuple(r) for r in c.execute(select(t).order_by(*t.primary_key.columns))]
                for name, t in schema.metadata.tables.items()
                if name != "nodes"
            }
    finally:
        database.close()


def test_a_copy_has_every_row_and_the_same_root(history: Path) -> None:
    source = history / "fedcore.db"
    rebuild(source)
    url = postgres().fresh()
    report = copy_ledger(source, url)
    before, after = audit(source), audit(url)
    assert before == after
    assert (report.events, report.root) == (after.events, after.root)
    assert everything(url) == everything(source)
    assert rebuild(url).differences == []


def test_a_copy_goes_there_and_back(history: Path, tmp_path: Path) -> None:
    source, back = history / "fedcore.db", tmp_path / "back" / "fedcore.db"
    url = postgres().fresh()
    copy_ledger(source, url)
    copy_ledger(url, back)
    assert everything(back) == everything(url)
    assert audit(back) == audit(source)


def test_a_database_that_holds_something_is_left_as_it_is(history: Path, small: Path) -> None:
    url = postgres().fresh()
    copy_ledger(small / "fedcore.db", url)
    before = everything(url)
    with pytest.raises(OperatorError, match="holds a ledger already"):
        copy_ledger(history / "fedcore.db", url)
    assert everything(url) == before


def test_a_ledger_in_use_is_not_copied(small: Path) -> None:
    url = postgres().fresh()
    with Exclusive(small), pytest.raises(OperatorError, match="uses the data directory"):
        copy_ledger(small / "fedcore.db", url)


def test_a_ledger_that_was_changed_is_not_copied(small: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(small / "fedcore.db")) as db:
        db.execute("UPDATE events SET body = body || ' ' WHERE position = 3")
        db.commit()
    url = postgres().fresh()
    with pytest.raises(IntegrityError):
        copy_ledger(small / "fedcore.db", url)
    assert execute(url, "SELECT count(*) FROM events") == [(0,)]


def test_the_command(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = postgres().fresh()
    assert run(["ledger", "copy", "--data-dir", str(small), "--to", url]) == 0
    root = b64encode(bytes.fromhex(audit(url).root or "")).decode()  # as a checkpoint has it
    assert root in capsys.readouterr().out.replace("\n", "")
    assert run(["ledger", "copy", "--data-dir", str(small), "--to", url]) == 3
    assert "holds a ledger already" in " ".join(capsys.readouterr().err.split())
    assert run(["ledger", "copy", "--data-dir", str(small), "--to", "mysql://x"]) == 3
    assert "--to must read" in " ".join(capsys.readouterr().err.split())
