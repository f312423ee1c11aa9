"""Somebody holds the database, and the key: rows, hashes, tiles and checkpoints are all made anew.

`tests/ledger/test_verify.py` has the intruder without the key. Here the tree and its signature are
true, so what is left is the life that the events tell, and what others have seen.
"""

import base64
import copy
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.core_helpers import DATABASE, begin, core, editing, py, sql, start, until
from tests.core_steps import new_stage
from tests.evidence.attack_worlds import (
    Attacker,
    World,
    assert_refused,
    forked,
    path_of,
    speak,
    world,
)
from tests.evidence.pack_forge import Json, Key, canonical, leaf, sign_note, unpack

from federation_core.errors import IntegrityError
from federation_core.evidence.audit import AuditReport, audit
from federation_core.ledger.tree import LogTree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the data directory of `world()`, which is as it should be."""
    copied = tmp_path / "data"
    shutil.copytree(world().folder, copied)
    assert audit(copied / DATABASE).error is None
    return copied


def rewrite(folder: Path, attacker: Attacker, *, checkpoints: bool = True) -> None:
    """Put the attacker's log in the place of the one that is there, whole: events and their hashes,
    heads, tiles; and, where he signs, one checkpoint over all of it."""
    tree, heads = LogTree(), {}
    with editing(folder) as c:
        for table in ("events", "streams", "tiles"):
            c.execute(f"DELETE FROM {table}")
        for position, event in enumerate(attacker.forge.leaves):
            body = canonical(event)
            named = leaf(body)
            row = (position, event["stream"], event["seq"], event["type"], named, body.decode())
            c.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            heads[event["stream"]] = (event["seq"] + 1, named, event["tenant"])
            for level, number, root in tree.append(bytes.fromhex(named)):
                c.execute("INSERT INTO tiles VALUES (?, ?, ?)", (level, number, root.hex()))
        for stream, head in heads.items():
            c.execute("INSERT INTO streams VALUES (?, ?, ?, ?)", (stream, *head))
        if checkpoints:
            c.execute("DELETE FROM checkpoints")
            note = attacker.forge.checkpoint().decode()
            mark = (tree.size, tree.root().hex(), note, "", 0, 0)
            c.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", mark)


def operator(name: str = "main") -> Attacker:
    return Attacker(world(), name, holds_key=True)


def refused(folder: Path, attacker: Attacker, code: str, line: int) -> AuditReport:
    """Found by the life, at the event on this line of the run."""
    rewrite(folder, attacker)
    report = audit(folder / DATABASE)
    told = (report.code, report.stream, report.seq)
    assert told == (code, f"run:{attacker.run_id}", line - 1), report
    [(position,)] = sql(
        folder,
        "SELECT position FROM events WHERE stream = ? AND seq = ?",
        report.stream,
        report.seq,
    )
    assert report.position == position
    return report


def test_rewritten_as_it_was_it_is_as_it_should_be(folder: Path) -> None:
    """So that what is found below is the forgery, and not the way it was written."""
    rewrite(folder, operator())
    report = audit(folder / DATABASE)
    assert (report.error, report.checkpoints) == (None, 1)
    assert report.signed == report.events == len(world().leaves)


def test_an_approval_is_put_in(folder: Path) -> None:
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    third = copy.deepcopy(a.events[second - 2 : second])
    for event in third:
        speak(event, actor="carl", at=a.events[second - 1]["at"])
    refused(folder, a.insert(second + 1, *third), "MISSING_APPROVAL", second + 2)


def test_an_approval_is_taken_out(folder: Path) -> None:
    a = operator()
    first, second = (a.line("FC-GATE-002", actor=who) for who in ("ann", "ben"))
    lone = a.drop(second - 1, second).change(first, gate_status="approved")
    refused(folder, lone, "MISSING_APPROVAL", first)


def test_one_person_approves_twice(folder: Path) -> None:
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    twice = a.change(second - 1, actor="ann").change(second, actor="ann")
    refused(folder, twice, "MISSING_APPROVAL", second)


def test_who_started_a_run_approves_it(folder: Path) -> None:
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    own = a.change(second - 1, actor="starter").change(second, actor="starter")
    refused(folder, own, "MISSING_APPROVAL", second)


def test_a_denied_step_is_allowed(folder: Path) -> None:
    a = operator("denied")
    deny = a.line("FC-POLICY-001", decision="deny")
    refused(folder, a.change(deny, decision="allow"), "ILLEGAL_TRANSITION", deny + 1)


def test_a_step_runs_that_nothing_allowed(folder: Path) -> None:
    a = operator()
    allow = a.line("FC-POLICY-001", decision="allow", step_id="plain")
    refused(folder, a.drop(allow), "STEP_WITHOUT_ALLOW", allow)


def test_a_run_that_was_completed_goes_on(folder: Path) -> None:
    a = operator()
    end = a.line("FC-RUN-003")
    step = a.events[a.line("FC-STEP-001", step_id="last") - 1]
    later = step | {"at": a.events[end - 1]["at"]}
    refused(folder, a.insert(end + 1, later), "ILLEGAL_TRANSITION", end + 1)


# what others have seen


def test_history_is_written_anew_and_told_from_what_was_seen(folder: Path) -> None:
    """A lawful life, in which somebody else approved: nothing in the ledger itself tells."""
    seen = unpack(world().packs["main"])["log/checkpoint"]
    assert audit(folder / DATABASE, seen=seen).error is None
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    other = a.change(second - 1, actor="carl").change(second, actor="carl")
    other = other.change(second + 1, actor="carl")
    rewrite(folder, other)
    assert audit(folder / DATABASE).error is None
    report = audit(folder / DATABASE, seen=seen)
    assert (report.code, report.position) == ("INCONSISTENT", size_of(seen) - 1)


def size_of(note: bytes) -> int:
    return int(note.split(b"\n")[1])


def test_history_is_written_anew_and_the_checkpoints_are_kept(folder: Path) -> None:
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    other = a.change(second - 1, actor="carl").change(second, actor="carl")
    rewrite(folder, other.change(second + 1, actor="carl"), checkpoints=False)
    assert audit(folder / DATABASE).code == "ROOT_MISMATCH"


def test_a_log_is_rolled_back_and_grows_again_with_its_key() -> None:
    """Copies of the database from before are taken back, and the server goes on from there."""
    f = forked()
    seen = unpack(f.ours.packs["second"])["log/checkpoint"]
    assert audit(f.ours.folder / DATABASE, seen=seen).error is None
    assert audit(f.theirs.folder / DATABASE).error is None
    report = audit(f.theirs.folder / DATABASE, seen=seen)
    assert (report.code, report.position) == ("INCONSISTENT", size_of(seen) - 1)


async def test_the_server_does_not_go_on_from_a_log_that_was_rolled_back(tmp_path: Path) -> None:
    """Events are cut off, with everything beside them set back, and the checkpoints are left."""
    new_stage()
    async with core(tmp_path) as fc:
        await until(fc, await begin(fc, py("only")))
        early = len(sql(tmp_path, "SELECT 1 FROM events"))
        await until(fc, await start(fc))
    leaves = [b.encode() for (b,) in sql(tmp_path, "SELECT body FROM events ORDER BY position")]
    attacker = operator()
    attacker.forge.leaves = [json.loads(body) for body in leaves[:early]]
    rewrite(tmp_path, attacker, checkpoints=False)
    report = audit(tmp_path / DATABASE)
    assert (report.code, report.position) == ("INCONSISTENT", early)
    with pytest.raises(IntegrityError) as caught:
        async with core(tmp_path, audited=False):
            pass
    assert caught.value.error_code == "log_changed"


# checkpoints


def test_there_are_no_two_checkpoints_of_one_size(folder: Path) -> None:
    row = sql(folder, "SELECT * FROM checkpoints ORDER BY size DESC LIMIT 1")[0]
    other = (row[0], "0" * 64, *row[2:])
    with pytest.raises(sqlite3.IntegrityError):
        sql(folder, "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", *other)


def signed(world: World, size: int, root: bytes) -> Json:
    text = f"{world.log}\n{size}\n{base64.b64encode(root).decode()}\n"
    note = sign_note(text, Key(world.log, world.seed)).decode()
    return {"size": size, "root": root.hex(), "note": note}


@pytest.mark.parametrize("size", ["of the newest", "between two", "beyond the end"])
def test_a_checkpoint_over_other_events_that_the_key_signed(folder: Path, size: str) -> None:
    [(newest,)] = sql(folder, "SELECT max(size) FROM checkpoints")
    at = {"of the newest": newest, "between two": 2, "beyond the end": newest + 1}[size]
    forged = signed(world(), at, b"\7" * 32)
    sql(folder, "DELETE FROM checkpoints WHERE size = ?", at)
    row = (*forged.values(), "", 0, 0)
    sql(folder, "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", *row)
    report = audit(folder / DATABASE)
    code = "INCONSISTENT" if at > newest else "ROOT_MISMATCH"
    assert report.code == code, report
    assert report.position == (newest if at > newest else at - 1)


def test_a_checkpoint_of_another_log(folder: Path) -> None:
    [note] = sql(forked().past.folder.parent / "ours", "SELECT note FROM checkpoints LIMIT 1")
    sql(folder, "UPDATE checkpoints SET note = ?", *note)
    assert audit(folder / DATABASE).code == "BAD_SIGNATURE"


# packs of a ledger that was harmed


async def test_of_a_ledger_that_is_not_what_was_signed_no_pack_is_made(tmp_path: Path) -> None:
    """The server does not put its name under a receipt of events that were changed."""
    new_stage()
    async with core(tmp_path, audited=False) as fc:
        run_id = await begin(fc, py("only"))
        await until(fc, run_id)
        await fc.log.checkpoint(fc.call("auditor"))
        made = await fc.evidence.pack(fc.call("auditor"), run_id)
        made.file.close()
        statement = "UPDATE events SET body = replace(body, 'starter', 'stArter') WHERE stream = ?"
        sql(tmp_path, statement, f"run:{run_id}")
        with pytest.raises(IntegrityError):
            await fc.evidence.pack(fc.call("auditor"), run_id)


def test_a_pack_of_the_same_forgery_is_refused_at_the_same_event() -> None:
    """The verifier of packs and that of the ledger say the same."""
    a = operator()
    second = a.line("FC-GATE-002", actor="ben")
    twice = a.change(second - 1, actor="ann").change(second, actor="ann")
    pack = twice.made()
    assert_refused(pack, world().trust, "MISSING_APPROVAL", path_of(a.run_id), second)
