"""What datasets need to expire, to be appended to, searched, counted, and to keep their files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("expire_time", UtcDateTime(), nullable=True))
    op.add_column("datasets", sa.Column("raw", sa.JSON(), nullable=True))
    for column in (
        sa.Column("parent", sa.String(63), nullable=False, server_default=""),
        sa.Column("search_name", sa.String(300), nullable=False, server_default=""),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("row_count", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("datasets", column)
    # Good enough for what was there before: SQLite knows the case of ASCII letters only.
    op.execute("UPDATE datasets SET search_name = lower(display_name)")
    op.create_index("datasets_parent", "datasets", ["tenant", "parent"])


def downgrade() -> None:
    op.drop_index("datasets_parent", "datasets")
    for column in ("row_count", "stored_bytes", "search_name", "parent", "raw", "expire_time"):
        op.drop_column("datasets", column)
