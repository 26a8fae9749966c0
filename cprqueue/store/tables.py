"""The schema. Migrations in ``cprqueue/migrations`` build exactly this; a test compares them.

Times are naive UTC in the database and aware UTC in Python. No table needs a statement that
only one database understands.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
)
from sqlalchemy.dialects import mssql
from sqlalchemy.types import TypeDecorator, TypeEngine

from cprqueue.domain.states import Intent, LinkState, Outcome, RunKind, RunState, VerificationKind


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes with microseconds on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Ask for microseconds where the plain type would round them away."""
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects import mysql  # slow to import, and seldom needed

            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]  # SQLAlchemy's stub lacks it
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive values: they would be a guess.

        ODBC drivers cut fractions of a second off a datetime (MariaDB's all of it, FreeTDS
        microseconds), so they are given text, which a server reads in one way only.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime given to the database: say which time zone")
        moment = value.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(" ", "microseconds") if dialect.driver == "pyodbc" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back what was stored, marked as UTC."""
        return value.replace(tzinfo=UTC) if value is not None else None


BINARY = "Latin1_General_100_BIN2"
"""SQL Server's: "e" is not "E" or "é", as on the other databases; whatever its default is."""


def text_of(length: int | None = None) -> TypeEngine[str]:
    """Text of any language, up to ``length`` characters; without one, of any length.

    SQL Server's own word for the latter is outdated there, and cannot be compared.
    """
    plain = UnicodeText() if length is None else Unicode(length)
    return plain.with_variant(mssql.NVARCHAR(length, BINARY), "mssql")


class Word(TypeDecorator[str]):
    """Text that is one of the words of ``kind``; a driver is given plain text."""

    impl = Unicode
    cache_ok = True

    def __init__(self, kind: type[str], length: int) -> None:
        super().__init__(length)
        self.kind, self.length = kind, length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Do as ``text_of``."""
        return dialect.type_descriptor(text_of(self.length).dialect_impl(dialect))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Give the driver text: it may know no subclass of it."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Give back the word; raises ValueError for one that is unknown."""
        return None if value is None else self.kind(value)


# SQLite numbers rows by itself only for INTEGER, not for BIGINT.
Identity = BigInteger().with_variant(Integer(), "sqlite")

# Rows are added ``inline``, so that SQL Server is not asked for their numbers: it answers with
# OUTPUT, which it refuses on a table that has a trigger.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_number", text_of(255), nullable=False),
    Column("name_key", text_of(255), nullable=False, index=True),
    Column("job_name", text_of(255), nullable=False),
    Column("site_id", BigInteger),
    Column("status", text_of(255), nullable=False),
    Column("progress", text_of(255), nullable=False),
    Column("addr1", text_of(255), nullable=False),
    Column("addr2", text_of(255), nullable=False),
    Column("city", text_of(255), nullable=False),
    Column("state", text_of(255), nullable=False),
    Column("zip", text_of(255), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("rule", text_of(1000), nullable=False),
    Column("content_hash", text_of(64), nullable=False),
    Column("observed_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("first_run_id", BigInteger, nullable=False),
    Column("seen_run_id", BigInteger, nullable=False),
    Column("complete_run_id", BigInteger, nullable=False, index=True),
    Column("sighting", BigInteger, nullable=False, server_default="0"),
    Index("ix_jobs_seen_run_id_sighting", "seen_run_id", "sighting"),
)

links = Table(
    "links",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Word(LinkState, 16), nullable=False),
    Column("jobcode_id", BigInteger),
    Column("location_id", BigInteger),
    Column("held", text_of(), key="observed"),
    Column("held_key", text_of(255), nullable=False, default="", index=True, key="observed_key"),
    Column("wanted_hash", text_of(64), nullable=False, default="", key="desired_hash"),
    Column("pushed_hash", text_of(64), nullable=False, default=""),
    Column("pushed_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_since", UtcDateTime),
    Column("next_attempt_at", UtcDateTime),
    Column("lease", text_of(36)),
    Column("lease_until", UtcDateTime),
    Column("intent", Word(Intent, 20)),
    Column("intent_at", UtcDateTime),
    Column("look", Word(VerificationKind, 10), key="verification"),
    Column("error_code", Word(str, 40)),
    Column("error_reason", text_of(1000)),
    Column("due_run_id", BigInteger, index=True),
    Index("ix_links_queue", "state", "due_run_id", "next_attempt_at", "job_id"),
    Index("ix_links_lease", "lease"),
)

