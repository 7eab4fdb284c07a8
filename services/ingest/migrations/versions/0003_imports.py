"""What a dataset is copied from, where it is imported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("sources", sa.JSON(), nullable=True))
    # The sweeps look for what is over.
    op.create_index("datasets_expiry", "datasets", ["expire_time"])


def downgrade() -> None:
    op.drop_index("datasets_expiry", "datasets")
    op.drop_column("datasets", "sources")
