"""A snapshot keeps whether QuickBooks Time could place an address; older ones do not say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cprqueue.store.tables import text_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("qbt_export", sa.Column("geocoding_status", text_of(40), nullable=True))


def downgrade() -> None:
    op.drop_column("qbt_export", "geocoding_status")
