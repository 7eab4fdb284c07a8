"""When a tenant had its turn last, found at once."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("models_by_start", "models", ["tenant", "start_time"])
    op.create_index("evaluations_by_end", "evaluations", ["tenant", "end_time"])


def downgrade() -> None:
    op.drop_index("evaluations_by_end", "evaluations")
    op.drop_index("models_by_start", "models")
