"""Promise 4: whatever is changed afterwards, `verify` names the first event that is wrong."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection
from tests.core_helpers import DATABASE, begin, core, editing, py, sql, start, until

from federation_core.errors import FederationError
from federation_core.evidence.audit import AuditReport, audit, audit_in
from federation_core.ledger.sqlite import SqliteDatabase
from federation_core.spine.canonical import ZERO_HASH, sorted_json
from federation_core.spine.envelope import leaf_hash

Change = Callable[[dict[str, Any]], None]


class Row(NamedTuple):
    position: int
    stream: str
    seq: int
    type: str
    hash: str
    body: str


def log(folder: Path) -> list[Row]:
    return [Row(*row) for row in sql(folder, "SELECT * FROM events ORDER BY position")]


def find(folder: Path, type_: str, *, inside: bool = True) -> Row:
    """An event of this type that is not (or, is) the last of its stream."""
    rows = log(folder)
    ends = {row.stream: row.position for row in rows}
    ours = [r for r in rows if r.stream.startswith("run:") or type_ == "FC-WF-001"]
    return next(r for r in ours if r.type == type_ and (ends[r.stream] > r.position) is inside)


def check(folder: Path) -> AuditReport:
    return audit(folder / DATABASE)


def place(report: AuditReport) -> tuple[int | None, str | None, int | None]:
    assert report.error is not None, "nothing was found wrong"
    return (report.position, report.stream, report.seq)


def assert_names(folder: Path, row: Row, why: str = "") -> None:
    report = check(folder)
    assert place(report) == (row.position, row.stream, row.seq), report
    assert why in str(report.error)


def following(folder: Path, row: Row) -> Row:
    """The next event of the same stream."""
    return next(r for r in log(folder) if r.stream == row.stream and r.seq == row.seq + 1)


def renumber(folder: Path) -> None:
    """Close the holes of the log."""
    with editing(folder) as c:
        found = [p for (p,) in c.execute("SELECT position FROM events ORDER BY position")]
        for new, old in enumerate(found):
            c.execute("UPDATE events SET position = ? WHERE position = ?", (new, old))


def forge(folder: Path, row: Row, change: Change) -> None:
    """Change an event, and make the hashes of it and of all that follow in its stream true again:
    the work of an intruder who knows the format and holds the file."""
    with editing(folder) as c:
        rows = c.execute(
            "SELECT position, body FROM events WHERE stream = ? AND seq >= ? ORDER BY seq",
            (row.stream, row.seq),
        ).fetchall()
        previous = json.loads(row.body)["prev"]
        for position, body in rows:
            event = json.loads(body) | {"prev": previous}
            if position == row.position:
                change(event)
            data = sorted_json(event)
            previous = leaf_hash(data)
            c.execute(
                "UPDATE events SET body = ?, hash = ?, type = ? WHERE position = ?",
                (data.decode(), previous, event["type"], position),
            )
        c.execute("UPDATE streams SET head = ? WHERE stream = ?", (previous, row.stream))


def add(folder: Path, stream: str, type_: str, data: dict[str, Any]) -> Row:
    """Append an event of one's own making, with everything true about it but its content."""
    rows = log(folder)
    last = [row for row in rows if row.stream == stream][-1]
    body = json.loads(last.body) | {
        "data": data,
        "prev": last.hash,
        "seq": last.seq + 1,
        "type": type_,
    }
    raw = sorted_json(body)
    row = Row(len(rows), stream, last.seq + 1, type_, leaf_hash(raw), raw.decode())
    sql(folder, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", *row)
    statement = "UPDATE streams SET next_seq = ?, head = ? WHERE stream = ?"
    sql(folder, statement, row.seq + 1, row.hash, stream)
    return row


def test_an_honest_ledger_verifies(history: Path) -> None:
    report = check(history)
    assert report.error is None
    assert report.events == len(log(history))
    assert report.streams == sql(history, "SELECT count(*) FROM streams")[0][0]
    assert report.payloads == sql(history, "SELECT count(*) FROM payloads")[0][0]


def test_there_is_nothing_to_verify_where_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="no ledger"):
        audit(tmp_path / "nothing" / DATABASE)
    assert not (tmp_path / "nothing").exists()


