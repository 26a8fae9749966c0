"""Each asking of RM has a number, and a job the number of the one that it was recorded from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_jobs = sa.table("jobs", sa.column("sighting", sa.BigInteger), sa.column("seen_run_id"))


def upgrade() -> None:
    op.add_column("runs", sa.Column("sighting", sa.BigInteger(), nullable=True))
    op.add_column(
        "jobs", sa.Column("sighting", sa.BigInteger(), nullable=False, server_default="0")
    )
    # What the version before sends is ordered by its run, see ``Sighting.of_run``.
    op.execute(sa.update(_jobs).values(sighting=_jobs.c.seen_run_id))


def downgrade() -> None:
    for table in ("jobs", "runs"):
        op.drop_column(table, "sighting", mssql_drop_default=True)
