"""Many appends, few commits: nothing is lost, reordered or mixed up on the way."""

import asyncio
from pathlib import Path

import pytest
from tests.ledger_helpers import answered, follow, held, log_of, stored

from federation_core.errors import Conflict, LedgerUnavailable, StaleAppend
from federation_core.evidence.audit import audit
from federation_core.ledger import Append, Ledger, Payload, queries
from federation_core.ledger.writer import MAX_BATCH
from federation_core.spine.canonical import ZERO_HASH
from federation_core.spine.envelope import Head

Outcome = BaseException | None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fedcore.db"


async def together(ledger: Ledger, path: Path, appends: list[Append]) -> list[Outcome]:
    """What becomes of `appends` when they are one batch: they gather while the writer, with an
    append of nothing in its hands, waits for somebody else to let go of the database."""
    with held(path):
        nothing = asyncio.ensure_future(ledger.append(Append("", "t", Head(), [])))
        await asyncio.sleep(0)
        while not ledger._writer._queue.empty():
            await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(ledger.append(a)) for a in appends]
        await asyncio.sleep(0)
    await nothing
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_appends_that_wait_share_a_commit(ledger: Ledger, path: Path) -> None:
    before = ledger.commits
    appends = [follow(ledger.log, f"made:{i}") for i in range(300)]
    assert await together(ledger, path, appends) == [None] * 300
    assert ledger.commits - before == 2  # of nothing, and of all
    assert len(await stored(ledger)) == 300


async def test_a_batch_has_a_limit(ledger: Ledger, path: Path) -> None:
    before = ledger.commits
    appends = [follow(ledger.log, f"made:{i}") for i in range(2 * MAX_BATCH + 1)]
    assert await together(ledger, path, appends) == [None] * len(appends)
    assert ledger.commits - before == 1 + 3


async def test_without_company_an_append_has_its_own_commit(ledger: Ledger) -> None:
    before = ledger.commits
    head: Append | None = None
    for _ in range(5):
        head = follow(ledger.log, "made:t", head)
        await ledger.append(head)
    assert ledger.commits - before == 5


async def test_positions_are_the_order_of_commits_without_holes(ledger: Ledger) -> None:
    told: list[str] = []

    async def write(stream: str) -> None:
        last: Append | None = None
        for _ in range(10):
            last = follow(ledger.log, stream, last, count=3)
            await ledger.append(last)
            told.extend(event.hash for event in last.events)

    before = ledger.commits
    await asyncio.gather(*(write(f"made:{i}") for i in range(50)))
    assert await stored(ledger) == told
    assert len(told) == 1_500
    assert ledger.commits - before < 500


async def test_one_stream_may_be_continued_before_its_last_append_is_durable(
    ledger: Ledger, path: Path
) -> None:
    appends = [follow(ledger.log, "made:t", count=2)]
    for _ in range(20):
        appends.append(follow(ledger.log, "made:t", appends[-1], count=2))
    assert await together(ledger, path, appends) == [None] * 21
    expected = [event.hash for append in appends for event in append.events]
    assert await stored(ledger) == expected
    assert await ledger.read(queries.head, "made:t") == appends[-1].head


async def test_a_stale_append_is_refused_and_its_batch_is_not(ledger: Ledger, path: Path) -> None:
    first = follow(ledger.log, "made:a")
    await ledger.append(first)
    appends = [
        follow(ledger.log, "made:a"),  # the stream has an event already
        follow(ledger.log, "made:b"),
        follow(ledger.log, "made:a", first),
        follow(ledger.log, "made:a", first, other=True),  # the one before it was quicker
        follow(ledger.log, "made:c", Head(0, "f" * 64)),  # follows what never was
        follow(ledger.log, "made:d", Head(1, ZERO_HASH)),
        follow(ledger.log, "made:e"),
    ]
    outcomes = await together(ledger, path, appends)
    stale = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, StaleAppend)]
    assert stale == [0, 3, 4, 5]
    assert [outcomes[i] for i in (1, 2, 6)] == [None] * 3
    expected = [first, appends[1], appends[2], appends[6]]
    assert await stored(ledger) == [a.events[0].hash for a in expected]


