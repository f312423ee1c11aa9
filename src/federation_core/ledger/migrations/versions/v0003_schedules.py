"""Schedules: when which of them ticks next."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("schedule_id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("doc", sa.Text, nullable=False),
    )
    set_only = sa.text("next_at IS NOT NULL")
    op.create_index(
        "schedules_by_next",
        "schedules",
        ["next_at"],
        sqlite_where=set_only,
        postgresql_where=set_only,
    )
