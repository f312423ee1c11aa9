"""Child runs: which step waits for which run, and which runs execute a step of another."""

import sqlalchemy as sa
from alembic import op

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table, column in (("runs", "executes_for"), ("steps", "awaits")):
        op.add_column(table, sa.Column(column, TEXT))
        set_only = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"{table}_by_{column}",
            table,
            [column],
            sqlite_where=set_only,
            postgresql_where=set_only,
        )
