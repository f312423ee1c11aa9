"""What a test counted, for whoever makes the table of faults: a line of JSON for each test in the
file that the environment variable `FAULTS_COUNTS` names."""

import json
import os
from pathlib import Path

from tests.faults.invariants import Findings

__all__ = ["count"]


def count(
    fault: str,
    how: str,
    test: str,
    found: Findings,
    *,
    kills: int,
    database: str = "postgresql",
    engine: str = "local",
) -> None:
    """`fault` is a key of `report.FAULTS`."""
    where = os.environ.get("FAULTS_COUNTS")
    if where is None:
        return
    row = {
        "fault": fault,
        "how": how,
        "test": test,
        "database": database,
        "engine": engine,
        "runs": found.runs,
        "kills": kills,
        "events_lost": len(found.lost),
        "effects_doubled": len(found.doubled),
    }
    with Path(where).open("a") as file:
        file.write(json.dumps(row) + "\n")
