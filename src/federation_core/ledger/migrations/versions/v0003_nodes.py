"""The nodes that share a ledger, and which of them is executing a run's steps."""

import sqlalchemy as sa
from alembic import op

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("node", TEXT, primary_key=True),
        sa.Column("joined_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("fenced", sa.BigInteger, nullable=False),
    )
    op.add_column("runs", sa.Column("node", TEXT))
