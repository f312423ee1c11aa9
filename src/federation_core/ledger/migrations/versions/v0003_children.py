"""Child runs: which step waits for which run, and which runs execute a step of another."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("executes_for", sa.Text))
    op.create_index(
        "runs_by_executes_for",
        "runs",
        ["executes_for"],
        sqlite_where=sa.text("executes_for IS NOT NULL"),
    )
    op.add_column("steps", sa.Column("awaits", sa.Text))
    op.create_index(
        "steps_by_awaits", "steps", ["awaits"], sqlite_where=sa.text("awaits IS NOT NULL")
    )
