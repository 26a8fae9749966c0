"""A link names the fetch on whose changes the brake on pushes has yet to decide."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("links", sa.Column("due_run_id", sa.BigInteger))
    op.create_index("ix_links_due_run_id", "links", ["due_run_id"])


def downgrade() -> None:
    """What was held is due again: the older version knows no such state."""
    links = sa.table("links", sa.column("state", sa.String), sa.column("error_code", sa.String))
    op.execute(sa.update(links).where(links.c.state == "held").values(state="due"))
    op.drop_index("ix_links_due_run_id", "links")
    op.drop_column("links", "due_run_id")
