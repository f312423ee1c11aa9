"""The Merkle tree over the log, its checkpoints, and the evidence packs that were made."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "tiles",
        sa.Column("level", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("root", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("cosignatures", sa.Text, nullable=False),
        sa.Column("witnesses", sa.BigInteger, nullable=False),
        sa.Column("signed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "packs",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("checkpoint_size", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
    )
    _grow_tree()


def _grow_tree() -> None:
    """The full tiles of a log that was begun without a tree."""
    from federation_core.ledger.tree import LogTree

    connection = op.get_bind()
    rows = connection.execution_options(stream_results=True).exec_driver_sql(
        "SELECT hash FROM events ORDER BY position"
    )
    tree = LogTree()
    while page := rows.fetchmany(4096):
        full = [tile for (digest,) in page for tile in tree.append(bytes.fromhex(digest))]
        for level, number, root in full:
            connection.execute(
                sa.text("INSERT INTO tiles (level, number, root) VALUES (:l, :n, :r)"),
                {"l": level, "n": number, "r": root.hex()},
            )
