"""The Merkle tree over the log, its checkpoints, and the evidence packs that were made."""

import sqlalchemy as sa
from alembic import op

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "tiles",
        sa.Column("level", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("root", TEXT, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("root", TEXT, nullable=False),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("cosignatures", TEXT, nullable=False),
        sa.Column("witnesses", sa.BigInteger, nullable=False),
        sa.Column("signed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "packs",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("hash", TEXT, primary_key=True),
        sa.Column("checkpoint_size", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
    )
    _grow_tree()


def _grow_tree() -> None:
    """The full tiles of a log that was begun without a tree."""
    from federation_core.ledger.tree import LogTree

    connection = op.get_bind()
    page = sa.text(
        "SELECT position, hash FROM events WHERE position >= :first ORDER BY position LIMIT 4096"
    )
    tree = LogTree()
    while rows := connection.execute(page, {"first": tree.size}).all():
        full = [tile for row in rows for tile in tree.append(bytes.fromhex(row.hash))]
        for level, number, root in full:
            connection.execute(
                sa.text("INSERT INTO tiles (level, number, root) VALUES (:l, :n, :r)"),
                {"l": level, "n": number, "r": root.hex()},
            )
