"""Evaluations of models on further datasets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evaluations",
        sa.Column("tenant", sa.String(100), primary_key=True),
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("dataset", sa.String(100), nullable=False),
        sa.Column("dataset_content_hash", sa.String(64), nullable=False),
        sa.Column("split", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("result", sa.JSON()),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("not_before", UtcDateTime()),
        sa.Column("end_time", UtcDateTime()),
        sa.Column("owner", sa.String(200)),
        sa.Column("lease_until", UtcDateTime()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
    )
    op.create_index("evaluations_by_state", "evaluations", ["state", "create_time"])
    op.create_index("evaluations_by_time", "evaluations", ["tenant", "model", "create_time", "id"])


def downgrade() -> None:
    op.drop_table("evaluations")
