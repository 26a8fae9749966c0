"""Which jobs came, and to which something happened, since a moment: by job number."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from cprqueue.store.tables import events, jobs, runs


def came_since(conn: Connection, moment: datetime) -> list[str]:
    """Return the active jobs that a run after ``moment`` showed first."""
    first = jobs.join(runs, jobs.c.first_run_id == runs.c.run_id)
    statement = select(jobs.c.job_number).select_from(first)
    found = conn.execute(statement.where(jobs.c.active, runs.c.created_at >= moment))
    return sorted(found.scalars())


def happened_since(conn: Connection, kind: str, moment: datetime) -> list[str]:
    """Return the jobs with an event of this kind since ``moment``."""
    both = events.join(jobs, events.c.job_id == jobs.c.job_id)
    statement = select(jobs.c.job_number).select_from(both).distinct()
    found = conn.execute(statement.where(events.c.kind == kind, events.c.at >= moment))
    return sorted(found.scalars())