class Bench:
    """A ledger that is edited and verified in one transaction, again and again."""

    def __init__(self, folder: Path, connection: Connection, row: Row) -> None:
        self.row, self.after = row, following(folder, row)
        self._connection = connection

    def check(self, body: bytes, hash_: str | None = None) -> AuditReport:
        """What is found where `body` stands in place of the row's."""
        statement = "UPDATE events SET body = CAST(? AS TEXT), hash = ? WHERE position = ?"
        values = (body, hash_ or self.row.hash, self.row.position)
        self._connection.exec_driver_sql(statement, values)
        return audit_in(self._connection)


@pytest.fixture
def bench(small: Path) -> Iterator[Bench]:
    row = find(small, "FC-STEP-001")
    database = SqliteDatabase(small / DATABASE)
    with database.writer.connect() as connection:
        yield Bench(small, connection, row)
    database.close()


def test_each_byte_of_an_event_matters(bench: Bench) -> None:
    row, body = bench.row, bench.row.body.encode()
    for i, byte in enumerate(body):
        report = bench.check(body[:i] + bytes([byte ^ 1 << i % 8]) + body[i + 1 :])
        assert place(report) == (row.position, row.stream, row.seq), f"byte {i}"


def test_each_byte_matters_where_the_hash_is_made_anew_too(bench: Bench) -> None:
    here, after, body = bench.row.position, bench.after.position, bench.row.body.encode()
    for i, byte in enumerate(body):
        changed = body[:i] + bytes([byte ^ 1]) + body[i + 1 :]
        assert bench.check(changed, leaf_hash(changed)).position in (here, after), f"byte {i}"


def test_each_byte_that_is_cut_off_or_added_matters(bench: Bench) -> None:
    row, body = bench.row, bench.row.body.encode()
    for changed in (body[:-1], body + b" ", b" " + body, b"", body * 2, b"\0" + body, body + b"\0"):
        assert place(bench.check(changed)) == (row.position, row.stream, row.seq), changed
    assert bench.check(body).error is None


@pytest.mark.parametrize("column", ["hash", "type", "stream", "seq"])
@pytest.mark.parametrize("value", ["x", "9.5", b"\xff", -1])
def test_each_column_beside_the_bytes_matters(history: Path, column: str, value: object) -> None:
    row = find(history, "FC-STEP-002")
    sql(history, f"UPDATE events SET {column} = ? WHERE position = ?", value, row.position)
    assert check(history).error is not None
    assert check(history).position == row.position


@pytest.mark.parametrize("kind", ["BLOB", "TEXT"])
def test_bytes_of_another_type_are_found(history: Path, kind: str) -> None:
    row = find(history, "FC-STEP-002")
    value = b"\xff\xfe" if kind == "TEXT" else row.body
    sql(
        history,
        f"UPDATE events SET body = CAST(? AS {kind}) WHERE position = ?",
        value,
        row.position,
    )
    assert_names(history, row)


