"""The first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cprqueue.store.tables import UtcDateTime, text_of
from cprqueue.store.views import VIEWS, CreateView, DropView

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "call_slots",
    "events",
    "jobs",
    "links",
    "locks",
    "plan_items",
    "qbt_export",
    "runs",
    "state",
)


def upgrade() -> None:
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        # Whatever the server's default is: every character fits, and "e" is not "é" or "E".
        op.execute("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    op.create_table(
        "call_slots",
        sa.Column("slot_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot_id", name=op.f("pk_call_slots")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("kind", text_of(20), nullable=False),
        sa.Column("text", text_of(1000), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_job_id"), ["job_id"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_number", text_of(255), nullable=False),
        sa.Column("name_key", text_of(255), nullable=False),
        sa.Column("job_name", text_of(255), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=True),
        sa.Column("status", text_of(255), nullable=False),
        sa.Column("progress", text_of(255), nullable=False),
        sa.Column("addr1", text_of(255), nullable=False),
        sa.Column("addr2", text_of(255), nullable=False),
        sa.Column("city", text_of(255), nullable=False),
        sa.Column("state", text_of(255), nullable=False),
        sa.Column("zip", text_of(255), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("rule", text_of(1000), nullable=False),
        sa.Column("content_hash", text_of(64), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("first_run_id", sa.BigInteger(), nullable=False),
        sa.Column("seen_run_id", sa.BigInteger(), nullable=False),
        sa.Column("complete_run_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_active"), ["active"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_jobs_complete_run_id"), ["complete_run_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_jobs_name_key"), ["name_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_seen_run_id"), ["seen_run_id"], unique=False)

    op.create_table(
        "links",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", text_of(16), nullable=False),
        sa.Column("jobcode_id", sa.BigInteger(), nullable=True),
        sa.Column("location_id", sa.BigInteger(), nullable=True),
        sa.Column("held", text_of(), nullable=True),
        sa.Column("held_key", text_of(255), nullable=False),
        sa.Column("wanted_hash", text_of(64), nullable=False),
        sa.Column("pushed_hash", text_of(64), nullable=False),
        sa.Column("pushed_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_since", UtcDateTime(), nullable=True),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("lease", text_of(36), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("intent", text_of(20), nullable=True),
        sa.Column("intent_at", UtcDateTime(), nullable=True),
        sa.Column("look", text_of(10), nullable=True),
        sa.Column("error_code", text_of(40), nullable=True),
        sa.Column("error_reason", text_of(1000), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_links")),
    )
    with op.batch_alter_table("links", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_links_held_key"), ["held_key"], unique=False)
        batch_op.create_index("ix_links_lease", ["lease"], unique=False)
        batch_op.create_index(
            "ix_links_state_next_attempt_at", ["state", "next_attempt_at"], unique=False
        )
        batch_op.create_index(
            "uq_links_jobcode_id",
            ["jobcode_id"],
            unique=True,
            mssql_where=sa.text("jobcode_id IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_links_location_id",
            ["location_id"],
            unique=True,
            mssql_where=sa.text("location_id IS NOT NULL"),
        )

    op.create_table(
        "locks",
        sa.Column("name", text_of(40), nullable=False),
        sa.Column("holder", text_of(36), nullable=True),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
    )
    op.create_table(
        "plan_items",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("job_number", text_of(255), nullable=False),
        sa.Column("jobcode_id", sa.BigInteger(), nullable=False),
        sa.Column("name", text_of(255), nullable=False),
        sa.Column("reason", text_of(1000), nullable=False),
        sa.Column("state_before", text_of(), nullable=False),
        sa.Column("outcome", text_of(20), nullable=False),
        sa.Column("outcome_at", UtcDateTime(), nullable=True),
        sa.Column("note", text_of(1000), nullable=True),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_plan_items")),
    )
    with op.batch_alter_table("plan_items", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_plan_items_run_id"), ["run_id"], unique=False)
        batch_op.create_index(
            "uq_plan_items_run_id_jobcode_id", ["run_id", "jobcode_id"], unique=True
        )

    op.create_table(
        "qbt_export",
        sa.Column("row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("jobcode_id", sa.BigInteger(), nullable=True),
        sa.Column("name", text_of(255), nullable=False),
        sa.Column("name_key", text_of(255), nullable=False),
        sa.Column("type", text_of(40), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("jobcode_active", sa.Boolean(), nullable=True),
        sa.Column("assigned_to_all", sa.Boolean(), nullable=True),
        sa.Column("has_children", sa.Boolean(), nullable=True),
        sa.Column("short_code", text_of(255), nullable=False),
        sa.Column("jobcode_modified_at", UtcDateTime(), nullable=True),
        sa.Column("location_id", sa.BigInteger(), nullable=True),
        sa.Column("addr1", text_of(255), nullable=False),
        sa.Column("addr2", text_of(255), nullable=False),
        sa.Column("city", text_of(255), nullable=False),
        sa.Column("state", text_of(255), nullable=False),
        sa.Column("zip", text_of(255), nullable=False),
        sa.Column("location_active", sa.Boolean(), nullable=True),
        sa.Column("location_modified_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_qbt_export")),
    )
    with op.batch_alter_table("qbt_export", schema=None) as batch_op:
        batch_op.create_index(
            "ix_qbt_export_run_id_jobcode_id", ["run_id", "jobcode_id"], unique=False
        )
        batch_op.create_index(
            "ix_qbt_export_run_id_location_id", ["run_id", "location_id"], unique=False
        )
        batch_op.create_index("ix_qbt_export_run_id_name_key", ["run_id", "name_key"], unique=False)

    op.create_table(
        "runs",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", text_of(64), nullable=False),
        sa.Column("kind", text_of(16), nullable=False),
        sa.Column("state", text_of(16), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("requested_by", text_of(40), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("observed_at", UtcDateTime(), nullable=True),
        sa.Column("touched_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("emitted", sa.Integer(), nullable=False),
        sa.Column("recorded", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("note", text_of(1000), nullable=True),
        sa.Column("detail", text_of(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("key", name=op.f("uq_runs_key")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_kind_state", ["kind", "state"], unique=False)

    op.create_table(
        "state",
        sa.Column("name", text_of(40), nullable=False),
        sa.Column("value", text_of(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_state")),
    )
    for view in VIEWS:
        op.execute(CreateView(view))


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(DropView(view))
    for table in TABLES:
        op.drop_table(table)