async def test_nothing_of_a_refused_append_is_stored(ledger: Ledger) -> None:
    await ledger.append(follow(ledger.log, "made:a"))
    stale = answered(follow(ledger.log, "made:a", number=2), "key")
    stale.payloads = [Payload("a" * 64, b'"stale"')]
    stale.objects = {"b" * 64: "stale"}
    stale.rows = {"workflows": [("t", "w", "1.0.0", "now", "{}")]}
    with pytest.raises(StaleAppend):
        await ledger.append(stale)
    assert await ledger.read(queries.payloads_of, "made:a", ["a" * 64]) == {}
    assert await ledger.read(queries.object_text, "b" * 64) is None
    assert await ledger.read(queries.workflow_row, "t", "w", "1.0.0") is None
    assert await ledger.read(queries.answer, "t", "key") is None


@pytest.mark.parametrize("at_once", [True, False])
async def test_of_two_appends_with_one_idempotency_key_one_is_stored(
    ledger: Ledger, path: Path, *, at_once: bool
) -> None:
    mine = [answered(follow(ledger.log, f"made:{i}"), "key", body=b"%d" % i) for i in range(8)]
    theirs = answered(follow(ledger.log, "made:other", tenant="other"), "key")
    if at_once:
        outcomes = await together(ledger, path, [*mine, theirs])
    else:
        tasks = (ledger.append(a) for a in (*mine, theirs))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, Conflict) and o.error_code == "key_taken"]
    assert len(refused) == 7
    assert outcomes[-1] is None
    winner = outcomes.index(None)
    answer = await ledger.read(queries.answer, "t", "key")
    assert answer is not None
    assert answer.body == b"%d" % winner
    assert set(await stored(ledger)) == {mine[winner].events[0].hash, theirs.events[0].hash}


async def test_a_later_form_of_an_answer_takes_the_place_of_the_first(ledger: Ledger) -> None:
    await ledger.append(answered(follow(ledger.log, "made:a"), "key", body=b'"created"'))
    await ledger.append(answered(Append("", "t", Head(), []), "key", body=b'"waited for"'))
    answer = await ledger.read(queries.answer, "t", "key")
    assert answer is not None
    assert answer.body == b'"waited for"'


async def test_whoever_watches_is_told_what_is_durable_and_in_order(
    ledger: Ledger, path: Path
) -> None:
    async with ledger.watch("made:a") as watch:
        assert isinstance(
            (await together(ledger, path, [follow(ledger.log, "made:a", Head(9, "a" * 64))]))[0],
            StaleAppend,
        )
        first = follow(ledger.log, "made:a")
        await together(ledger, path, [first, follow(ledger.log, "made:b")])
        assert await watch.next() is first
        assert (await ledger.read(queries.head, "made:a")) == first.head
        second = follow(ledger.log, "made:a", first)
        third = follow(ledger.log, "made:a", second)
        await together(ledger, path, [second, third])
        assert await watch.next() is third


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "fedcore.db")
    waiting = [
        asyncio.ensure_future(ledger.append(follow(ledger.log, f"made:{i}"))) for i in range(20)
    ]
    await asyncio.sleep(0)
    await ledger.close()
    assert await asyncio.gather(*waiting) == [None] * 20
    with pytest.raises(LedgerUnavailable):
        await ledger.append(follow(ledger.log, "made:late"))
    assert audit(tmp_path / "fedcore.db").events == 20


async def test_a_caller_who_goes_away_does_not_undo_what_was_handed_over(
    ledger: Ledger, path: Path
) -> None:
    gone, stays = follow(ledger.log, "made:a"), follow(ledger.log, "made:b")
    with held(path):
        tasks = [asyncio.ensure_future(ledger.append(a)) for a in (gone, stays)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1] is None
    rows = await ledger.read(log_of)
    assert [row.hash for row in rows] == [gone.events[0].hash, stays.events[0].hash]


async def test_a_bug_in_one_batch_does_not_end_the_writer(ledger: Ledger) -> None:
    broken = follow(ledger.log, "made:a")
    broken.rows = {"no such table": [("x",)]}
    with pytest.raises(LedgerUnavailable, match="KeyError"):
        await ledger.append(broken)
    await ledger.append(follow(ledger.log, "made:a"))
    assert len(await stored(ledger)) == 1
