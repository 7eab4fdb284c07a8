"""When a job finished."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("finished", UtcDateTime))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("finished")