# One jobcode belongs to one job, by construction. SQL Server counts two NULLs as equal in a
# unique index, so there the index leaves them out; the others never compare NULLs.
for _column in (links.c.jobcode_id, links.c.location_id):
    Index(
        f"uq_links_{_column.name}",
        _column,
        unique=True,
        mssql_where=_column.is_not(None),
    )

runs = Table(
    "runs",
    metadata,
    Column("run_id", Identity, primary_key=True),
    Column("key", text_of(64), nullable=False, unique=True),
    Column("kind", Word(RunKind, 16), nullable=False),
    Column("state", Word(RunState, 16), nullable=False),
    Column("complete", Boolean, nullable=False, default=False),
    Column("requested_by", text_of(40), nullable=False, default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("observed_at", UtcDateTime),
    Column("touched_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("since", UtcDateTime),
    Column("emitted", Integer, nullable=False, default=0),
    Column("recorded", Integer, nullable=False, default=0),
    Column("skipped", Integer, nullable=False, default=0),
    Column("calls", Integer, nullable=False, default=0),
    Column("note", text_of(1000)),
    Column("detail", text_of()),
    Column("sighting", BigInteger),
    Index("ix_runs_kind_state", "kind", "state"),
)

plan_items = Table(
    "plan_items",
    metadata,
    Column("item_id", Identity, primary_key=True),
    Column("run_id", BigInteger, nullable=False, index=True),
    Column("job_id", BigInteger),
    Column("job_number", text_of(255), nullable=False, default=""),
    Column("jobcode_id", BigInteger, nullable=False),
    Column("name", text_of(255), nullable=False),
    Column("reason", text_of(1000), nullable=False, default=""),
    Column("state_before", text_of(), nullable=False),
    Column("outcome", Word(Outcome, 20), nullable=False),
    Column("outcome_at", UtcDateTime),
    Column("note", text_of(1000)),
    Index("uq_plan_items_run_id_jobcode_id", "run_id", "jobcode_id", unique=True),
)

keeps = Table(
    "keeps",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("requested_by", text_of(255), nullable=False),
    Column("kept_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime),
    Column("because", text_of(1000), nullable=False),
)

qbt_export = Table(
    "qbt_export",
    metadata,
    Column("row_id", Identity, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("jobcode_id", BigInteger),
    Column("name", text_of(255), nullable=False, default=""),
    Column("name_key", text_of(255), nullable=False, default=""),
    Column("type", text_of(40), nullable=False, default=""),
    Column("parent_id", BigInteger),
    Column("jobcode_active", Boolean),
    Column("assigned_to_all", Boolean),
    Column("has_children", Boolean),
    Column("short_code", text_of(255), nullable=False, default=""),
    Column("jobcode_modified_at", UtcDateTime),
    Column("location_id", BigInteger),
    Column("addr1", text_of(255), nullable=False, default=""),
    Column("addr2", text_of(255), nullable=False, default=""),
    Column("city", text_of(255), nullable=False, default=""),
    Column("state", text_of(255), nullable=False, default=""),
    Column("zip", text_of(255), nullable=False, default=""),
    Column("location_active", Boolean),
    Column("location_modified_at", UtcDateTime),
    Column("geocoding_status", text_of(40)),
    Index("ix_qbt_export_run_id_name_key", "run_id", "name_key"),
    Index("ix_qbt_export_run_id_jobcode_id", "run_id", "jobcode_id"),
    Index("ix_qbt_export_run_id_location_id", "run_id", "location_id"),
)

events = Table(
    "events",
    metadata,
    Column("event_id", Identity, primary_key=True),
    Column("job_id", BigInteger, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("kind", text_of(20), nullable=False),
    Column("text", text_of(1000), nullable=False),
    Column("run_id", BigInteger),
)

call_slots = Table(
    "call_slots",
    metadata,
    Column("slot_id", Integer, primary_key=True, autoincrement=False),
    # Milliseconds since 1970 by the database's clock: the one clock that all hosts share.
    Column("used_at_ms", BigInteger, nullable=False, default=0, index=True),
    Column("uses", BigInteger, nullable=False, default=0),
)

locks = Table(
    "locks",
    metadata,
    Column("name", text_of(40), primary_key=True),
    Column("holder", text_of(36)),
    Column("until", UtcDateTime),
)

state = Table(
    "state",
    metadata,
    Column("name", text_of(40), primary_key=True),
    Column("value", text_of()),
    Column("updated_at", UtcDateTime, nullable=False),
)
