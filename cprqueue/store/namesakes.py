"""Jobs that share their name: with another job, or with a jobcode below a customer or project."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, exists, select

from cprqueue.domain.models import name_key
from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import runs
from cprqueue.store.tables import jobs, links, qbt_export


def with_number(conn: Connection, number: str, *, limit: int) -> list[int]:
    """Return the ids of the jobs with this number, active or not; of no number none."""
    key = name_key(number)
    if not key:
        return []
    statement = select(jobs.c.job_id).where(jobs.c.name_key == key).order_by(jobs.c.job_id)
    return list(conn.execute(statement.limit(limit)).scalars())


def below_parents(conn: Connection) -> list[str]:
    """Return the numbers of these jobs, by the newest snapshot.

    No job adopts such a jobcode: it is somebody else's, and the job's own is at the top.
    """
    found = _below(conn, jobs.c.job_number)
    return list(conn.execute(found).scalars()) if found is not None else []


def rows_below_parents(conn: Connection, *, limit: int) -> list[tuple[int, str]]:
    """Return the ids and numbers of the first of these jobs."""
    found = _below(conn, jobs.c.job_number, jobs.c.job_id)
    if found is None:
        return []
    return [(row.job_id, row.job_number) for row in conn.execute(found.limit(limit))]


def _below(conn: Connection, *columns: Any) -> Select[*tuple[Any, ...]] | None:
    newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    if newest is None:
        return None
    linked = exists().where(links.c.jobcode_id == qbt_export.c.jobcode_id)
    return (
        select(*columns)
        .join(qbt_export, qbt_export.c.name_key == jobs.c.name_key)
        .where(
            jobs.c.active,
            jobs.c.name_key != "",
            qbt_export.c.run_id == newest.run_id,
            qbt_export.c.jobcode_active,
            qbt_export.c.parent_id != 0,
            ~linked,
        )
        .distinct()
        .order_by(jobs.c.job_number)
    )
