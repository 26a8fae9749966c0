"""Active jobs whose name a jobcode has that lies below a customer or project."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import runs
from cprqueue.store.tables import jobs, links, qbt_export


def below_parents(conn: Connection) -> list[str]:
    """Return the numbers of these jobs, by the newest snapshot.

    No job adopts such a jobcode: it is somebody else's, and the job's own is at the top.
    """
    newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    if newest is None:
        return []
    linked = exists().where(links.c.jobcode_id == qbt_export.c.jobcode_id)
    statement = (
        select(jobs.c.job_number)
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
    return list(conn.execute(statement).scalars())
