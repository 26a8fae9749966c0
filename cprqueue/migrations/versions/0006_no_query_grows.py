"""Indexes by which no query of the work grows with the number of jobs.

The claim of a batch reads its rows in their order, past those that wait for a fetch to close.
The index of ``active`` goes: most jobs are of one kind, and SQLite took it before that of a name.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_links_queue", "links", ["state", "due_run_id", "next_attempt_at", "job_id"])
    op.drop_index("ix_links_state_next_attempt_at", "links")
    op.create_index("ix_jobs_seen_run_id_sighting", "jobs", ["seen_run_id", "sighting"])
    op.drop_index("ix_jobs_seen_run_id", "jobs")
    op.drop_index("ix_jobs_active", "jobs")
    op.create_index("ix_call_slots_used_at_ms", "call_slots", ["used_at_ms"])


def downgrade() -> None:
    op.drop_index("ix_call_slots_used_at_ms", "call_slots")
    op.create_index("ix_jobs_active", "jobs", ["active"])
    op.create_index("ix_jobs_seen_run_id", "jobs", ["seen_run_id"])
    op.drop_index("ix_jobs_seen_run_id_sighting", "jobs")
    op.create_index("ix_links_state_next_attempt_at", "links", ["state", "next_attempt_at"])
    op.drop_index("ix_links_queue", "links")
