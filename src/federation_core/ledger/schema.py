"""The tables.

`events`, `payloads`, `objects`, `checkpoints` and `meta` are the record. `tiles` and the
projections follow from it, and `rebuild` can drop them and make them again. `answers` and `packs`
only remember: what was answered to an idempotency key, and which evidence packs were made. `nodes`
are the processes that write to it now."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, text
from sqlalchemy import Text as AnyText

__all__ = [
    "SCHEMA_HEAD",
    "answers",
    "checkpoints",
    "events",
    "gates",
    "meta",
    "metadata",
    "nodes",
    "objects",
    "packs",
    "payloads",
    "runs",
    "schedules",
    "steps",
    "streams",
    "tiles",
    "workflows",
]

SCHEMA_HEAD = "0005"
"""The migration that `metadata` describes."""

metadata = MetaData()

Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")
"""Ordered by its bytes, whatever language the database was made for."""

Position = BigInteger().with_variant(Integer, "sqlite")
"""SQLite calls its own row number INTEGER only."""

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    # The leaf index in the log: commit order, from 0, without holes.
    Column("position", Position, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("events_by_stream", "stream", "seq", unique=True),
)

streams = Table(
    "streams",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("next_seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
    Column("tenant", Text, nullable=False),
)

tiles = Table(
    "tiles",
    metadata,
    # Row (L, N) is the root of the leaves [N·256^(L+1), (N+1)·256^(L+1)): the hash of a full tile.
    Column("level", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("root", Text, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Position, primary_key=True),
    Column("root", Text, nullable=False),
    Column("note", Text, nullable=False),
    # Further signature lines of the note, from witnesses, and how many of them there are.
    Column("cosignatures", Text, nullable=False),
    Column("witnesses", BigInteger, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
)

packs = Table(
    "packs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("checkpoint_size", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),
)

payloads = Table(
    "payloads",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("salt", Text),
    Column("value", Text, nullable=False),
)

objects = Table(
    "objects",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    # When the engine has to look at the run again (microseconds); null where only people bring it
    # on. Written with its cause, so that no wake-up is lost in a crash.
    Column("wake_at", BigInteger),
    Column("doc", Text, nullable=False),
    # A node that is executing a step of it; null where none is, or where there is but one node.
    Column("node", Text),
    # The run of whose step this one is the execution, until it has ended.
    Column("executes_for", Text),
    Index("runs_by_tenant", "tenant", "run_id"),
    Index(
        "runs_by_wake",
        "wake_at",
        sqlite_where=text("wake_at IS NOT NULL"),
        postgresql_where=text("wake_at IS NOT NULL"),
    ),
    Index(
        "runs_by_executes_for",
        "executes_for",
        sqlite_where=text("executes_for IS NOT NULL"),
        postgresql_where=text("executes_for IS NOT NULL"),
    ),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("step_index", BigInteger, primary_key=True),
    Column("doc", Text, nullable=False),
    # The child run that the step waits for, as long as it does.
    Column("awaits", Text),
    Index(
        "steps_by_awaits",
        "awaits",
        sqlite_where=text("awaits IS NOT NULL"),
        postgresql_where=text("awaits IS NOT NULL"),
    ),
)

gates = Table(
    "gates",
    metadata,
    Column("gate_id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Index("gates_by_run", "run_id"),
    Index("gates_by_tenant", "tenant", "status"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("registered_at", Text, nullable=False),
    Column("doc", Text, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("node", Text, primary_key=True),
    Column("joined_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("fenced", BigInteger, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("schedule_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    # When it ticks next (microseconds); null where it does not.
    Column("next_at", BigInteger),
    Column("doc", Text, nullable=False),
    Index(
        "schedules_by_next",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
        postgresql_where=text("next_at IS NOT NULL"),
    ),
)

answers = Table(
    "answers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
)
