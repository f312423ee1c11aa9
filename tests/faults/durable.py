"""The list of every durable write, by name, and the chapter in which it is tried.

`test_each_write` plays every chapter and compares: a write that is not named here fails it, and so
does a name that no chapter makes. Whoever adds a table, an event type or a file says here which
chapter of `chapters.py` brings it about, and is told by the tests what a crash beside it does.
"""

__all__ = ["ATTENDANT", "COMMITS", "MAY_END", "ON_POSTGRESQL", "TRIED_IN"]

_FILES = {
    "make folder data": "first_start",
    "open .secret-*": "first_start",
    "fsync .secret-*": "first_start",
    "link secret.key": "first_start",
    "remove .secret-*": "first_start",
    "open fedcore.lock": "first_start",
    "truncate fedcore.lock": "first_start",
    "write fedcore.lock": "first_start",
    "link signing.key": "first_start",
    "fsync folder": "first_start",
    "link signing.key.next": "administration",
    "remove signing.key.next": "administration",
    "rename signing.key.next to signing.key": "administration",
    "open pack.zip.*.part": "evidence",
    "fsync pack.zip.*.part": "evidence",
    "rename pack.zip.*.part to pack.zip": "evidence",
    "remove pack.zip.*.part": "evidence",
    "make folder witness": "witnessed",
    "link witness.key": "witnessed",
}
_DATABASES = {
    "make database fedcore.db": "first_start",
    "journal_mode of fedcore.db": "first_start",
    "close database fedcore.db": "first_start",
    "wal_checkpoint of fedcore.db": "evidence",
    "make database witness.db": "witnessed",
    "journal_mode of witness.db": "witnessed",
    "close database witness.db": "witnessed",
}
_ROWS = {
    "rows of alembic_version": "first_start",
    "schema": "witnessed",
    "rows of meta": "first_start",
    "rows of objects": "first_start",
    "rows of checkpoints": "first_start",
    "rows of answers": "administration",
    "rows of packs": "evidence",
    "rows of tiles": "tile",
    "delete payloads": "evidence",
    "delete runs": "rebuilding",
    "rows of identity": "witnessed",
    "rows of logs": "witnessed",
}
_EVENTS = {
    "FC-RUN-001": "work",
    "FC-RUN-002": "work",
    "FC-RUN-003": "work",
    "FC-POLICY-001": "work",
    "FC-POLICY-002": "administration",
    "FC-STEP-001": "work",
    "FC-STEP-002": "work",
    "FC-STEP-003": "work",
    "FC-STEP-004": "work",
    "FC-STEP-005": "doubt",
    "FC-STEP-006": "work",
    "FC-STEP-007": "fan",
    "FC-STEP-008": "kin",
    "FC-GATE-001": "work",
    "FC-GATE-002": "reported",
    "FC-GATE-003": "work",
    "FC-GATE-004": "people",
    "FC-GATE-005": "people",
    "FC-AUTH-001": "people",
    "FC-WF-001": "registration",
    "FC-SCHED-001": "scheduled",
    "FC-SCHED-002": "scheduled",
    "FC-SCHED-003": "scheduled",
    "FC-SCHED-004": "scheduled",
    "FC-KEY-001": "administration",
    "FC-DATA-001": "evidence",
}

TRIED_IN = _FILES | _DATABASES | _ROWS | _EVENTS
"""Name → the chapter in which a process is killed before and after the first write of that name."""

ATTENDANT = {
    "rows of events": "FC-RUN-001",
    "rows of streams": "FC-RUN-001",
    "rows of payloads": "FC-RUN-001",
    "rows of runs": "FC-RUN-001",
    "rows of steps": "FC-STEP-001",
    "rows of gates": "FC-GATE-001",
    "rows of workflows": "FC-WF-001",
    "rows of schedules": "FC-SCHED-001",
    "change answers": "delete payloads",
    "change alembic_version": "rows of alembic_version",
    **{
        f"delete {table}": "delete runs"
        for table in ("streams", "tiles", "steps", "gates", "workflows", "schedules")
    },
}
"""Names that only ever stand beside another one, in one transaction: to be killed at that is to be
killed at this. Beside which, for a reader."""

ON_POSTGRESQL = {
    "rows of nodes": "test_postgresql",
    "delete nodes": "test_postgresql",
    "change nodes": "test_postgresql",
}
"""What only a ledger that is shared writes, beside the first append of a node and some others."""

COMMITS = _ROWS.keys() | _EVENTS.keys()
"""Writes that are a transaction of a database, which can fail."""

MAY_END = frozenset(
    {
        *("rows of alembic_version", "rows of meta", "rows of objects", "FC-POLICY-002"),
        *("delete runs", "schema", "rows of identity"),
    }
)
"""Commits without which a process cannot start, or do what it was started for."""
