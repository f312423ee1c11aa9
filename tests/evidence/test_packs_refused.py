"""No pack is made, and nothing signed, of a ledger that is not what was signed before."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, connect

import pytest
from tests.core_helpers import DATABASE, begin, core, py, until
from tests.core_steps import new_stage
from tests.evidence.packs_helpers import bench, build, built, long_run

from federation_core.errors import IntegrityError
from federation_core.spine.envelope import leaf_hash


def edit(folder: Path, statement: str, *values: object) -> int:
    """What an intruder does who holds the file; returns how many rows it changed."""
    with closing(connect(folder / DATABASE)) as db:
        count = db.execute(statement, values).rowcount
        db.commit()
    return count


def body_alone(db: Connection) -> None:
    db.execute("UPDATE events SET body = replace(body, 'alice', 'malice') WHERE seq = 1")


def body_and_hash(db: Connection) -> None:
    ((body,),) = db.execute("SELECT body FROM events WHERE seq = 1").fetchall()
    changed = body.replace("alice", "malice")
    row = (changed, leaf_hash(changed.encode()))
    db.execute("UPDATE events SET body = ?, hash = ? WHERE seq = 1", row)


def whole_history(db: Connection) -> None:
    """Every hash and link made anew: only the signed root tells."""
    prev = "0" * 64
    rows = db.execute("SELECT position, body FROM events ORDER BY position").fetchall()
    for position, body in rows:
        event = json.loads(body.replace("alice", "malice"))
        event["prev"] = prev
        receipt = event["data"].get("workflow_receipt_hash")
        data = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        prev = leaf_hash(data.encode())
        db.execute("UPDATE events SET body = ?, hash = ? WHERE position = ?",
                   (data, prev, position))  # fmt: skip
        assert receipt is None or position == len(rows) - 1


def event_gone(db: Connection) -> None:
    db.execute("DELETE FROM events WHERE seq = 3")


def end_gone(db: Connection) -> None:
    db.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")


def no_event(db: Connection) -> None:
    db.execute("UPDATE events SET body = '[]' WHERE seq = 2")


def root_changed(db: Connection) -> None:
    db.execute("UPDATE checkpoints SET root = ?", ("0" * 64,))


def note_changed(db: Connection) -> None:
    db.execute("UPDATE checkpoints SET note = replace(note, '\n15\n', '\n16\n'), size = 16")


def note_of_nobody(db: Connection) -> None:
    db.execute("UPDATE checkpoints SET note = 'nothing'")


@pytest.mark.parametrize(
    "attack",
    [
        body_alone,
        body_and_hash,
        whole_history,
        event_gone,
        end_gone,
        no_event,
        root_changed,
        note_changed,
        note_of_nobody,
    ],
    ids=lambda attack: attack.__name__,
)
async def test_a_changed_ledger_makes_no_pack(
    tmp_path: Path, attack: Callable[[Connection], None]
) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 3)
        await b.pack("r")
    with closing(connect(tmp_path / DATABASE)) as db:
        attack(db)
        db.commit()
    async with bench(tmp_path) as b:
        with pytest.raises(IntegrityError):
            await b.pack("r", sign=False)


@pytest.mark.parametrize("what", ["definition", "bundle", "policy text"])
@pytest.mark.parametrize("how", ["changed", "gone"])
async def test_a_text_that_is_not_what_its_hash_says_makes_no_pack(
    tmp_path: Path, what: str, how: str
) -> None:
    new_stage()
    sign = {"definition": '{"description"%', "bundle": '{"files"%', "policy text": "@id%"}[what]
    async with core(tmp_path, audited=False) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        await built(fc, run_id)
        change = (
            "UPDATE objects SET body = body || ' '" if how == "changed" else "DELETE FROM objects"
        )
        assert edit(tmp_path, f"{change} WHERE body LIKE ?", sign)
        with pytest.raises(IntegrityError, match="missing" if how == "gone" else "changed"):
            await build(fc._parts.ledger, fc.evidence._signer, run_id)


async def test_a_payload_that_is_gone_without_a_word_is_told_of(tmp_path: Path) -> None:
    """The verifier says so as well; the server cannot know what it was."""
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 3)
        whole = await b.pack("r")
        victim = whole.under("payloads")[0][9:-5]
        assert edit(tmp_path, "DELETE FROM payloads WHERE hash = ?", victim) == 1
        pack = await b.pack("r")
    assert set(whole.names) - set(pack.names) == {f"payloads/{victim}.json"}
    assert pack.summary.redactions == 0
    assert "1 value is missing, and nothing says why" in pack.report
    assert victim in pack.report
