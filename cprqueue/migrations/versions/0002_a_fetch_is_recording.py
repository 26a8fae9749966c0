"""The state of a fetch whose messages are out is called "recording"; it was "emitted"."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_runs = sa.table("runs", sa.column("state", sa.String))


def upgrade() -> None:
    _rename("emitted", "recording")


def downgrade() -> None:
    _rename("recording", "emitted")


def _rename(old: str, new: str) -> None:
    op.execute(sa.update(_runs).where(_runs.c.state == old).values(state=new))
