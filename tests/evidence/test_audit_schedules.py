"""The streams of schedules are audited: the chain, what may follow what, the runs, the values."""

from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import DATABASE, Clock, core, sql
from tests.schedule_helpers import minute, ticking

from federation_core.errors import IntegrityError
from federation_core.evidence.audit import AuditReport, audit
from federation_core.ledger import Append, Ledger, queries
from federation_core.ledger.maintenance import rebuild
from federation_core.spine.actor import SYSTEM
from federation_core.spine.envelope import seal
from federation_core.spine.schedule import schedule_stream, tick_run_id
from federation_core.spine.times import from_rfc3339

STREAM = schedule_stream("default", "s")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A schedule that has ticked twice."""
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        await ticking(fc, input_payload={"n": 1})
        clock.forward(120)
        await fc._scheduler.turn()
    return tmp_path


def audited(folder: Path) -> AuditReport:
    return audit(folder / DATABASE)


async def forged(folder: Path, code: str, data: dict[str, Any]) -> None:
    """One more event of the schedule, written by somebody who has the server's own code."""
    ledger = await Ledger.open(folder / DATABASE)
    head = await ledger.read(queries.head, STREAM)
    event = seal(
        log=ledger.log,
        stream=STREAM,
        tenant="default",
        head=head,
        code=code,
        data=data,
        actor=SYSTEM,
        at=from_rfc3339(minute(3)),
    )
    await ledger.append(Append(STREAM, "default", head, [event]))
    await ledger.close()


def ticked(number: int, **facts: Any) -> dict[str, Any]:
    run_id = tick_run_id("default", "s", from_rfc3339(minute(number)))
    usual = {"outcome": "created", "run_id": run_id, "next_at": minute(number + 1)}
    return {"schedule_id": "s", "at": minute(number), **usual, **facts}


def test_an_honest_one_holds(folder: Path) -> None:
    assert audited(folder).error is None


ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "a tick is told twice": ("FC-SCHED-003", ticked(2)),
    "a tick is passed over in silence": ("FC-SCHED-003", ticked(4)),
    "a run of another tick": ("FC-SCHED-003", ticked(3, run_id=ticked(2)["run_id"])),
    "a run that was never created": ("FC-SCHED-003", ticked(3)),
    "an event of a run": ("FC-RUN-002", {}),
    "a member too many": ("FC-SCHED-002", {"schedule_id": "s", "by": "nobody"}),
}


@pytest.mark.parametrize("what", ATTACKS)
async def test_what_cannot_be_is_named(folder: Path, what: str) -> None:
    await forged(folder, *ATTACKS[what])
    report = audited(folder)
    assert (report.code, report.stream) == ("ILLEGAL_TRANSITION", STREAM), report
    if what != "a run that was never created":  # which a rebuild of rows does not look for
        with pytest.raises(IntegrityError) as caught:
            rebuild(folder / DATABASE)
        assert (caught.value.facts["stream"], caught.value.facts["seq"]) == (STREAM, report.seq)


def test_a_changed_event_breaks_the_chain(folder: Path) -> None:
    sql(
        folder,
        "UPDATE events SET body = replace(body, 'created', 'refused') "
        "WHERE stream = ? AND type = 'FC-SCHED-003'",
        STREAM,
    )
    report = audited(folder)
    assert (report.code, report.stream) == ("CHAIN_BROKEN", STREAM)


def test_a_tick_that_was_removed_leaves_a_hole(folder: Path) -> None:
    sql(folder, "DELETE FROM events WHERE stream = ? AND seq = 2", STREAM)
    assert audited(folder).code == "INDEX_RANGE"


def test_a_value_that_is_gone_and_was_not_erased_is_missing(folder: Path) -> None:
    sql(folder, "DELETE FROM payloads WHERE stream = ? AND value LIKE '%n%'", STREAM)
    report = audited(folder)
    assert (report.code, report.stream) == ("PAYLOAD_MISSING", STREAM)