def test_each_event_that_is_removed_leaves_a_hole(small: Path) -> None:
    rows = log(small)
    for row in rows:
        sql(small, "DELETE FROM events WHERE position = ?", row.position)
        if row is rows[-1]:
            assert place(check(small)) == (None, row.stream, row.seq)
        else:
            assert check(small).position == row.position + 1
            assert f"position {row.position} is missing" in str(check(small).error)
        sql(small, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", *row)
    assert check(small).error is None


def test_closing_the_hole_leaves_a_gap_in_the_stream(history: Path) -> None:
    row = find(history, "FC-POLICY-001")
    after = following(history, row)
    sql(history, "DELETE FROM events WHERE position = ?", row.position)
    renumber(history)
    assert_names(history, after._replace(position=after.position - 1), "should be")


def test_closing_the_gap_as_well_leaves_rows_that_do_not_name_their_events(history: Path) -> None:
    row = find(history, "FC-POLICY-001")
    sql(history, "DELETE FROM events WHERE position = ?", row.position)
    renumber(history)
    with editing(history) as c:
        for later in range(row.seq + 1, row.seq + 100):
            statement = "UPDATE events SET seq = seq - 1 WHERE stream = ? AND seq = ?"
            c.execute(statement, (row.stream, later))
    report = check(history)
    assert (report.stream, report.seq) == (row.stream, row.seq)
    assert "does not name" in str(report.error)


def test_events_of_one_stream_in_another_order(history: Path) -> None:
    first = find(history, "FC-STEP-001")
    second = following(history, first)
    for old, new in ((first, -1), (second, first.position)):
        sql(history, "UPDATE events SET position = ? WHERE position = ?", new, old.position)
    sql(history, "UPDATE events SET position = ? WHERE position = -1", second.position)
    assert_names(history, second._replace(position=first.position), "should be")


def test_bodies_of_one_stream_in_another_order(history: Path) -> None:
    first = find(history, "FC-STEP-001")
    second = following(history, first)
    for place_, content in ((first, second), (second, first)):
        statement = "UPDATE events SET body = ?, hash = ?, type = ? WHERE position = ?"
        sql(history, statement, content.body, content.hash, content.type, place_.position)
    assert_names(history, first, "does not name")


def test_an_event_before_the_beginning(history: Path) -> None:
    row = log(history)[0]
    sql(history, "INSERT INTO events VALUES (-5, 'x', 0, ?, ?, ?)", row.type, row.hash, row.body)
    assert check(history).position == -5


@pytest.mark.parametrize("type_", ["FC-STEP-001", "FC-WF-001"])
def test_another_prev_with_every_hash_made_anew(history: Path, type_: str) -> None:
    row = find(history, type_, inside=type_ == "FC-STEP-001")
    forge(history, row, lambda event: event.update(prev="f" * 64))
    assert_names(history, row, "does not link")


def test_the_tail_of_a_stream_is_cut(history: Path) -> None:
    row = find(history, "FC-RUN-003", inside=False)
    before = row.seq
    sql(history, "DELETE FROM events WHERE position = ?", row.position)
    report = check(history)
    assert f"position {row.position} is missing" in str(report.error)
    renumber(history)
    report = check(history)
    assert (report.stream, report.seq) == (row.stream, before)
    assert "ends at" in str(report.error)


def test_the_tail_of_a_stream_is_cut_and_its_recorded_head_with_it(history: Path) -> None:
    row = find(history, "FC-RUN-003", inside=False)
    previous = json.loads(row.body)["prev"]
    sql(history, "DELETE FROM events WHERE position = ?", row.position)
    statement = "UPDATE streams SET next_seq = ?, head = ? WHERE stream = ?"
    sql(history, statement, row.seq, previous, row.stream)
    report = check(history)
    assert report.position == row.position + 1
    assert f"position {row.position} is missing" in str(report.error)


@pytest.mark.parametrize("harm", ["DELETE FROM streams", "UPDATE streams SET head = 'x'"])
def test_recorded_heads_are_held_against_the_events(history: Path, harm: str) -> None:
    row = find(history, "FC-RUN-003", inside=False)
    sql(history, f"{harm} WHERE stream = ?", row.stream)
    assert (check(history).stream, check(history).seq) == (row.stream, row.seq + 1)


def test_a_stream_that_never_was_has_no_head(history: Path) -> None:
    sql(history, "INSERT INTO streams VALUES ('run:ghost', 0, ?, 't')", "a" * 64)
    assert check(history).stream == "run:ghost"


def set_to(**facts: Any) -> Change:
    return lambda event: event["data"].update(facts)


ALLOW = {"decision": "allow"}


@pytest.mark.parametrize(
    ("type_", "change"),
    [
        ("FC-RUN-001", set_to(run_id="another")),
        ("FC-RUN-001", set_to(definition_hash="f" * 64)),
        ("FC-RUN-002", set_to(new_status="paused")),
        ("FC-POLICY-001", set_to(reason="somebody said so")),
        ("FC-POLICY-001", set_to(duration_us=1)),
        ("FC-STEP-001", set_to(input_hash="f" * 64)),
        ("FC-STEP-001", set_to(decision_hash="f" * 64)),
        ("FC-STEP-001", set_to(idempotency_key="mine")),
        ("FC-STEP-001", set_to(attempt=2)),
        ("FC-STEP-002", set_to(output_hash="f" * 64)),
        ("FC-STEP-002", set_to(receipt_hash="f" * 64)),
        ("FC-STEP-003", set_to(attempt=9)),
        ("FC-STEP-004", set_to(attempt=9)),
        ("FC-STEP-006", set_to(step_id="first")),
        ("FC-STEP-007", set_to(items=4)),
        ("FC-STEP-007", set_to(items_hash="f" * 64)),
        ("FC-GATE-001", set_to(required_approvers=["intruder"])),
        ("FC-GATE-001", set_to(gate_id="another")),
        ("FC-GATE-002", set_to(gate_status="approved", decision="approved", reason="I say so")),
        ("FC-GATE-003", set_to(input_hash="f" * 64)),
        ("FC-GATE-003", lambda event: event.update(actor="intruder")),
        ("FC-GATE-005", set_to(reason=" ")),
        ("FC-STEP-001", lambda event: event.update(tenant="other")),
        ("FC-STEP-001", lambda event: event.update(at="2020-01-01T00:00:00.000000Z")),
        ("FC-STEP-001", lambda event: event.update(type="FC-NONE-001")),
        ("FC-WF-001", set_to(fraction=1.0)),
    ],
)
def test_a_life_that_is_not_lawful_is_found_behind_true_hashes(
    history: Path, type_: str, change: Change
) -> None:
    row = find(history, type_, inside=type_ != "FC-WF-001")
    forge(history, row, change)
    report = check(history)
    assert report.error is not None
    assert report.stream == row.stream
    assert report.seq is not None
    assert row.seq <= report.seq
    [position] = sql(
        history,
        "SELECT position FROM events WHERE stream = ? AND seq = ?",
        row.stream,
        report.seq,
    )
    assert report.position == position[0]


def test_what_was_denied_cannot_be_turned_into_an_allow(history: Path) -> None:
    rows = sql(
        history,
        "SELECT * FROM events WHERE type = 'FC-POLICY-001' AND body LIKE '%\"decision\":\"deny\"%'",
    )
    assert rows
    for row in (Row(*r) for r in rows):
        if row.stream.startswith("run:"):
            forge(history, row, set_to(**ALLOW))
            assert check(history).stream == row.stream
            forge(history, row, set_to(decision="deny"))
            assert check(history).error is None


def test_a_step_cannot_be_added_to_a_run(history: Path) -> None:
    started = find(history, "FC-STEP-001")
    [stream] = sql(history, "SELECT 'run:' || run_id FROM runs WHERE status = 'running'")
    data = json.loads(started.body)["data"]
    row = add(history, stream[0], "FC-STEP-001", data)
    assert_names(history, row)


def test_nothing_is_added_to_a_run_that_has_ended(history: Path) -> None:
    ended = find(history, "FC-RUN-003", inside=False)
    row = add(history, ended.stream, "FC-RUN-003", json.loads(ended.body)["data"])
    assert_names(history, row, "cannot be")


def test_a_changed_payload_is_named_by_its_stream(history: Path) -> None:
    stream, digest = sql(history, "SELECT stream, hash FROM payloads WHERE salt IS NULL")[3]
    statement = "UPDATE payloads SET value = value || ' ' WHERE stream = ? AND hash = ?"
    sql(history, statement, stream, digest)
    report = check(history)
    assert report.stream == stream
    assert digest in str(report.error)


@pytest.mark.parametrize(
    "harm",
    [
        "value = value || ' '",
        "value = CAST(X'FF' AS TEXT)",
        "value = X'7B7D'",
        "salt = substr(salt, 2) || '0'",
        "salt = NULL",
        "salt = ''",
        "salt = 'not hex'",
        "salt = X'00'",
        "hash = substr(hash, 2) || 'x'",
    ],
)
def test_a_changed_salted_payload_is_named_by_its_stream(history: Path, harm: str) -> None:
    row, stream = sql(history, "SELECT rowid, stream FROM payloads WHERE salt IS NOT NULL")[0]
    sql(history, f"UPDATE payloads SET {harm} WHERE rowid = ?", row)
    report = check(history)
    assert report.stream == stream
    assert "payload" in str(report.error)


def test_each_object_that_is_changed_is_found(history: Path) -> None:
    for digest, body in sql(history, "SELECT hash, body FROM objects"):
        sql(history, "UPDATE objects SET body = body || ' ' WHERE hash = ?", digest)
        assert digest in str(check(history).error)
        sql(history, "UPDATE objects SET body = ? WHERE hash = ?", body, digest)
    assert check(history).error is None


def test_a_definition_that_is_missing_is_found(history: Path) -> None:
    created = find(history, "FC-RUN-001")
    digest = json.loads(created.body)["data"]["definition_hash"]
    sql(history, "DELETE FROM objects WHERE hash = ?", digest)
    assert_names(history, created, "is missing")


def test_a_log_whose_end_was_cut_off_is_shorter_than_what_was_signed(history: Path) -> None:
    """With the recorded head of the stream set back, nothing but the checkpoint tells."""
    last = log(history)[-1]
    previous = json.loads(last.body)["prev"]
    assert previous != ZERO_HASH
    sql(history, "DELETE FROM events WHERE position = ?", last.position)
    statement = "UPDATE streams SET next_seq = ?, head = ? WHERE stream = ?"
    sql(history, statement, last.seq, previous, last.stream)
    report = check(history)
    assert (report.code, report.position) == ("INCONSISTENT", last.position)


def test_an_event_that_was_written_anew_with_all_after_it_is_not_what_was_signed(
    history: Path,
) -> None:
    registered = find(history, "FC-WF-001", inside=False)
    forge(history, registered, lambda event: event.update(actor="somebody else"))
    report = check(history)
    assert report.code == "ROOT_MISMATCH"
    assert report.position is not None
    assert report.position >= registered.position


def test_streams_that_were_mixed_in_another_order_are_not_what_was_signed(history: Path) -> None:
    rows = log(history)
    first, second = next(pair for pair in pairwise(rows) if pair[0].stream != pair[1].stream)
    for old, new in ((first.position, -1), (second.position, first.position)):
        sql(history, "UPDATE events SET position = ? WHERE position = ?", new, old)
    sql(history, "UPDATE events SET position = ? WHERE position = -1", second.position)
    assert check(history).code == "ROOT_MISMATCH"


def test_a_payload_that_is_gone_and_was_not_erased_is_missing(history: Path) -> None:
    stream, digest = sql(history, "SELECT stream, hash FROM payloads LIMIT 1")[0]
    sql(history, "DELETE FROM payloads WHERE stream = ? AND hash = ?", stream, digest)
    report = check(history)
    assert (report.code, report.stream) == ("PAYLOAD_MISSING", stream)


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("UPDATE checkpoints SET root = replace(root, '0', '1')", "BAD_SIGNATURE"),
        ("UPDATE checkpoints SET note = replace(note, '=', '')", "BAD_SIGNATURE"),
        ("UPDATE meta SET value = value || 'x' WHERE key = 'log'", "CHAIN_BROKEN"),
        ("UPDATE meta SET value = 'x' WHERE key = 'signing_key'", "KEY_EPOCH"),
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT 1; END", "ILLEGAL_TRANSITION"),
        ("DELETE FROM objects WHERE body LIKE '%permit%'", "FILE_MISSING"),
        ("UPDATE tiles SET root = 'x'", "ROOT_MISMATCH"),
    ],
    ids=["root", "note", "name", "key", "trigger", "object", "tile"],
)
def test_what_stands_beside_the_events_is_held_against_them(
    history: Path, harm: str, code: str
) -> None:
    sql(history, harm)
    assert check(history).code == code


def test_a_checkpoint_that_was_seen_before_is_what_the_log_begins_with(history: Path) -> None:
    [(first,)] = sql(history, "SELECT note FROM checkpoints ORDER BY size LIMIT 1")
    [(last,)] = sql(history, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
    for note in (first, last):
        assert audit(history / DATABASE, seen=note.encode()).error is None


async def test_a_log_that_was_rolled_back_and_grew_another_future_is_not_the_one_seen(
    tmp_path: Path,
) -> None:
    """The operator holds the key, and signs the other future as well: what the auditor has seen
    tells all the same."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    async with core(ours) as fc:
        await until(fc, await begin(fc, py("s")))
    shutil.copytree(ours, theirs)
    for folder in (ours, theirs):
        async with core(folder) as fc:
            await until(fc, await start(fc))
    [(seen,)] = sql(ours, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
    assert check(ours).error is None
    assert check(theirs).error is None
    assert audit(ours / DATABASE, seen=seen.encode()).error is None
    assert audit(theirs / DATABASE, seen=seen.encode()).code == "INCONSISTENT"
