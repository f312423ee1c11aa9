"""Wherever a process dies that ticks, each tick has one run in the end."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.children import child
from tests.core_helpers import Clock, core
from tests.schedule_helpers import minute, runs_by_tick, ticking

from federation_core.ledger.schedules import ticks_of

LATER = 12
"""Minutes after the beginning at which all are looked at again."""


async def recovered(folder: Path) -> None:
    clock = Clock()
    clock.forward(60 * LATER)
    async with core(folder, clock=clock) as fc:  # it verifies and rebuilds at the end
        await fc._scheduler.turn()
        assert await runs_by_tick(fc) == {minute(n): 1 for n in range(1, LATER + 1)}, folder
        told = await fc._parts.ledger.read(ticks_of, "default", "s", limit=100)
        assert [t.at for t in told] == [minute(n) for n in range(LATER, 0, -1)], folder
        assert {t.outcome for t in told} == {"created"}


def unrecorded(folder: Path) -> int:
    """Runs of ticks that are not recorded yet."""
    with closing(sqlite3.connect(folder / "fedcore.db")) as connection:
        query = "SELECT type, count(*) FROM events GROUP BY type"
        found = dict(connection.execute(query).fetchall())
    return int(found.get("FC-RUN-001", 0)) - int(found.get("FC-SCHED-003", 0))


async def test_wherever_the_server_dies_each_tick_has_one_run(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path / "base", clock=clock) as fc:
        await ticking(fc)
    with child("die_while_ticking", tmp_path) as it:
        told = it.lines()
    assert len(told) == 12
    assert all(re.search(" -9$", line) for line in told), told
    left = {
        path.name: unrecorded(path) for path in tmp_path.iterdir() if path.name.startswith("FC-")
    }
    # The moment that matters was met: the run is there, and nobody has written down the tick. (The
    # second record may be another's who came too late.)
    met = {name for name, count in left.items() if count}
    assert {"FC-RUN-001-after-1", "FC-SCHED-003-before-1"} <= met
    assert not any("003-after" in name or "001-before" in name for name in met), met
    for name in (*left, "again"):
        await recovered(tmp_path / name)
