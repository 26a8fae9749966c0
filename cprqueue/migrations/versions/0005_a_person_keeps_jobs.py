"""A person keeps the jobcode of a job: the prune holds it back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cprqueue.store.tables import UtcDateTime, text_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keeps",
        sa.Column("job_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("requested_by", text_of(255), nullable=False),
        sa.Column("kept_at", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime),
        sa.Column("because", text_of(1000), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_keeps"),
    )


def downgrade() -> None:
    op.drop_table("keeps")
