"""The first schema."""

import sqlalchemy as sa
from alembic import op

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("stream", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
    )
    op.create_index("events_by_stream", "events", ["stream", "seq"], unique=True)
    op.create_table(
        "streams",
        sa.Column("stream", TEXT, primary_key=True),
        sa.Column("next_seq", sa.BigInteger, nullable=False),
        sa.Column("head", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
    )
    op.create_table(
        "payloads",
        sa.Column("stream", TEXT, primary_key=True),
        sa.Column("hash", TEXT, primary_key=True),
        sa.Column("salt", TEXT),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_table(
        "objects",
        sa.Column("hash", TEXT, primary_key=True),
        sa.Column("body", TEXT, nullable=False),
    )
    _projections()


def _projections() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("workflow_id", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("wake_at", sa.BigInteger),
        sa.Column("doc", TEXT, nullable=False),
    )
    op.create_index("runs_by_tenant", "runs", ["tenant", "run_id"])
    op.create_index(
        "runs_by_wake",
        "runs",
        ["wake_at"],
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "steps",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("step_index", sa.BigInteger, primary_key=True),
        sa.Column("doc", TEXT, nullable=False),
    )
    op.create_table(
        "gates",
        sa.Column("gate_id", TEXT, primary_key=True),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("doc", TEXT, nullable=False),
    )
    op.create_index("gates_by_run", "gates", ["run_id"])
    op.create_index("gates_by_tenant", "gates", ["tenant", "status"])
    op.create_table(
        "workflows",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("workflow_id", TEXT, primary_key=True),
        sa.Column("version", TEXT, primary_key=True),
        sa.Column("registered_at", TEXT, nullable=False),
        sa.Column("doc", TEXT, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("request_hash", TEXT, nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
    )
