"""What runs need to be paused, to take turns, to be estimated, and to have their end told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("estimate", sa.JSON(), nullable=True))
    for column in (
        sa.Column("search_name", sa.String(300), nullable=False, server_default=""),
        sa.Column("webhook_uri", sa.Text(), nullable=False, server_default=""),
        sa.Column("pause_requested", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("queue_time", UtcDateTime(), nullable=False, server_default="2000-01-01"),
    ):
        op.add_column("models", column)
    # Good enough for what was there before: SQLite knows the case of ASCII letters only.
    op.execute("UPDATE models SET search_name = lower(display_name), queue_time = create_time")
    op.drop_index("models_by_state", "models")
    op.create_index("models_by_state", "models", ["state", "queue_time"])
    op.create_index("models_by_lease", "models", ["lease_until"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("not_before", UtcDateTime()),
        sa.Column("owner", sa.String(200)),
        sa.Column("lease_until", UtcDateTime()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
    )
    op.create_index("deliveries_by_time", "deliveries", ["create_time"])


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_index("models_by_lease", "models")
    op.drop_index("models_by_state", "models")
    op.create_index("models_by_state", "models", ["state", "create_time"])
    for column in ("queue_time", "pause_requested", "webhook_uri", "search_name", "estimate"):
        op.drop_column("models", column)
