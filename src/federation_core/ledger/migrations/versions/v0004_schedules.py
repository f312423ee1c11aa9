"""Schedules: when which of them ticks next."""

import sqlalchemy as sa
from alembic import op

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("schedule_id", TEXT, primary_key=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("doc", TEXT, nullable=False),
    )
    set_only = sa.text("next_at IS NOT NULL")
    op.create_index(
        "schedules_by_next",
        "schedules",
        ["next_at"],
        sqlite_where=set_only,
        postgresql_where=set_only,
    )
