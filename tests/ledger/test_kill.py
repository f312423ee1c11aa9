"""`kill -9`: what was acknowledged is there, and what is there holds."""

from pathlib import Path

import pytest
from tests.children import child
from tests.ledger_helpers import follow, log_of

from federation_core.evidence.audit import audit
from federation_core.ledger import Ledger, queries
from federation_core.ledger.maintenance import rebuild


@pytest.mark.parametrize("lines", [1, 40, 41, 333])
async def test_every_acknowledged_event_survives(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "fedcore.db"
    with child("append_for_ever", path) as writer:
        acknowledged = [writer.line() for _ in range(lines)]
        writer.kill()
        # What it had still said when the signal struck was acknowledged as well.
        acknowledged += writer.lines()
    told = {(s, int(seq), hash_) for s, seq, hash_ in (a.split() for a in whole(acknowledged))}
    assert len(told) >= lines
    ledger = await Ledger.open(path)
    rows = await ledger.read(log_of)
    assert told <= {(row.stream, row.seq, row.hash) for row in rows}
    assert [row.position for row in rows] == list(range(len(rows)))
    report = audit(path)
    assert report.error is None
    assert report.events == len(rows)
    # Each append was of two events, and is there whole or not at all.
    assert all(row.seq % 2 for row in {row.stream: row for row in rows}.values())
    head = await ledger.read(queries.head, "made:0")
    await ledger.append(follow(ledger.log, "made:0", head))
    await ledger.close()
    assert audit(path).events == len(rows) + 1
    assert rebuild(path).differences == []


def whole(lines: list[str]) -> list[str]:
    """Without a last line that the signal cut."""
    return [line for line in lines if len(line.split()) == 3 and len(line.split()[2]) == 64]
